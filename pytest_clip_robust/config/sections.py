"""Sections of a profile: one dataclass per TOML table, read by its annotations. Imports nothing heavy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from pytest_clip_robust.core.plain import Count
from pytest_clip_robust.errors import ConfigError
from pytest_clip_robust.names import (
    CORRUPTION_KINDS,
    SEVERITIES,
    AlsoUnderCorruption,
    CorruptionKind,
    OodScore,
    Severity,
)

DEFAULT_NEGATIVES = "imagenet-22k/10"
LEAST_SIZE = 64
OPTIONS = "{options}"
"""The place of the listed names in a question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptSettings:
    """The section ``[prompts]``; at most one of `set`, `file` and `templates` is given.

    set: the name of a built-in prompt set.
    file: a text file with one template per line.
    templates: the templates themselves.
    compare: names of prompt sets, or files, between which sensitivity to wording is measured.
    """

    set: str | None = None
    file: str | None = None
    templates: tuple[str, ...] | None = None
    compare: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        given = [name for name in ("set", "file", "templates") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ConfigError(f"{' and '.join(given)} are given; give one of set, file, templates")
        if self.templates == ():
            raise ConfigError("templates is empty; give at least one, such as 'a photo of a {}.'")


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSettings:
    """The section ``[gates]``.

    headline: names of the gates that decide a release (`gates.threshold.headline_keys`); None for the properties' own.
    headline_share: the part of ``--clip-alpha`` for the headline gates, above 0 and below 1; details get the rest.
    """

    headline: tuple[str, ...] | None = None
    headline_share: float = 0.5

    def __post_init__(self) -> None:
        if self.headline == ():
            raise ConfigError("headline is empty; name at least one metric, or leave it out for the default")
        if not 0 < self.headline_share < 1:
            raise ConfigError(f"headline_share={self.headline_share}; expected a number above 0 and below 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class OodSettings:
    """The section ``[ood]``.

    negatives: the corpus that negative labels are chosen from: a built-in one, or a file with one label per line.
    scores: the scores that OOD detection is measured by; empty for all.
    """

    negatives: str = DEFAULT_NEGATIVES
    scores: tuple[OodScore, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CorruptionSettings:
    """The section ``[corruptions]``.

    kinds, severities: the corruptions to apply.
    images: how many images of each set are corrupted, spread evenly over its classes; 0 for all.
    seed: of the random noise, directions and flipped bits.
    depth: a transformers depth-estimation model (a folder or a hub name) for sets without depth.
    also: what is measured under corruption in addition to accuracy.
    """

    kinds: tuple[CorruptionKind, ...] = CORRUPTION_KINDS
    severities: tuple[Severity, ...] = SEVERITIES
    images: Count = 0
    seed: Count = 0
    depth: str = ""
    also: tuple[AlsoUnderCorruption, ...] = ()

    def __post_init__(self) -> None:
        for name, known in (("kinds", CORRUPTION_KINDS), ("severities", SEVERITIES)):
            if not getattr(self, name):
                raise ConfigError(
                    f"{name} is empty; name some of {', '.join(map(str, known))}, or leave it out for all"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class TypographicSettings:
    """The section ``[typographic]``.

    images: how many images of each set get a painted word, spread evenly over its classes; 0 for all.
    seed: of the words and their places.
    """

    images: Count = 0
    seed: Count = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class InvarianceSettings:
    """The section ``[invariance]``.

    images: how many images of each set are transformed, spread evenly over its classes; 0 for all.
    seed: of directions and places, of the drawn combinations and of the search.
    combinations: how many combinations of transformations are drawn, the same for every model; at least 1.
    searched: how many combinations the search for the mildest one tries at most; 0 for no search.
    agreement: the share of answers (0-1) that must stay the same; the search looks for fewer.
    """

    images: Count = 200
    seed: Count = 0
    combinations: Count = 4
    searched: Count = 32
    agreement: float = 0.8

    def __post_init__(self) -> None:
        if self.combinations < 1:
            raise ConfigError(f"combinations={self.combinations}; expected at least 1")
        if not 0 < self.agreement <= 1:
            raise ConfigError(f"agreement={self.agreement}; expected a share above 0 and up to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class AdversarialSettings:
    """The section ``[adversarial]``.

    images: how many images of each set are attacked, spread evenly over its classes; 0 for all.
    steps: of gradient per attack; at least 1.
    """

    images: Count = 64
    steps: Count = 10

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ConfigError(f"steps={self.steps}; expected at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrespondenceSettings:
    """The section ``[correspondence]``.

    size: pixels of an image's longer side, as the model sees it; at least 64.
    pairs: how many pairs of each set are compared, spread evenly over scenes and angles, or classes; 0 for all.
    angles: edges of the bins of view angles, in degrees.
    """

    size: Count = 512
    pairs: Count = 0
    angles: tuple[float, ...] = (0, 30, 60, 90, 120)

    def __post_init__(self) -> None:
        if self.size < LEAST_SIZE:
            raise ConfigError(f"size={self.size}; expected at least {LEAST_SIZE} pixels")
        rising = all(low < high for low, high in pairwise(self.angles))
        if len(self.angles) < 2 or not rising or self.angles[0] < 0 or self.angles[-1] > 180:
            raise ConfigError(
                f"angles={[*self.angles]}; expected two or more rising edges from 0 to 180 degrees, such as [0, 30, 60]"
            )

    @property
    def bins(self) -> tuple[tuple[float, float], ...]:
        """The bins of view angles, each from its first edge to below its second."""
        return tuple(pairwise(self.angles))


@dataclass(frozen=True, slots=True, kw_only=True)
class MultimodalSettings:
    """The section ``[multimodal]``.

    question: what a model is asked about an image, unless a set has questions of its own.
    listing: what follows a question to which the model answers in free text, with ``{options}`` for the names between
        which it chooses, separated by commas.
    options: how many names are listed, the true class and others that its sample's name decides; at least 2.
    images: how many images of each set are asked about, spread evenly over its classes; 0 for all.
    images_per_factor: the same for each visual factor of a set.
    questions: how many questions of each set of questions are asked, spread evenly over their kinds; 0 for all.
    tokens: of an answer in free text, at most.
    """

    question: str = "What is the main object in this image?"
    listing: str = "Choose from the following list: {options}."
    options: Count = 2
    images: Count = 0
    images_per_factor: Count = 0
    questions: Count = 0
    tokens: Count = 32

    def __post_init__(self) -> None:
        if not self.question.strip():
            raise ConfigError("question is empty; leave it out for the default")
        if self.listing.count(OPTIONS) != 1 or re.search(r"[{}]", self.listing.replace(OPTIONS, "")):
            raise ConfigError(f"listing={self.listing!r}; expected one {OPTIONS}, and no other braces")
        if self.options < 2:
            raise ConfigError(f"options={self.options}; expected at least 2")
        if self.tokens < 1:
            raise ConfigError(f"tokens={self.tokens}; expected at least 1")


def bin_name(edges: tuple[float, float]) -> str:
    """Return the name of a bin of view angles.

    >>> bin_name((30, 60))
    '30-60'
    """
    low, high = edges
    return f"{low:g}-{high:g}"
