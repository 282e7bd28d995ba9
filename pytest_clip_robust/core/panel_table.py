"""The tidy table of a panel: one row per model and measurement, with the factors of the model.

Plain frozen data, so that findings can be computed from a run, from the files that a run wrote, or from a table made by
hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from pytest_clip_robust.core.evidence import Column
from pytest_clip_robust.core.measurement import Direction
from pytest_clip_robust.errors import MeasurementError

StoredColumns = Sequence[tuple[str, str, Column]]
"""What each sample contributed to a measurement: name of the stratum, name of the column, values (N,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFactors:
    """A model of a panel, and the six factors of the study; None is unknown.

    model: its label. group: the name of its family; models of one family are related by fine-tuning or interpolation.
    parent: the label of the model that it was fine-tuned from, or ``""``. reference: whether lines are fitted to it.

    1. architecture: such as ``"ViT-B/32"``; family: of the image tower, such as ``"ViT"``; parameters: their number.
    2. training_data: the name of the pre-training data.
    3. training_pairs: number of different image-text pairs in it; samples_seen: pairs that pre-training drew.
    4. fine_tuning: one of `FineTuning`, such as ``"zero-shot"``.
    5. loss: one of `Loss`, of the pre-training.
    6. prompts: the name of the run's prompt set; None for a model that reads no texts.
    """

    model: str
    group: str
    parent: str = ""
    reference: bool = False
    family: str | None = None
    architecture: str | None = None
    parameters: int | None = None
    training_data: str | None = None
    training_pairs: float | None = None
    samples_seen: float | None = None
    fine_tuning: str | None = None
    loss: str | None = None
    prompts: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelRow:
    """One measurement of one model.

    test: the node id of the test that measured it. metric: its id. dataset, subset: of what.
    value, low, high: the value and its interval of confidence `level`. n: number of samples.
    direction: which values are better. tolerance: the largest loss that is not a regression.
    verdict: of the gate. Of a test that failed before it measured anything, the verdict is ``error``, `metric` is the
    name of the test, and `value`, `low`, `high`, `level`, `n`, `direction` and `tolerance` are None.
    data: digest of the images and labels, 12 hex digits. outcomes: digest of the stored per-sample outcomes, or ``""``.
    """

    factors: ModelFactors
    test: str
    metric: str
    dataset: str
    subset: str
    value: float | None
    low: float | None
    high: float | None
    level: float | None
    n: int | None
    direction: Direction | None
    tolerance: float | None
    verdict: str
    data: str = ""
    outcomes: str = ""

    @property
    def aspect(self) -> str:
        """The first part of the metric's id, such as ``"shape_bias"``; ``""`` without a value."""
        return "" if self.value is None else self.metric.partition(".")[0]

    @property
    def key(self) -> str:
        """The measurement's key, ``metric[dataset/subset]``."""
        where = f"{self.dataset}/{self.subset}" if self.subset else self.dataset
        return f"{self.metric}[{where}]" if where else self.metric


@dataclass(frozen=True, kw_only=True)
class PanelTable:
    """All rows of a panel, and what each sample contributed to some of them, by the digest in `PanelRow.outcomes`.

    Raises:
        MeasurementError: two rows of one model have the same key, or rows of one model state different factors.
    """

    rows: tuple[PanelRow, ...]
    outcomes: Mapping[str, StoredColumns] = field(default_factory=dict)

    def __post_init__(self) -> None:
        seen: set[tuple[str, str]] = set()
        for row in self.rows:
            if row.value is not None and (row.factors.model, row.key) in seen:
                raise MeasurementError(
                    f"{row.factors.model}: {row.key} occurs twice in the table; keep one of them, or rename a metric"
                )
            seen.add((row.factors.model, row.key))
            if self.models[row.factors.model] != row.factors:
                raise MeasurementError(f"{row.factors.model}: its rows state different factors; give it two names")

    @cached_property
    def models(self) -> dict[str, ModelFactors]:
        """The models by label, sorted, so that nothing depends on their order."""
        found = {row.factors.model: row.factors for row in reversed(self.rows)}
        return {label: found[label] for label in sorted(found)}

    @cached_property
    def _measured(self) -> dict[str, dict[str, dict[str, PanelRow]]]:
        """The rows with a value: metric -> ``dataset/subset`` -> label."""
        found: dict[str, dict[str, dict[str, PanelRow]]] = {}
        for row in self.rows:
            if row.value is not None:
                found.setdefault(row.metric, {}).setdefault(f"{row.dataset}/{row.subset}", {})[row.factors.model] = row
        return found

    def metrics(self) -> list[str]:
        """Return the ids of all metrics with a value, sorted."""
        return sorted(self._measured)

    def rows_of(self, metric: str, *, subset: str | None = "") -> dict[str, dict[str, PanelRow]]:
        """Return ``dataset/subset`` -> label -> row with a value, sorted; `subset` None takes all subsets.

        Raises:
            MeasurementError: models were measured on different images under one name.
        """
        found: dict[str, dict[str, PanelRow]] = {}
        for where, rows in sorted(self._measured.get(metric, {}).items()):
            ordered = {label: rows[label] for label in sorted(rows)}
            if subset is None or next(iter(ordered.values())).subset == subset:
                _check_same_data(ordered.values())
                found[where] = ordered
        return found

    def __iter__(self) -> Iterator[PanelRow]:
        return iter(self.rows)


def _check_same_data(rows: Iterable[PanelRow]) -> None:
    (first, *others) = rows
    for row in others:
        if row.data != first.data:
            raise MeasurementError(
                f"{row.key}: {first.factors.model} and {row.factors.model} were measured on different images "
                f"({first.data[:12] or 'none'} and {row.data[:12] or 'none'}); measure all models with the same data"
            )
