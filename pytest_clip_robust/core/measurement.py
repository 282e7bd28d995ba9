"""The two values that pass between layers: Predictions go into a property, a Measurement comes out.

Both are plain frozen data over NumPy arrays, so that a notebook can use the properties without pytest or torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.digest import combine_digests
from pytest_clip_robust.core.evidence import Evidence, mean_evidence
from pytest_clip_robust.errors import MeasurementError

Direction = Literal["higher", "lower"]
"""Which way is better."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a number comes from. Numbers that differ in any digest are never compared.

    Each digest is lower-case hexadecimal, or ``""`` where it does not apply.
    """

    model: str = ""
    weights: str = ""
    preprocess: str = ""
    precision: str = ""
    data: str = ""
    prompts: str = ""

    def merged_with(self, *others: Provenance) -> Provenance:
        """Return the provenance of a number computed from this and `others`: their data and prompts are combined."""
        return replace(
            self,
            data=combine_digests(self.data, *(other.data for other in others)),
            prompts=combine_digests(self.prompts, *(other.prompts for other in others)),
        )


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval ``[low, high]`` in the units of its value."""

    low: float
    high: float
    level: float
    method: str


@dataclass(frozen=True, slots=True)
class Miss:
    """One sample that was decided wrongly; `confidence` is the probability (0-1) given to `predicted`."""

    sample: str
    truth: str
    predicted: str
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What a property found.

    `metric` carries its convention (``calibration.ece_15_equal_width``); only equal ids are compared.
    `subset` names the part of `dataset` that was measured (a factor, a severity), or is ``""`` for all of it.
    `outcomes` (n,) holds one number a sample, in the order of `samples`, where the property is a mean over samples.
    `evidence` is what a comparison with another model on the same samples needs; outcomes make up their own.
    `misses` come worst first: the wrong decisions held with the highest confidence.
    `remark` says in words what the number cannot, such as over- or underconfidence.
    `plot` has named columns of equal length: the points of a curve, or the bins of a diagram.
    """

    metric: str
    value: float
    n: int
    interval: Interval
    direction: Direction
    dataset: str
    subset: str = ""
    outcomes: NDArray[np.float32] | None = None
    samples: Sequence[str] = ()
    evidence: Evidence | None = None
    misses: tuple[Miss, ...] = ()
    details: Mapping[str, float] = field(default_factory=dict)
    remark: str = ""
    plot: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        if not np.isfinite(self.value):
            raise MeasurementError(f"{self.key}: value={self.value} is not finite, so it cannot be judged")
        if self.n < 1:
            raise MeasurementError(f"{self.key}: n={self.n}, so there is nothing to measure")
        if self.evidence is None and self.outcomes is not None:
            object.__setattr__(self, "evidence", mean_evidence(self.dataset, self.outcomes))

    @property
    def key(self) -> str:
        """Name this measurement within a run: ``metric[dataset/subset]``."""
        return f"{self.metric}[{'/'.join(part for part in (self.dataset, self.subset) if part)}]"
