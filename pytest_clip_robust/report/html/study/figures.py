"""Figures over models: every property against accuracy in distribution, and every visual factor against the average."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, groupby

from pytest_clip_robust.core.panel_table import PanelTable
from pytest_clip_robust.core.study_results import FactorResidual, PublishedPoint
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.report.html.panel import MOST_PLOTS, Panel, Plot
from pytest_clip_robust.report.html.study.axes import fitted
from pytest_clip_robust.report.html.study.headlines import ACCURACY, HEADLINES, Headline, Value, means, measured
from pytest_clip_robust.report.html.study.models import PanelModel
from pytest_clip_robust.report.html.study.scatter import Dot, scatter
from pytest_clip_robust.report.html.svg import Point
from pytest_clip_robust.report.numbers import count

SHIFT = "shift.top1"
FACTOR_SIZE = (250, 220)


def property_panels(
    table: PanelTable, models: Mapping[str, PanelModel], published: Sequence[PublishedPoint]
) -> list[Panel]:
    """Return the figures of all headline properties, one per property and data set, in a panel per group of properties.

    x is the mean accuracy on the ID sets. A shift with published results has the line of each published panel, and the
    x that the line was fitted on.
    """
    try:
        accuracy = means(measured(table, ACCURACY))
    except MeasurementError as error:
        return [Panel(title="No figures", note=f"Accuracy in distribution cannot be compared: {error}.")]
    panels = []
    for group, headlines in groupby((one for one in HEADLINES if one.group), lambda one: one.group):
        plots: list[Plot] = []
        notes: list[str] = []
        for headline in headlines:
            try:
                plots += _plots(headline, measured(table, headline.metric), accuracy, models, published)
            except MeasurementError as error:
                notes.append(f"Not drawn: {error}.")
        if len(plots) > MOST_PLOTS:
            notes.append(f"{count(len(plots) - MOST_PLOTS, 'more figure')} left out; panel.csv has their values.")
        if plots or notes:
            panels.append(Panel(title=group, note=" ".join(notes), plots=tuple(plots[:MOST_PLOTS])))
    return panels


def factor_panels(residuals: Iterable[FactorResidual], models: Mapping[str, PanelModel]) -> list[Panel]:
    """Return a panel with one figure per visual factor: accuracy on it against average accuracy, with the line."""
    plots = [_factor_plot(factor, list(rows), models) for factor, rows in groupby(residuals, lambda one: one.factor)]
    return [Panel(title="Accuracy on each factor against average accuracy", plots=tuple(plots))] if plots else []


def _plots(
    headline: Headline,
    by_set: Mapping[str, Mapping[str, Value]],
    accuracy: Mapping[str, Value],
    models: Mapping[str, PanelModel],
    published: Sequence[PublishedPoint],
) -> list[Plot]:
    lines = _published_plots(headline, by_set, models, published) if headline.metric == SHIFT else {}
    found = []
    for dataset, values in by_set.items():
        found += lines.get(dataset) or _plot(headline, dataset, values, accuracy, models)
    return found


def _plot(
    headline: Headline,
    dataset: str,
    values: Mapping[str, Value],
    accuracy: Mapping[str, Value],
    models: Mapping[str, PanelModel],
) -> list[Plot]:
    dots = [
        Dot(model=models[label], x=x.value, y=y.value, x_span=x.span, y_span=y.span)
        for label, y in values.items()
        if (x := accuracy.get(label)) is not None
    ]
    if not dots:
        return []
    missing = len(models) - len(dots)
    lacking = f"; {count(missing, 'model')} without both values" if missing else ""
    plot = _drawn(
        dots,
        title=f"{headline.title} on {dataset} against accuracy in distribution",
        names=("accuracy in distribution", headline.title),
        on_probit=headline.is_accuracy,
        caption=f"{headline.title}: {dataset}{lacking}",
    )
    return [plot]


def _published_plots(
    headline: Headline,
    by_set: Mapping[str, Mapping[str, Value]],
    models: Mapping[str, PanelModel],
    published: Sequence[PublishedPoint],
) -> dict[str, list[Plot]]:
    """Return by data set a figure for every published panel, with the line through its models."""
    found: dict[str, list[Plot]] = {}
    for dataset, panel in sorted({(one.dataset, one.panel) for one in published}):
        points = [one for one in published if (one.dataset, one.panel) == (dataset, panel) and one.model in models]
        spans = by_set.get(dataset, {})
        dots = [
            Dot(
                model=models[one.model],
                x=one.id_accuracy,
                y=one.shifted_accuracy,
                y_span=spans[one.model].span if one.model in spans else None,
            )
            for one in points
        ]
        if dots:
            plot = _drawn(
                dots,
                title=f"{headline.title} on {dataset} and the line of the published panel {panel}",
                names=("accuracy in distribution, as published", headline.title),
                on_probit=True,
                caption=f"{headline.title}: {dataset}, with the line of the published panel {panel}",
                line=[(one.id_accuracy, one.expected) for one in points],
            )
            found.setdefault(dataset, []).append(plot)
    return found


def _factor_plot(factor: str, rows: Sequence[FactorResidual], models: Mapping[str, PanelModel]) -> Plot:
    dots = [
        Dot(
            model=models[one.model],
            x=one.average,
            y=one.accuracy,
            # The interval of the distance from the line, which is where the eye looks for it.
            y_span=tuple(min(max(one.expected + end / 100, 0.0), 1.0) for end in (one.low, one.high)),  # type: ignore[arg-type]
        )
        for one in rows
        if one.model in models
    ]
    words = factor.replace("_", " ")
    return _drawn(
        dots,
        title=f"accuracy on {words} against average accuracy",
        names=("average accuracy", f"accuracy on {words}"),
        on_probit=True,
        caption=f"{words}, {count(max(one.n for one in rows), 'image')}",
        line=[(one.average, one.expected) for one in rows],
        size=FACTOR_SIZE,
    )


def _drawn(
    dots: Sequence[Dot],
    *,
    title: str,
    names: tuple[str, str],
    on_probit: bool,
    caption: str,
    line: Sequence[Point] = (),
    size: tuple[int, int] = (330, 260),
) -> Plot:
    x_values = [value for dot in dots for value in (dot.x, *(dot.x_span or ()))]
    y_values = [value for dot in dots for value in (dot.y, *(dot.y_span or ()))]
    text = "; ".join(f"{dot.model.label}: {dot.x:.3f}, {dot.y:.3f}" for dot in dots)
    drawing = scatter(
        dots,
        title=title,
        text=text,
        x=fitted(x_values, names[0], on_probit=on_probit),
        y=fitted(chain(y_values, (b for _, b in line)), names[1], on_probit=on_probit),
        line=line,
        size=size,
    )
    return Plot(drawing, caption)
