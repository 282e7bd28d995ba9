"""The table of a series of checkpoints: the headline gates along it, and the first checkpoint at which each broke."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from pytest_clip_robust.gates.record import Record
from pytest_clip_robust.gates.series import Records, broken_gates
from pytest_clip_robust.report.terminal import draw
from pytest_clip_robust.system.text import printable

BARS = "▁▂▃▄▅▆▇█"


def headline_records(records: Sequence[Record], model: str) -> dict[str, Record]:
    """Return the headline gates of one model, and those that were not measured, by measurement."""
    own = [one for one in records if one["model"] == model]
    return {one["measurement"]: one for one in own if one.get("headline") or "value" not in one}


def render_series(labels: Sequence[str], measured: Mapping[int, Records], *, width: int, colour: bool) -> str:
    """Return a table of the measured checkpoints of a series, and a line for each gate that broke, earliest first.

    labels: of all checkpoints, in their order. measured: records by position.
    """
    places = sorted(measured)
    names = list(dict.fromkeys(name for place in places for name in measured[place]))
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    for column, justify in (
        ("measurement", "left"),
        ("first", "right"),
        ("last", "right"),
        ("along the series", "left"),
    ):
        table.add_column(column, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for name in names:
        values = [measured[place][name]["value"] for place in places if "value" in measured[place].get(name, {})]
        if values:
            table.add_row(Text(printable(name)), f"{values[0]:.4g}", f"{values[-1]:.4g}", bars(values))
    short = short_labels(labels)
    count = f"{len(places)} of {len(labels)} checkpoints measured: {', '.join(short[place] for place in places)}"
    return draw([Text(f"\n{count}"), table, Text("\n".join(break_lines(labels, measured)))], width=width, colour=colour)


def break_lines(labels: Sequence[str], measured: Mapping[int, Records]) -> list[str]:
    """Return one line for each gate that broke, or one that none did."""
    short, lines = short_labels(labels), []
    for one in broken_gates(measured):
        verdict = one.verdict.replace("_", " ")
        name, first = printable(one.measurement), short[one.first]
        if one.sound is None:
            lines.append(f"{name}: {verdict} at the first checkpoint, {first}")
            continue
        change = "" if one.before is None or one.value is None else f", {one.before:.4g} -> {one.value:.4g}"
        near = "" if one.first - one.sound == 1 else f", or at one of the {one.first - one.sound - 1} before it"
        lines.append(f"{name}: broke at {first}{near} ({verdict}{change}); sound at {short[one.sound]}")
    return lines or [f"no headline gate broke up to {short[max(measured)]}"]


def bars(values: Sequence[float]) -> str:
    """Return one character per value, between the lowest and the highest of them.

    >>> bars([0.1, 0.2, 0.4]), bars([0.3, 0.3])
    ('▁▃█', '▄▄')
    """
    low, high = min(values), max(values)
    if high == low:
        return BARS[3] * len(values)
    return "".join(BARS[round((value - low) / (high - low) * (len(BARS) - 1))] for value in values)


def short_labels(labels: Sequence[str]) -> list[str]:
    """Return specs without the folders that all of them begin with.

    >>> short_labels(["ViT-B-32@runs/42/epoch_1.pt", "ViT-B-32@runs/42/epoch_2.pt"])
    ['epoch_1.pt', 'epoch_2.pt']
    """
    shared = 0
    for one in zip(*(label.split("/") for label in labels), strict=False):
        if len(set(one)) > 1:
            break
        shared += 1
    return [printable("/".join(label.split("/")[shared:]) or label) for label in labels]
