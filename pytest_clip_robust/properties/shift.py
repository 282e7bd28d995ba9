"""Accuracy under natural shift: absolute, relative to the ID set, and effective robustness against other models."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pytest_clip_robust.core.arrays import Floats
from pytest_clip_robust.core.evidence import Evidence, Stratum, Sums, Term, sums_evidence
from pytest_clip_robust.core.measurement import Measurement, Metric
from pytest_clip_robust.core.predictions import Predictions
from pytest_clip_robust.errors import DataError, MeasurementError, did_you_mean
from pytest_clip_robust.properties.accuracy import accuracy_of
from pytest_clip_robust.scoring.decisions import Decisions, decide
from pytest_clip_robust.stats.intervals import ratio_of_proportions
from pytest_clip_robust.stats.resampling import interval_of
from pytest_clip_robust.stats.robust_line import AXES, Axis

SMALLEST_PANEL = 3
PANEL_COLUMNS = ("name", "id", "shifted")

ACCURACY = Metric("shift.top1", direction="higher", tolerance=0.01, headline=True)
RELATIVE = Metric("shift.relative_robustness", direction="higher", tolerance=0.02, headline=False)
EFFECTIVE = Metric("shift.effective_robustness_{axis}", direction="higher", tolerance=1.0, headline=False)


@dataclass(frozen=True, slots=True)
class Panel:
    """M reference models: names, and (M,) accuracies (0-1) on the ID set and on the shifted set.

    Raises:
        MeasurementError: fewer than three distinct models, or an accuracy that is not strictly between 0 and 1.
    """

    names: tuple[str, ...]
    id_accuracy: NDArray[np.float64]
    shifted_accuracy: NDArray[np.float64]

    def __post_init__(self) -> None:
        n = len(self.names)
        if n < SMALLEST_PANEL or len(np.unique(self.id_accuracy)) < SMALLEST_PANEL:
            raise MeasurementError(
                f"a panel of {n} models with {len(np.unique(self.id_accuracy))} distinct ID accuracies fits no line; "
                f"give at least {SMALLEST_PANEL}"
            )
        for name, accuracies in (("ID", self.id_accuracy), ("shifted", self.shifted_accuracy)):
            bad = np.flatnonzero(~((accuracies > 0) & (accuracies < 1)))
            if len(bad):
                raise MeasurementError(
                    f"panel: {self.names[bad[0]]!r} has the {name} accuracy {accuracies[bad[0]]}; "
                    "expected a share strictly between 0 and 1"
                )


def read_panel(path: Path) -> Panel:
    """Read a panel from a CSV file with the columns name, id and shifted (accuracies as shares, 0-1).

    Raises:
        DataError: the file cannot be read, a column is missing, or a value is not a number.
        MeasurementError: as for Panel.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            columns, rows = reader.fieldnames or [], list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"panel {path}: {error}") from error
    for column in PANEL_COLUMNS:
        if column not in columns:
            raise DataError(f"panel {path}: no column {column!r}{did_you_mean(column, columns)}; it has {columns}")
    try:
        accuracies = np.array([[float(row["id"]), float(row["shifted"])] for row in rows]).reshape(-1, 2)
    except (TypeError, ValueError) as error:
        raise DataError(f"panel {path}: {error}; expected numbers in the columns id and shifted") from error
    return Panel(tuple(row["name"] for row in rows), accuracies[:, 0], accuracies[:, 1])


def accuracy_under_shift(shifted: Predictions | Decisions) -> Measurement:
    """Measure top-1 accuracy on a shifted set, as ``shift.top1``, with Wilson's interval."""
    return accuracy_of(decide(shifted), ACCURACY)


