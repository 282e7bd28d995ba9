"""The page as data: everything that the template of index.html writes, computed from the content of report.json."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pytest_clip_robust.gates import Conclusion, Verdict
from pytest_clip_robust.gates.conclusion import aspect_name, aspect_of
from pytest_clip_robust.gates.record import Record
from pytest_clip_robust.report.document import Document
from pytest_clip_robust.report.html.aspects import panels_of
from pytest_clip_robust.report.html.gates import Gates
from pytest_clip_robust.report.html.panel import Panel
from pytest_clip_robust.report.html.pictures import EMPTY, Album, Picture
from pytest_clip_robust.report.html.row import Row, row_of
from pytest_clip_robust.report.html.samples import MOST_DETAILS, SampleList, sample_lists
from pytest_clip_robust.report.html.strips import change_limit, change_strip, value_strip
from pytest_clip_robust.report.numbers import count, number
from pytest_clip_robust.report.order import p_name_of, urgency

MOST_PLOTTED = 4
"""Models of a run whose sections have plots and samples: one needs about 0.3 MB."""

MOST_DETAILED = 1000
MOST_LINES = 4000
"""Gates that can be opened in the table of all gates, and gates in it; those that are least urgent are left out."""

Counts = list[tuple[str, int]]
"""Verdicts, most urgent first, with the number of gates that got each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AspectPart:
    """An aspect of one model: its verdicts, the gates that speak for it, plots, and the images behind its losses.

    verdict: the most urgent of the gates that speak for it. values, changes: the drawings of all of them. headlines:
    whether there are headline gates. blind: which loss the aspect cannot show, or ``""``.
    """

    anchor: str
    aspect: str
    name: str
    verdict: str
    counts: Counts
    speakers: list[tuple[Row, Markup]]
    headlines: bool
    values: Markup
    changes: Markup
    blind: str
    panels: list[Panel]
    samples: list[SampleList]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPart:
    """All about one model. verdict, scope, reasons: the parts of its conclusion's sentence."""

    anchor: str
    label: str
    verdict: str
    scope: str
    reasons: str
    counts: Counts
    compared: bool
    limit: str
    aspects: list[AspectPart]
    errors: list[Record]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateLine:
    """One line of the table of all gates; `row` is None if nothing was measured. detailed: whether it can be opened."""

    anchor: str
    record: Record
    aspect: str
    row: Row | None
    detailed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The content of index.html. counts: of all gates. p_name: the name of the column of p-values.

    plotted: how many models have plots. left_out: how many gates are not in the table of all gates.
    """

    title: str
    document: Document
    models: list[ModelPart]
    gates: list[GateLine]
    counts: Counts
    aspects: list[tuple[str, str]]
    compared: bool
    pictures: Mapping[str, Picture]
    p_name: str
    headline: str
    plotted: int
    left_out: int


def build_page(document: Document, album: Album = EMPTY) -> Page:
    """Return the page of a document.

    Args:
        document: as `build_document` or `read_report` returns it.
        album: pictures of samples; samples without one are shown by their names only.
    """
    ordered = sorted(document["gates"], key=urgency)
    listed = ordered[:MOST_LINES]
    anchors = {(record["test"], record["measurement"]): f"gate-{place}" for place, record in enumerate(listed, 1)}
    models = [
        _model_part(conclusion, document, anchors, place, album)
        for place, conclusion in enumerate(document["conclusions"], 1)
    ]
    lines = [_line(record, anchors, detailed=place < MOST_DETAILED) for place, record in enumerate(listed)]
    aspects = {line.aspect: aspect_name(line.aspect) for line in lines if line.aspect}
    return Page(
        title=", ".join(f"{part.label}: {part.verdict}" for part in models) or "no gate was judged",
        document=document,
        models=models,
        gates=lines,
        counts=counts_of(document["gates"]),
        aspects=sorted(aspects.items(), key=lambda item: item[1]),
        compared=any(record.get("change") for record in ordered),
        pictures=album.pictures,
        p_name=p_name_of(ordered),
        headline=_headline(models),
        plotted=min(len(models), MOST_PLOTTED),
        left_out=len(ordered) - len(listed),
    )


def _headline(models: Sequence[ModelPart]) -> str:
    """Return the title of a run of several models, or of none."""
    if not models:
        return "No gate was judged"
    counts = Counter(part.verdict for part in models)
    return f"{len(models)} models: {', '.join(f'{n} {verdict}' for verdict, n in counts.items())}"


def counts_of(records: Sequence[Record]) -> Counts:
    """Return the verdicts that records got, most urgent first."""
    counts = Counter(record["verdict"] for record in records)
    return [(str(verdict), counts[verdict]) for verdict in Verdict if counts[verdict]]


def _model_part(
    conclusion: Conclusion, document: Document, anchors: dict[tuple[str, str], str], place: int, album: Album
) -> ModelPart:
    own = [record for record in document["gates"] if record["model"] == conclusion["model"]]
    gates = Gates(sorted((record for record in own if "value" in record), key=lambda one: one["place"]), anchors, album)
    anchor, compared = f"model-{place}", any(record["change"] is not None for record in gates.measured)
    speakers = {
        aspect: [gates.row(record) for record in _speakers(gates.of_aspect(aspect))]
        for aspect in dict.fromkeys(map(aspect_of, gates.measured))
    }
    limit = change_limit([row for rows in speakers.values() for row in rows])
    head, _, reasons = conclusion["sentence"].partition(": ")
    return ModelPart(
        anchor=anchor,
        label=conclusion["model"],
        verdict=conclusion["verdict"],
        scope=head.removeprefix(conclusion["verdict"]),
        reasons=reasons,
        counts=counts_of(own),
        compared=compared,
        limit=f"{limit:.3g}",
        aspects=[
            _aspect_part(
                aspect,
                gates,
                rows,
                anchor=f"{anchor}-{aspect}",
                limit=limit if compared else None,
                blind=_blind(aspect, conclusion),
                album=album,
                plotted=place <= MOST_PLOTTED,
            )
            for aspect, rows in speakers.items()
        ],
        errors=[record for record in own if "value" not in record],
    )


def _speakers(records: Sequence[Record]) -> list[Record]:
    """Return the headline gates of an aspect and its most urgent details that fail; without headlines, any details."""
    headlines = [record for record in records if record["headline"]]
    details = [record for record in records if not record["headline"] and (record["failed"] or not headlines)]
    return headlines + sorted(details, key=urgency)[:MOST_DETAILS]


def _aspect_part(
    aspect: str,
    gates: Gates,
    rows: list[Row],
    *,
    anchor: str,
    limit: float | None,
    blind: str,
    album: Album,
    plotted: bool,
) -> AspectPart:
    own = gates.of_aspect(aspect)
    order = [str(verdict) for verdict in Verdict]
    return AspectPart(
        anchor=anchor,
        aspect=aspect,
        name=aspect_name(aspect),
        verdict=min((row.verdict for row in rows), key=order.index),
        counts=counts_of(own),
        speakers=[(row, value_strip([row])) for row in rows],
        headlines=any(record["headline"] for record in own),
        values=value_strip(rows),
        changes=Markup() if limit is None else change_strip(rows, limit),
        blind=blind,
        panels=panels_of(aspect, gates) if plotted else [],
        samples=sample_lists(own, gates, album) if plotted else [],
    )


def _blind(aspect: str, conclusion: Conclusion) -> str:
    for sight in conclusion["blind"]:
        if sight["aspect"] == aspect:
            needed = sight["samples_needed"]
            way_out = (
                "" if needed is None else f" About {float(f'{needed:.1e}'):,.0f} samples would show the tolerance."
            )
            return (
                f"Too few samples to show a loss of the tolerance, {number(sight['tolerance'])}: "
                f"{count(sight['n'], 'sample')} show a loss of {number(sight['detectable'])}.{way_out}"
            )
    return ""


def _line(record: Record, anchors: Mapping[tuple[str, str], str], *, detailed: bool) -> GateLine:
    anchor = anchors[record["test"], record["measurement"]]
    measured = "value" in record
    return GateLine(
        anchor=anchor,
        record=record,
        aspect=aspect_of(record) if measured else "",
        row=row_of(record, anchor=anchor) if measured else None,
        detailed=detailed,
    )
