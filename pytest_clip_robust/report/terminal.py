"""Tables that close a run in the terminal, worst gates first."""

from __future__ import annotations

import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pytest_clip_robust.errors import did_you_mean
from pytest_clip_robust.gates import Verdict
from pytest_clip_robust.gates.record import Record
from pytest_clip_robust.gates.threshold import keys_for
from pytest_clip_robust.system.text import printable

ROWS_SHOWN = 20
STYLES = {
    Verdict.ERROR: "bold red",
    Verdict.REGRESSED: "bold red",
    Verdict.BELOW_THRESHOLD: "red",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.IMPROVED: "bold green",
    Verdict.PASSED: "green",
}
WIDTH_WITHOUT_TERMINAL = 120
ASPECTS_WORTH_A_TABLE = 3
NAMES_SHOWN = 10


def render_table(records: Sequence[Record], *, width: int, colour: bool, every: bool = False) -> str:
    """Return a table of the records, most urgent verdicts first.

    If anything was compared with a baseline, passes are only counted; otherwise those nearest to their threshold are
    shown. Of the inconclusive ones, those with the smallest p are shown. `every` shows all.
    """
    compared = any(record.get("change") for record in records)
    rows_left = {Verdict.PASSED: 0 if compared else ROWS_SHOWN, Verdict.INCONCLUSIVE: ROWS_SHOWN}
    shown: list[Record] = []
    for record in sorted(records, key=_urgency):
        verdict = Verdict(record["verdict"])
        rows_left[verdict] = rows_left.get(verdict, len(records)) - 1
        if every or rows_left[verdict] >= 0:
            shown.append(record)
    with_model = len({record["model"] for record in records}) > 1
    columns = ["value", "before", "difference", "p"] if compared else ["value", "95 % interval"]
    columns += ["threshold", "n"]
    table = Table(box=None, pad_edge=False, header_style="bold", collapse_padding=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("measurement", overflow="fold")
    if with_model:
        table.add_column("model", overflow="fold")
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for record in shown:
        cells = _cells(record)
        model = [Text(printable(record["model"]))] if with_model else []
        table.add_row(
            _verdict_cell(record), Text(printable(record["measurement"])), *model, *(cells[c] for c in columns)
        )
    drawn: list[Table | Text] = [table] if shown else []
    drawn.append(Text(_tally(records, shown)))
    return _drawn(drawn, width=width if width > 0 else WIDTH_WITHOUT_TERMINAL, colour=colour)


def render_aspects(records: Sequence[Record], *, width: int, colour: bool) -> str:
    """Return a table with one row per aspect (the first part of a metric's id): its verdicts, and its first value."""
    aspects: dict[tuple[str, str], list[Record]] = {}
    for record in sorted((one for one in records if "value" in one), key=lambda one: one["place"]):
        aspects.setdefault((record["metric"].partition(".")[0], record["model"]), []).append(record)
    if len(aspects) < ASPECTS_WORTH_A_TABLE:
        return ""
    with_model = len({model for _, model in aspects}) > 1
    table = Table(box=None, pad_edge=False, header_style="bold", collapse_padding=True)
    for name in ("aspect", *(["model"] if with_model else []), "gates", "verdicts", "for example"):
        table.add_column(name, justify="right" if name == "gates" else "left", overflow="fold")
    for (aspect, model), of_aspect in aspects.items():
        counts = Counter(Verdict(record["verdict"]) for record in of_aspect)
        verdicts = Text(", ").join(Text(f"{counts[v]} {v}", style=STYLES[v]) for v in Verdict if counts[v])
        first = Text(f"{printable(of_aspect[0]['measurement'])} = {of_aspect[0]['value']:.4f}")
        names = [Text(aspect), Text(printable(model))] if with_model else [Text(aspect)]
        table.add_row(*names, Text(str(len(of_aspect))), verdicts, first)
    return _drawn([table], width=width if width > 0 else WIDTH_WITHOUT_TERMINAL, colour=colour)


def unmatched_keys(kind: str, keys: Iterable[str], records: Iterable[Record]) -> list[str]:
    """Return one line about the keys of a profile's thresholds or tolerances (`kind`) that matched no measurement."""
    used: set[str] = set()
    for record in records:
        if "metric" in record:
            used.update(keys_for(record["metric"], record["dataset"], record["measurement"]))
    unmatched = [key for key in keys if key not in used]
    if not unmatched:
        return []
    named = ", ".join(f"{printable(key)}{did_you_mean(key, used)}" for key in unmatched[:NAMES_SHOWN])
    more = f" and {len(unmatched) - NAMES_SHOWN} more" if len(unmatched) > NAMES_SHOWN else ""
    return [f"{kind} that match no measurement: {named}{more}; correct their names or remove them"]


def _verdict_cell(record: Record) -> Text:
    verdict = Verdict(record["verdict"])
    return Text(str(verdict) + (" ~" if record.get("within_noise") else ""), style=STYLES[verdict])


def _cells(record: Record) -> defaultdict[str, Text]:
    cells: defaultdict[str, Text] = defaultdict(lambda: Text("-"))
    if "value" not in record:
        return cells
    interval, change = record["interval"], record["change"]
    cells["value"] = Text(f"{record['value']:.4f}", style="bold")
    cells["95 % interval"] = Text(f"{interval['low']:.4f} to {interval['high']:.4f}")
    cells["threshold"] = Text(record["threshold"] or "none")
    cells["n"] = Text(f"{record['n']:,}")
    if change:
        worse = (change["difference"] < 0) == (record["direction"] == "higher")
        cells["before"] = Text(f"{change['value']:.4f}")
        cells["difference"] = Text(f"{change['difference']:+.4f}")
        cells["p"] = Text(f"{change['p_worse'] if worse else change['p_better']:.1g}")
    return cells


def _tally(records: Sequence[Record], shown: Sequence[Record]) -> str:
    counts = Counter(record["verdict"] for record in records)
    counts_shown = Counter(record["verdict"] for record in shown)
    line = ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict])
    if any(record.get("within_noise") for record in shown):
        line += "; ~ the threshold is inside the interval, so other images could change the verdict"
    hidden = [f"{n} {verdict}" for verdict in Verdict if (n := counts[verdict] - counts_shown[verdict])]
    return line + (f"; {' and '.join(hidden)} not shown (-v shows all)" if hidden else "")


def _urgency(record: Record) -> tuple[int, float, str, str]:
    """Return a sort key: verdict, then p, the change in tolerances, or the threshold's distance in half-intervals."""
    verdicts = list(Verdict)
    margin = float("inf")
    bound = record.get("bound")
    if bound is not None:
        half_width = (record["interval"]["high"] - record["interval"]["low"]) / 2
        margin = abs(record["value"] - bound) / half_width if half_width else 0.0
    change = record.get("change")
    if change and record["verdict"] == Verdict.INCONCLUSIVE:
        margin = change["p_worse"]
    elif change:
        margin = -abs(change["difference"]) / change["tolerance"] if change["tolerance"] else -abs(change["difference"])
    elif record["failed"]:
        margin = -margin
    return (
        verdicts.index(Verdict(record["verdict"])),
        margin,
        record["measurement"],
        record["model"],
    )


def _drawn(parts: Sequence[Table | Text], *, width: int, colour: bool) -> str:
    file = io.StringIO()
    console = Console(
        file=file,
        width=width,
        force_terminal=colour,
        color_system="standard" if colour else None,
        highlight=False,
        legacy_windows=False,
    )
    for part in parts:
        console.print(part)
    return file.getvalue()
