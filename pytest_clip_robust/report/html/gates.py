"""Gates of one model, as the sections of the page ask for them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from pytest_clip_robust.gates.conclusion import aspect_of
from pytest_clip_robust.gates.record import Record
from pytest_clip_robust.report.html.charts import Curve
from pytest_clip_robust.report.html.pictures import EMPTY, Album
from pytest_clip_robust.report.html.row import Row, row_of


@dataclass(frozen=True, slots=True)
class Gates:
    """The records of one model that measured something, in the order of the tests.

    anchors: the id of each gate's row in the table of all gates, by test and measurement. album: pictures of the page.
    """

    measured: Sequence[Record]
    anchors: dict[tuple[str, str], str] = field(default_factory=dict)
    album: Album = EMPTY

    def of_aspect(self, aspect: str) -> list[Record]:
        """Return the records of an aspect."""
        return [record for record in self.measured if aspect_of(record) == aspect]

    def of(self, metric: str, *, subsets: bool | None = None) -> list[Record]:
        """Return the records of a metric; `subsets` chooses those of parts of the data, or those of whole sets."""
        return [
            record
            for record in self.measured
            if record["metric"] == metric and (subsets is None or bool(record["subset"]) == subsets)
        ]

    def starting(self, metric: str) -> list[Record]:
        """Return the records of metrics whose id begins with `metric`."""
        return [record for record in self.measured if record["metric"].startswith(metric)]

    def row(self, record: Record, label: str = "") -> Row:
        """Return the row of a record, linked to the table of all gates."""
        return row_of(record, anchor=self.anchors.get((record["test"], record["measurement"]), ""), label=label)

    def rows(self, records: Sequence[Record], *, by: str = "measurement") -> list[Row]:
        """Return the rows of records, labelled by one of their fields."""
        return [self.row(record, str(record[by])) for record in records]  # type: ignore[literal-required]


def baseline_plot(record: Record, columns: Collection[str]) -> Mapping[str, Sequence[float]]:
    """Return the plot of the model before, or nothing if it is not known or lacks some of the `columns`."""
    plot = {} if record["change"] is None else record["change"]["plot"]
    return plot if set(columns) <= set(plot) else {}


def before_curve(record: Record, x: str, y: str) -> list[Curve]:
    """Return the curve of two columns of the plot of the model before, or nothing if it is not known."""
    plot = baseline_plot(record, (x, y))
    return [Curve("before", list(zip(plot[x], plot[y], strict=True)), "before")] if plot else []


def place_of(record: Record) -> str:
    """Return the data set and the part of it that was measured.

    >>> place_of({"dataset": "photos", "subset": "pose"}), place_of({"dataset": "photos", "subset": ""})
    ('photos/pose', 'photos')
    """
    return "/".join(part for part in (record["dataset"], record["subset"]) if part)
