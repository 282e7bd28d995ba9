"""Names and sizes of the data sets that models are pre-trained on, found in tags, names of files and repositories."""

from __future__ import annotations

import re
from typing import NamedTuple


class TrainingData(NamedTuple):
    """A data set.

    name: how its authors call it. pairs: number of different image-text pairs (images, where labels are the text).
    epoch: number of samples in an epoch of open_clip's published runs, which is less than `pairs` as links had died.
    labels: whether it has class labels instead of texts.
    """

    name: str
    pairs: float | None = None
    epoch: float | None = None
    labels: bool = False


# A pattern is searched in the lower-case text with one underscore in place of every other separator; the first match
# counts, so that a subset comes before the set that it is taken from.
_KNOWN: tuple[tuple[str, TrainingData], ...] = (
    # CommonPool and DataComp (arXiv 2304.14108): pools of section 3.2, DataComp-* is image-based and CLIP score in
    # Table 3, CLIP score keeps 0.3 of the pool. Sizes of the other filters differ by scale and are not stated here.
    (r"commonpool_(?P<scale>s|m|l|xl)_(?P<filter>clip|laion|image|text|basic)", TrainingData("CommonPool")),
    (r"commonpool_(?P<scale>s|m|l|xl)", TrainingData("CommonPool")),
    (r"datacomp_?dr", TrainingData("DataCompDR-1B", 1.28e9)),  # arXiv 2311.17049, section 4
    (r"datacomp_s(?=_s|$)", TrainingData("DataComp-S", 1.4e6)),
    (r"datacomp_m(?=_|$)", TrainingData("DataComp-M", 14e6)),
    (r"datacomp_l(?=_|$)", TrainingData("DataComp-L", 140e6)),
    (r"datacomp", TrainingData("DataComp-1B", 1.4e9)),
    # LAION: laion.ai; samples per epoch from CLIP_benchmark's samples_seen of e16 and e32 (MIT, commit 48de38c).
    (r"laion_?(aesthetic|a(?=_|$))", TrainingData("LAION-A", 900e6)),  # a subset of LAION-2B, by its models' cards
    (r"laion_?coco_?nllb", TrainingData("LAION-COCO-NLLB")),
    (r"laion_?coco", TrainingData("LAION-COCO", 600e6)),
    (r"laion_?80m|data_80m", TrainingData("LAION-80M", 80e6)),
    (r"laion_?400m|data_400m", TrainingData("LAION-400M", 413e6, 407_332_084)),
    (r"laion_?2b|data_2b", TrainingData("LAION-2B", 2.32e9, 2_170_337_258)),
    (r"laion_?5b", TrainingData("LAION-5B", 5.85e9)),
    (r"merged_?2b", TrainingData("Merged-2B", 2e9)),  # LAION-2B and COYO-700M, arXiv 2303.15389
    (r"coyo_?700m", TrainingData("COYO-700M", 747e6)),
    (r"dfn_?dr_?2b", TrainingData("DFNDR-2B")),
    (r"dfn_?(public)?2b", TrainingData("DFN-2B", 2e9)),  # arXiv 2309.17425
    (r"dfn_?5b", TrainingData("DFN-5B", 5e9)),
    (r"metaclip_?2?_(worldwide|mt5)|worldwide", TrainingData("MetaCLIP 2 worldwide")),
    (r"metaclip_altogether", TrainingData("MetaCLIP Altogether")),
    (r"metaclip.*(fullcc|2pt5b|2_5b|fullcc2_5b)", TrainingData("MetaCLIP-2.5B", 2.5e9)),  # arXiv 2309.16671
    (r"metaclip.*400m", TrainingData("MetaCLIP-400M", 400e6)),
    (r"webli", TrainingData("WebLI")),
    # 12,423,374 links of Conceptual 12M (arXiv 2102.08981), 3,318,333 of Conceptual Captions (ACL 2018).
    (r"cc_?12m|conceptual_?12m", TrainingData("CC12M", 12_423_374)),
    (r"cc_?3m|conceptual_captions", TrainingData("CC3M", 3_318_333)),
    (r"yfcc_?15m", TrainingData("YFCC15M", 14_829_396)),  # OpenAI's list, github.com/openai/CLIP data/yfcc100m.md
    (r"yfcc_?100m", TrainingData("YFCC100M", 99_171_688)),
    (r"red_?caps", TrainingData("RedCaps", 12_011_121)),  # arXiv 2111.11431
    (r"wit_?400m", TrainingData("WIT-400M (OpenAI)", 400e6)),
    (r"mscoco|coco_?captions|coco2014|(^|_)coco($|_)", TrainingData("MS-COCO", 591_753)),
    (r"flickr_?30k", TrainingData("Flickr30k", 158_915)),
    (r"(^|_)(imagenet_?1k|in1k|ilsvrc2012)($|_)", TrainingData("ImageNet-1k", 1_281_167, labels=True)),
    (r"(^|_)(imagenet_?12k|in12k)($|_)", TrainingData("ImageNet-12k", labels=True)),
    (r"(^|_)(imagenet_?2[12]k|in2[12]k|inw21k)($|_)", TrainingData("ImageNet-21k", 14_197_122, labels=True)),
    (r"(^|_)imagenet($|_)", TrainingData("ImageNet-1k", 1_281_167, labels=True)),
)
OPENAI = TrainingData("WIT-400M (OpenAI)", 400e6)
"""The data of OpenAI's models (arXiv 2103.00020, section 2.2); their tag is the name of the company, not of the set."""

POOLS = {"s": ("S", 12.8e6), "m": ("M", 128e6), "l": ("L", 1.28e9), "xl": ("XL", 12.8e9)}
FILTERS = {
    "clip": "CLIP score",
    "laion": "LAION-2B filter",
    "image": "image-based",
    "text": "text-based",
    "basic": "basic filter",
}
CLIP_SCORE_SHARE = 0.3
SCALE = re.compile(r"(?:datacomp|commonpool)_(s|m|l|xl)(?=_|$)")


def samples_of_scale(tag: str) -> float | None:
    """Return the samples seen of a tag of DataComp, which are as many as its scale's pool has.

    The number in the tag is rounded to one or two digits: ``datacomp_l_s1b_b8k`` has seen 1.28 billion.
    """
    found = SCALE.search(tag)
    return POOLS[found[1]][1] if found else None


def data_named(text: str) -> TrainingData | None:
    """Return the data set that `text` names: a tag, or the name of a repository, file or folder; None if none.

    >>> data_named("laion2b_s34b_b79k").name, data_named("CLIP-ViT-B-32-DataComp.XL-s13B-b90K").name
    ('LAION-2B', 'DataComp-1B')
    >>> data_named("commonpool_m_clip_s128m_b4k")
    TrainingData(name='CommonPool-M, CLIP score', pairs=38400000.0, epoch=None, labels=False)
    >>> data_named("mine") is None
    True
    """
    plain = re.sub(r"[^a-z0-9]+", "_", text.casefold()).strip("_")
    for pattern, data in _KNOWN:
        if found := re.search(pattern, plain):
            return _pool(found) if data.name == "CommonPool" else data
    return None


def _pool(found: re.Match[str]) -> TrainingData:
    groups = found.groupdict()
    scale, size = POOLS[groups["scale"]]
    if not (kept := groups.get("filter")):
        return TrainingData(f"CommonPool-{scale}", size)
    share = CLIP_SCORE_SHARE * size if kept == "clip" else None
    return TrainingData(f"CommonPool-{scale}, {FILTERS[kept]}", share)
