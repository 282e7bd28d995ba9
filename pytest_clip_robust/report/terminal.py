"""The table that closes a run: aligned, worst first."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pytest_clip_robust.config import RunConfig
from pytest_clip_robust.gates import Threshold, Verdict
from pytest_clip_robust.gates.record import Record
from pytest_clip_robust.text import printable

ROWS_SHOWN = 60
STYLES = {Verdict.ERROR: "bold red", Verdict.BELOW_THRESHOLD: "red", Verdict.PASSED: "green"}
WIDTH_WITHOUT_TERMINAL = 120


def headline(run: RunConfig) -> str:
    """Name models, profile, device and cache in one line."""
    models = ", ".join(spec.label for spec in run.models)
    return (
        f"clip-robust: {models} | profile {run.profile.name} | {run.device} {run.precision} | cache {_short(run.cache)}"
    )


def render_table(records: Sequence[Record], *, width: int, colour: bool) -> str:
    """Draw the records, failures first and the narrowest passes next, and count what does not fit."""
    ordered = sorted(records, key=_urgency)
    shown = [record for i, record in enumerate(ordered) if i < ROWS_SHOWN or _fails(record)]
    with_model = len({record["model"] for record in records}) > 1
    table = Table(box=None, pad_edge=False, header_style="bold", collapse_padding=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("measurement", overflow="fold")
    if with_model:
        table.add_column("model", overflow="fold")
    for name in ("value", "95 % interval", "threshold", "n"):
        table.add_column(name, justify="right", no_wrap=True)
    for record in shown:
        table.add_row(*_cells(record, with_model=with_model))
    console = Console(
        file=io.StringIO(),
        width=width if width > 0 else WIDTH_WITHOUT_TERMINAL,
        force_terminal=colour,
        color_system="standard" if colour else None,
        highlight=False,
        legacy_windows=False,
    )
    console.print(table)
    console.print(Text(_tally(records, hidden=len(records) - len(shown))))
    file = console.file
    assert isinstance(file, io.StringIO)  # noqa: S101 - made three lines above
    return file.getvalue()


def unused_thresholds(thresholds: Mapping[str, Threshold], records: Iterable[Record]) -> list[str]:
    """Say which thresholds of the profile judged nothing in a whole run: often a typing error."""
    used: set[str] = set()
    for record in records:
        metric, dataset = record.get("metric", ""), record.get("dataset", "")
        used |= {metric, f"{metric}[{dataset}]", record["measurement"]}
    unused = [key for key in thresholds if key not in used]
    if not unused:
        return []
    return [f"thresholds that judged nothing: {', '.join(unused)}; check their names against the table"]


def _cells(record: Record, *, with_model: bool) -> list[Text]:
    verdict = Verdict(record["verdict"])
    label = Text(str(verdict) + (" ~" if record.get("within_noise") else ""), style=STYLES[verdict])
    name = Text(printable(record["measurement"]))
    model = [Text(record["model"])] if with_model else []
    if "value" not in record:
        return [label, name, *model, Text("-"), Text("-"), Text("-"), Text("-")]
    interval = record["interval"]
    return [
        label,
        name,
        *model,
        Text(f"{record['value']:.4f}", style="bold"),
        Text(f"{interval['low']:.4f} to {interval['high']:.4f}"),
        Text(record["threshold"] or "none"),
        Text(f"{record['n']:,}"),
    ]


def _tally(records: Sequence[Record], *, hidden: int) -> str:
    counts = {verdict: sum(record["verdict"] == verdict for record in records) for verdict in Verdict}
    line = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    if any(record.get("within_noise") for record in records):
        line += "; ~ the threshold lies inside the interval, so other images could decide otherwise"
    return line + (f"; {hidden} passed not shown" if hidden else "")


def _urgency(record: Record) -> tuple[int, float, str, str]:
    """Order by verdict, then by the distance to the threshold in half-widths of the interval."""
    verdicts = list(Verdict)
    margin = float("inf")
    if record.get("bound") is not None:
        half_width = (record["interval"]["high"] - record["interval"]["low"]) / 2
        margin = abs(record["value"] - record["bound"]) / half_width if half_width else 0.0
    failed = _fails(record)
    return (
        verdicts.index(Verdict(record["verdict"])),
        -margin if failed else margin,
        record["measurement"],
        record["model"],
    )


def _fails(record: Record) -> bool:
    return Verdict(record["verdict"]).fails


def _short(cache: str) -> str:
    home = str(Path.home())
    return cache.replace(home, "~", 1) if cache.startswith(home) else cache
