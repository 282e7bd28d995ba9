"""Facts in tags of open_clip and timm, and in names of checkpoints and repositories."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from pytest_clip_robust.models.card.facts import Claim, Source
from pytest_clip_robust.models.card.published import published
from pytest_clip_robust.models.card.towers import timm_tower
from pytest_clip_robust.models.card.training_data import OPENAI, TrainingData, data_named, samples_of_scale

SEEN = re.compile(r"(?:^|[_.-])s(?:amples[_-])?(\d+(?:\.\d+)?)([mb])(?=$|[_.-])", re.IGNORECASE)
"""Samples seen, as in ``s34b``, ``s128m`` and ``Samples-13B``."""
EPOCHS = re.compile(r"(?:^|_)e(\d+)(?=$|_)")
"""Epochs, as in ``laion400m_e32``."""
FINE_TUNED_CAPTIONS = re.compile(r"mscoco_finetuned_")
RECIPES = {
    "augreg": "trained with stronger augmentation and regularisation (augreg)",
    "soup": "parameters are the mean of several runs (soup)",
    "rewind": "the last part of the training was repeated at a lower learning rate (rewind)",
    "frozen": "the image tower was frozen (frozen)",
    "mrl": "trained for embeddings that can be shortened (mrl)",
}
"""Parts of tags that say how a model was trained; they become remarks."""
REPOSITORIES = (
    (r"openai/clip-vit-", "", "openai"),
    (r"google/siglip2-", "SigLIP2", "webli"),
    (r"google/siglip-", "SigLIP", "webli"),
    (r"facebook/metaclip-2-worldwide", "", "metaclip2_worldwide"),
    (r"facebook/metaclip-[\w-]*400m", "", "metaclip_400m"),
    (r"facebook/metaclip-[\w-]*fullcc", "", "metaclip_fullcc"),
)
"""Repositories of transformers, by the beginning of their names, and the tag of open_clip with the same weights."""
FINE_TUNED = "_ft_"
DATA_OF_LABELS = re.compile(r"in1k|in12k|in2[12]k|inw21k")


def openclip_claims(architecture: str, tag: str) -> list[Claim]:
    """Return the claims of a published model of open_clip.

    >>> openclip_claims("ViT-B-32", "laion400m_e32")[0].facts
    {'data': 'LAION-400M', 'samples_seen': 13034626688, 'fine_tuning': 'zero-shot', 'fine_tuned_on': None}
    """
    captions = FINE_TUNED_CAPTIONS.search(tag)
    data = OPENAI if tag == "openai" else data_named(FINE_TUNED_CAPTIONS.sub("", tag))
    facts = {
        "data": data.name if data else None,
        "samples_seen": samples_of_scale(tag) or samples_in(tag, data),
        "fine_tuning": "captioning" if captions else "zero-shot",
        "fine_tuned_on": "MS-COCO" if captions else None,
    }
    words = tag.split("_")
    remarks = tuple(remark for word, remark in RECIPES.items() if word in words)
    if "ft" in words:
        remarks += ("trained further on the same data at a larger resolution (ft)",)
    more = published(architecture, tag)  # of this tag, so they come before what is known of the data set in general
    return [Claim(source="tag", facts=facts, remarks=remarks), *more, _pairs(data)]


def _pairs(data: TrainingData | None) -> Claim:
    return Claim(source="published", facts={"pairs": data.pairs if data else None})


def samples_in(text: str, data: TrainingData | None) -> float | None:
    """Return the samples seen that a tag or name states, or None.

    Epochs count only if the samples of an epoch are known: their product is the number of samples.

    >>> samples_in("laion2b_s34b_b79k", None), samples_in("cc12m_e5", data_named("cc12m"))
    (34000000000.0, None)
    """
    if found := SEEN.search(text):
        return float(found[1]) * {"m": 1e6, "b": 1e9}[found[2].lower()]
    epochs = EPOCHS.search(text)
    return int(epochs[1]) * data.epoch if epochs and data and data.epoch else None


def name_claims(name: str, *, source: Source = "spec") -> list[Claim]:
    """Return the claims of the name of a repository or checkpoint, which often names data and samples.

    >>> [dict(claim.facts) for claim in name_claims("laion/CLIP-ViT-B-16-laion2B-s34B-b88K")]
    [{'data': 'LAION-2B', 'samples_seen': 34000000000.0}, {'pairs': 2320000000.0}]
    >>> name_claims("me/mine")
    []
    """
    organisation, _, own = name.rpartition("/")
    if organisation == "openai" and own.startswith("clip-vit"):
        facts = {"data": OPENAI.name}
        return [Claim(source=source, facts=facts), _pairs(OPENAI), *published("", "openai")]
    data = data_named(own)
    if data is None:
        return []
    return [Claim(source=source, facts={"data": data.name, "samples_seen": samples_in(own, data)}), _pairs(data)]


def repository_claims(repository: str, *, source: Source = "spec") -> list[Claim]:
    """Return the claims of a repository of the Hub: those of the tag that open_clip loads from it, else of its name.

    >>> repository_claims("google/siglip2-base-patch16-224")[0].facts["data"]
    'WebLI'
    """
    import open_clip  # noqa: PLC0415 - heavy

    for architecture, tag in open_clip.list_pretrained():
        if open_clip.get_pretrained_cfg(architecture, tag).get("hf_hub", "").strip("/") == repository:
            return _from(openclip_claims(architecture, tag), source)
    for pattern, architecture, tag in REPOSITORIES:
        if re.match(pattern, repository):
            return _from(openclip_claims(architecture, tag), source)
    return name_claims(repository, source=source)


def started_from(architecture: str, tag: str, *, source: Source) -> list[Claim]:
    """Return the claims of a tag about the weights that another training started from."""
    return [without_fine_tuning(claim) for claim in _from(openclip_claims(architecture, tag), source)]


def without_fine_tuning(claim: Claim) -> Claim:
    """Return a claim about a model for those who trained it further: they know what happened afterwards."""
    after = {"fine_tuning", "fine_tuned_on", "fine_tuning_details"}
    return replace(claim, facts={name: value for name, value in claim.facts.items() if name not in after})


def _from(claims: list[Claim], source: Source) -> list[Claim]:
    return [replace(claim, source=source) if claim.source == "tag" else claim for claim in claims]


def timm_claims(name: str, *, resolution: int | None = None) -> list[Claim]:
    """Return the claims of a timm name with its tag: architecture, pre-training data, chain of fine-tuning.

    `resolution` is the image side of timm's pretrained config.

    >>> claims = timm_claims("vit_base_patch32_clip_224.laion2b_ft_in12k_in1k")
    >>> claims[1].facts["data"], claims[1].facts["fine_tuning"], claims[1].facts["fine_tuned_on"]
    ('LAION-2B', 'cross-entropy', 'ImageNet-12k, ImageNet-1k')
    """
    architecture, _, tag = name.partition(".")
    claims = [Claim(source="config", facts={**timm_tower(architecture), "resolution": resolution})]
    if not tag:
        return claims
    start, fine_tuned, chain = f"_{tag}".partition(FINE_TUNED)
    start = start.strip("_")
    data = OPENAI if start == "openai" else data_named(start)
    facts: dict[str, Any] = {"data": data.name if data else None, "samples_seen": samples_in(start, data)}
    if data and data.labels:
        facts["loss"] = "cross-entropy"
    elif data:
        facts["loss"] = "sigmoid" if "siglip" in architecture or "webli" in tag else "softmax"
    if fine_tuned:
        labels = [found.name for part in DATA_OF_LABELS.findall(chain) if (found := data_named(part))]
        facts |= {"fine_tuning": "cross-entropy", "fine_tuned_on": ", ".join(labels) or None}
    elif data:
        facts["fine_tuning"] = "supervised" if data.labels else "zero-shot"
    remarks = ("trained with a teacher (dist)",) if "dist" in tag.split("_") else ()
    claims.append(Claim(source="tag", facts=facts, remarks=remarks))
    return [*claims, _pairs(data)]
