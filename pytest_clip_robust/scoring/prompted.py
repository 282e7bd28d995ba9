"""The same answers under several prompt sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pytest_clip_robust.core.measurement import Provenance
from pytest_clip_robust.errors import MeasurementError

Answers = TypeVar("Answers")


@dataclass(frozen=True, slots=True, kw_only=True)
class ByPrompts(Generic[Answers]):
    """Answers about one data set by prompt set, all about the same samples in the same order.

    answers: S entries by the name of their prompt set. templates: the S numbers of templates.

    Raises:
        MeasurementError: there are fewer than two prompt sets, or their numbers differ.
    """

    dataset: str
    answers: Mapping[str, Answers]
    templates: tuple[int, ...]
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        if len(self.answers) < 2:
            raise MeasurementError(f"prompt sets {list(self.answers)}: a comparison needs at least two")
        if len(self.answers) != len(self.templates):
            raise MeasurementError(
                f"prompt sets {list(self.answers)}: {len(self.templates)} numbers of templates; expected one per set"
            )
