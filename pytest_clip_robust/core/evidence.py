"""Evidence: the per-sample numbers that a measurement is computed from.

Two models measured on the same samples are compared in pairs, which finds differences that their intervals hide. A gate
needs more than the two values for that: what each sample contributed to each of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import Floats
from pytest_clip_robust.errors import MeasurementError

Column = NDArray[Any]

SHORT_DIGEST = 12
"""Hex digits of a digest that are stored where people read and compare them."""

COLUMN_TYPES = ("bool", "uint8", "int32", "float32")
"""The types that baseline files can store; evidence converts its columns to one of them."""

CONFIDENCE_STEPS = 255
"""Confidences that only explain a decision are stored in steps of 1/255, one byte each."""


class Term(NamedTuple):
    """A sum over samples: their `weight` (N,), added up within each of `size` cells; `cell` (N,) is each sample's cell.

    Without a weight every sample counts 1; without a cell all samples are in one.
    """

    weight: Column | None = None
    cell: NDArray[np.int64] | None = None
    size: int = 1


Sums = Sequence[Floats]
"""One (B, size) array per term: B replicates of its sums."""

Terms = Callable[[Mapping[str, Column]], Sequence[Term]]
"""Returns the terms of one stratum, given its columns."""

Statistic = Callable[[Sequence[Sums]], Floats]
"""Returns the measured value of every replicate, (B,), given each stratum's sums; NaN where it is undefined."""


PlotOf = Callable[[Sequence[Mapping[str, Column]]], Mapping[str, Floats]]
"""Returns the plot of a measurement (see `Measurement.plot`), given each stratum's columns."""


def columns_digest(columns: Iterable[tuple[str, str, Column]]) -> str:
    """Return the first `SHORT_DIGEST` hex digits of SHA-256 over columns: name of the stratum, own name, values."""
    found = hashlib.sha256()
    for stratum, name, values in columns:
        found.update(f"{stratum}|{name}|{values.dtype.str}|{len(values)}|".encode())
        found.update(np.ascontiguousarray(values).tobytes())
    return found.hexdigest()[:SHORT_DIGEST]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stratum:
    """Samples that were drawn together, such as all images of one data set; every column is (N,).

    Raises:
        MeasurementError: columns are empty or differ in length, or a type is not one of `COLUMN_TYPES`.
    """

    name: str
    columns: Mapping[str, Column]

    def __post_init__(self) -> None:
        lengths = {name: len(column) for name, column in self.columns.items()}
        if len(set(lengths.values())) != 1 or not next(iter(lengths.values())):
            raise MeasurementError(f"evidence of {self.name!r}: columns of {lengths} rows; expected one size, not 0")
        for name, column in self.columns.items():
            if column.dtype.name not in COLUMN_TYPES:
                raise MeasurementError(
                    f"evidence of {self.name!r}: column {name!r} is of type {column.dtype}; "
                    f"expected one of {', '.join(COLUMN_TYPES)}"
                )

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleInfo:
    """Names and labels of N samples, to explain a changed decision with.

    They belong to the data and not to the model, so they are never stored with a baseline.
    """

    samples: Sequence[str]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The samples of a measurement, and how its value follows from them.

    test: ``mean`` if the value is the mean of the column ``outcome`` of a single stratum; ``auroc`` if it is the AUROC
        of the columns ``score`` of two strata, ID first; ``sums`` if `statistic` computes it from sums.
    sample_info: names and labels, if the first stratum has the columns ``outcome``, ``confidence`` (of the true class,
        in steps of 1/255) and ``answer``.
    plot: draws the columns of another model as those of this one, or None if they are not enough to draw.

    Raises:
        MeasurementError: `terms` and `statistic` are missing for ``sums``, or given for another test.
    """

    test: Literal["mean", "auroc", "sums"]
    strata: tuple[Stratum, ...]
    terms: Terms | None = None
    statistic: Statistic | None = None
    sample_info: SampleInfo | None = None
    plot: PlotOf | None = None

    def __post_init__(self) -> None:
        if (self.test == "sums") != (self.terms is not None and self.statistic is not None):
            raise MeasurementError(f"evidence for the test {self.test!r}: terms and statistic are for 'sums' alone")

    @property
    def digest(self) -> str:
        """The digest of all columns and their names; see `columns_digest`."""
        return columns_digest((one.name, name, column) for one in self.strata for name, column in one.columns.items())

    def same_numbers(self, other: Evidence) -> bool:
        """Return whether all columns of both are equal."""
        pairs = zip(self.strata, other.strata, strict=True)
        return all(np.array_equal(one.columns[name], two.columns[name]) for one, two in pairs for name in one.columns)

    def drawn(self) -> Mapping[str, Floats]:
        """Return the plot of these columns; empty if they are not enough to draw."""
        return {} if self.plot is None else self.plot([one.columns for one in self.strata])

    def shape(self) -> dict[str, int]:
        """Return the number of samples of each stratum, by name."""
        return {stratum.name: len(stratum) for stratum in self.strata}


def mean_evidence(dataset: str, outcomes: Column) -> Evidence:
    """Return the evidence of a mean of (N,) outcomes; if all are 0 or 1, of a proportion."""
    binary = ((outcomes == 0) | (outcomes == 1)).all()
    column = outcomes.astype(np.bool_ if binary else np.float32)
    return Evidence(test="mean", strata=(Stratum(name=dataset, columns={"outcome": column}),))


def auroc_evidence(
    inside: str, inside_scores: Floats, outside: str, outside_scores: Floats, *, plot: PlotOf | None = None
) -> Evidence:
    """Return the evidence of an AUROC of ID scores (P,) over OOD scores (Q,)."""
    return Evidence(
        test="auroc",
        strata=(
            Stratum(name=inside, columns={"score": inside_scores.astype(np.float32)}),
            Stratum(name=outside, columns={"score": outside_scores.astype(np.float32)}),
        ),
        plot=plot,
    )


def sums_evidence(
    strata: Sequence[Stratum], terms: Terms, statistic: Statistic, *, plot: PlotOf | None = None
) -> Evidence:
    """Return the evidence of a value that `statistic` computes from sums over the samples of each stratum."""
    return Evidence(test="sums", strata=tuple(strata), terms=terms, statistic=statistic, plot=plot)


def coarse_confidence(confidence: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return confidences (0-1) in steps of 1/255."""
    return np.rint(np.asarray(confidence, dtype=np.float64) * CONFIDENCE_STEPS).astype(np.uint8)
