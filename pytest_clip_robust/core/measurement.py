"""The measurements that properties return, with everything that a gate needs to judge them.

Plain frozen data over NumPy arrays, so that a notebook can use the properties without pytest or torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.digest import combine_digests
from pytest_clip_robust.core.evidence import Evidence, mean_evidence
from pytest_clip_robust.errors import MeasurementError

Direction = Literal["higher", "lower"]
"""Which way is better."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """The origin of a number, as digests. Numbers that differ in any digest are never compared.

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
class MatchedPair:
    """Two images with some of the N matches between them, to draw them.

    images: their names. share: of all matches of the pair, those that are right. places: (N, 4) x and y in the first
    image, then in the second, as shares of width and height. right: (N,) whether each of these matches is right.
    """

    images: tuple[str, str]
    share: float
    places: NDArray[np.float64]
    right: NDArray[np.bool_]


class Subject(Protocol):
    """The samples that a property measures, N of one data set, with the provenance of their features or answers."""

    @property
    def dataset(self) -> str:
        """The name of the data set."""

    @property
    def provenance(self) -> Provenance:
        """The origin of the samples' features or answers."""

    def __len__(self) -> int:
        """Return the number of samples."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric as its property declares it: everything about it that does not depend on the data.

    id: the metric's name with its convention, such as ``calibration.ece_15_equal_width``; only equal ids are compared.
    direction: which values are better.
    tolerance: the largest loss, in the units of the value, that is not a regression. A profile may change it.
    headline: True for the few metrics that decide whether a model is fit for release, False for details.

    None of them has a default: a metric that leaves one out raises TypeError when its module is imported.
    """

    id: str
    _: KW_ONLY
    direction: Direction
    tolerance: float
    headline: bool

    def named(self, **parts: object) -> Metric:
        """Fill the fields in braces of the id.

        >>> Metric("retrieval.recall_at_{k}", direction="higher", tolerance=0.01, headline=True).named(k=5).id
        'retrieval.recall_at_5'
        """
        return replace(self, id=self.id.format(**parts))

    def as_detail(self) -> Metric:
        """Return the same metric as a detail, such as for a part of the data or for one variant of several."""
        return replace(self, headline=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A value that a property measured, with everything that a gate needs to judge it.

    metric: its id, which carries its convention (``calibration.ece_15_equal_width``); only equal ids are compared.
    value: finite. n: the number of samples, at least 1. interval: the confidence interval of the value.
    direction: which values are better. tolerance: the largest loss that does not count as a regression, in the units
        of the value. headline: whether it is one of the few numbers that decide a release, or a detail.
    dataset: the data set; subset: the part of it that was measured (a factor, a severity), or ``""`` for all of it.
    outcomes: (n,) one number per sample, in the order of `samples`, where the value is a mean over samples.
    evidence: what a comparison with another model on the same samples needs; follows from `outcomes` by default.
    misses: wrong decisions, the most confident first. pairs: images whose matches were right and wrong, best first.
    details: further numbers by name. remark: words that explain the value, such as "overconfident".
    plot: named columns: the points of a curve, or the bins of a diagram; those of one drawing are of equal length.
    chance: the value of a model that guesses, where that is known, in the units of the value.

    Raises:
        MeasurementError: the value or its chance is not finite, n is below 1, or the tolerance is negative or not
            finite.
    """

    metric: str
    value: float
    n: int
    interval: Interval
    direction: Direction
    tolerance: float
    headline: bool
    dataset: str
    subset: str = ""
    outcomes: NDArray[np.float32] | None = None
    samples: Sequence[str] = ()
    evidence: Evidence | None = None
    misses: tuple[Miss, ...] = ()
    pairs: tuple[MatchedPair, ...] = ()
    details: Mapping[str, float] = field(default_factory=dict)
    remark: str = ""
    plot: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    chance: float | None = None
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        if not np.isfinite(self.value):
            raise MeasurementError(f"{self.key}: value={self.value} is not finite, so it cannot be judged")
        if self.chance is not None and not np.isfinite(self.chance):
            raise MeasurementError(f"{self.key}: chance={self.chance}; expected a finite number, or None if not known")
        if self.n < 1:
            raise MeasurementError(f"{self.key}: n={self.n}, so there is nothing to measure")
        if not 0 <= self.tolerance < np.inf:
            raise MeasurementError(f"{self.key}: tolerance={self.tolerance}; expected a finite number, 0 or more")
        if self.evidence is None and self.outcomes is not None:
            object.__setattr__(self, "evidence", mean_evidence(self.dataset, self.outcomes))

    @classmethod
    def of(
        cls,
        subject: Subject,
        metric: Metric,
        value: float,
        interval: Interval,
        *,
        n: int | None = None,
        subset: str = "",
        outcomes: NDArray[Any] | None = None,
        samples: Sequence[str] = (),
        evidence: Evidence | None = None,
        misses: tuple[Miss, ...] = (),
        pairs: tuple[MatchedPair, ...] = (),
        details: Mapping[str, float] | None = None,
        remark: str = "",
        plot: Mapping[str, NDArray[np.float64]] | None = None,
        chance: float | None = None,
        provenance: Provenance | None = None,
    ) -> Measurement:
        """Return the measurement of `metric` on `subject`; `n` and `provenance` are those of the subject by default.

        Raises:
            MeasurementError: as for Measurement.
        """
        return cls(
            metric=metric.id,
            value=value,
            n=len(subject) if n is None else n,
            interval=interval,
            direction=metric.direction,
            tolerance=metric.tolerance,
            headline=metric.headline,
            dataset=subject.dataset,
            subset=subset,
            outcomes=None if outcomes is None else outcomes.astype(np.float32),
            samples=samples,
            evidence=evidence,
            misses=misses,
            pairs=pairs,
            details=details or {},
            remark=remark,
            plot=plot or {},
            chance=chance,
            provenance=subject.provenance if provenance is None else provenance,
        )

    @property
    def key(self) -> str:
        """Name this measurement within a run: ``metric[dataset/subset]``."""
        return f"{self.metric}[{'/'.join(part for part in (self.dataset, self.subset) if part)}]"

    @property
    def at_chance(self) -> bool:
        """Whether the interval leaves open that the model only guesses, or does worse; False if chance is not known."""
        if self.chance is None:
            return False
        better = self.interval.low > self.chance if self.direction == "higher" else self.interval.high < self.chance
        return not better
