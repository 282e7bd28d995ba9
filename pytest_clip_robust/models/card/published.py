"""Facts about tags that their names do not contain, from papers and model cards."""

from __future__ import annotations

import re
from typing import Any

from pytest_clip_robust.models.card.facts import Claim

# Pairs of patterns for architecture and tag, which must match completely; every line has its source.
_PUBLISHED: tuple[tuple[str, str, dict[str, Any]], ...] = (
    (r".*", r"openai", {"samples_seen": 12.8e9}),  # 32 epochs of 400 M pairs, arXiv 2103.00020 section 2.5
    (r".*", r"metaclip_(400m|fullcc|2pt5b)", {"samples_seen": 12.8e9}),  # OpenAI's schedule, arXiv 2309.16671
    (r"(?!.*378).*", r"metaclip2_worldwide", {"samples_seen": 29e9}),  # arXiv 2507.22062 section 3.3
    (r".*", r"dfn2b", {"samples_seen": 12.8e9}),  # arXiv 2309.17425, and the cards of apple/DFN2B-CLIP-*
    (r"(?!.*378).*", r"dfn5b", {"samples_seen": 39e9}),  # card of apple/DFN5B-CLIP-ViT-H-14
    (r".*378.*", r"dfn5b", {"samples_seen": 44e9}),  # its card: 39 B at 224 px and 5 B at 384 px
    (r"MobileCLIP-.*", r"datacompdr", {"samples_seen": 13e9}),  # README of apple/ml-mobileclip
    (r"MobileCLIP-.*", r"datacompdr_lt", {"samples_seen": 36e9}),
    (r".*SigLIP2.*", r"webli", {"samples_seen": 40e9, "pairs": 12e9}),  # arXiv 2502.14786 section 2
    (r".*", r"yfcc15m", {"samples_seen": 32 * 14_829_396}),  # 32 epochs, open_clip's docs/PRETRAINED.md
    (r"PE-Core-.*", r"meta", {"data": "Meta PE", "pairs": 5.4e9}),  # arXiv 2504.13181 section 2
    (r"nllb-clip-.*", r"v1|mrl", {"data": "LAION-COCO-NLLB"}),  # arXiv 2309.01859; data of the text tower's training
)


def published(architecture: str, tag: str) -> list[Claim]:
    """Return what is published about a tag of open_clip.

    >>> [claim.facts for claim in published("ViT-B-32", "openai")]
    [{'samples_seen': 12800000000.0}]
    """
    return [
        Claim(source="published", facts=facts)
        for of_architecture, of_tag, facts in _PUBLISHED
        if re.fullmatch(of_architecture, architecture) and re.fullmatch(of_tag, tag)
    ]