def relative_robustness(in_distribution: Predictions, shifted: Predictions) -> Measurement:
    """Measure shifted over ID accuracy, as ``shift.relative_robustness``; 1 means no loss.

    Both are taken over the shifted set's classes: ID logits are sliced to them, as for ImageNet-A and -R. The
    interval is Katz's for independent samples.

    Raises:
        MeasurementError: the shifted set has a class that the ID set lacks, or no ID answer is correct.
    """
    base, moved = decide(_same_classes(in_distribution, shifted)), decide(shifted)
    interval = ratio_of_proportions(int(moved.correct.sum()), len(moved), int(base.correct.sum()), len(base))
    return Measurement.of(
        moved,
        RELATIVE,
        moved.accuracy / base.accuracy,
        interval,
        evidence=_evidence(base, moved, lambda of_base, of_moved: of_moved / of_base),
        misses=moved.misses,
        details={
            "id_accuracy": base.accuracy,
            "shifted_accuracy": moved.accuracy,
            "drop_points": 100 * (base.accuracy - moved.accuracy),
            "id_n": len(base),
        },
        provenance=shifted.provenance.merged_with(in_distribution.provenance),
    )


def effective_robustness(
    in_distribution: Predictions, shifted: Predictions, panel: Panel, *, axis: Axis = "logit"
) -> Measurement:
    """Measure effective robustness in points (0-100), as ``shift.effective_robustness_<axis>``.

    A line is fitted by least squares to the accuracies of the reference models on logit or probit axes; the value is
    the model's shifted accuracy minus that of the line at its ID accuracy (Taori et al. 2020, section 3). The interval
    resamples both sets and takes the panel as exact. An accuracy of 0 or 1 is moved inside by half a sample.

    Raises:
        MeasurementError: as for `relative_robustness`.
    """
    base, moved = decide(_same_classes(in_distribution, shifted)), decide(shifted)
    slope, intercept = fit_line(panel, axis=axis)

    def residual(base_accuracy: ArrayLike, moved_accuracy: ArrayLike) -> NDArray[np.float64]:
        forward, backward = AXES[axis]
        expected = backward(slope * forward(_inside(base_accuracy, len(base))) + intercept)
        points: NDArray[np.float64] = 100 * (np.asarray(moved_accuracy) - expected)
        return points

    evidence = _evidence(base, moved, residual)
    return Measurement.of(
        moved,
        EFFECTIVE.named(axis=axis),
        float(residual(base.accuracy, moved.accuracy)),
        interval_of(evidence),
        evidence=evidence,
        misses=moved.misses,
        details={"id_accuracy": base.accuracy, "shifted_accuracy": moved.accuracy, "panel_models": len(panel.names)},
        provenance=shifted.provenance.merged_with(in_distribution.provenance),
    )


def fit_line(panel: Panel, *, axis: Axis = "logit") -> tuple[float, float]:
    """Return slope and intercept of the least-squares line through the panel on transformed axes."""
    forward, _ = AXES[axis]
    slope, intercept = np.polyfit(forward(panel.id_accuracy), forward(panel.shifted_accuracy), 1)
    return float(slope), float(intercept)


def _evidence(base: Decisions, moved: Decisions, of_accuracies: Callable[[Floats, Floats], Floats]) -> Evidence:
    """Return the evidence of a function of both accuracies, each over its own samples."""
    strata = [Stratum(name=one.dataset, columns={"outcome": one.correct}) for one in (base, moved)]

    def statistic(sums: Sequence[Sums]) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            return of_accuracies(*((right / n)[:, 0] for right, n in sums))

    return sums_evidence(strata, lambda columns: [Term(columns["outcome"]), Term()], statistic)


def _same_classes(in_distribution: Predictions, shifted: Predictions) -> Predictions:
    strangers = sorted(set(shifted.class_ids) - set(in_distribution.class_ids))
    if strangers:
        raise MeasurementError(
            f"{shifted.dataset!r} has {len(strangers)} classes that {in_distribution.dataset!r} lacks, "
            f"first {strangers[0]!r}; give it the role 'transfer'"
        )
    return in_distribution.restricted_to(shifted.class_ids)


def _inside(accuracy: ArrayLike, n: int) -> NDArray[np.float64]:
    return np.clip(np.asarray(accuracy, dtype=np.float64), 1 / (2 * n), 1 - 1 / (2 * n))
