"""Tables that close a run in the terminal, worst gates first."""

from __future__ import annotations

import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pytest_clip_robust.errors import did_you_mean
from pytest_clip_robust.gates import Conclusion, Verdict
from pytest_clip_robust.gates.conclusion import Blind, aspect_name, aspect_of
from pytest_clip_robust.gates.record import Record, p_value
from pytest_clip_robust.gates.threshold import headline_keys, keys_for
from pytest_clip_robust.report.order import p_name_of, urgency
from pytest_clip_robust.system.text import printable

ROWS_SHOWN = 8
STYLES = {
    Verdict.ERROR: "bold red",
    Verdict.REGRESSED: "bold red",
    Verdict.BELOW_THRESHOLD: "red",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.IMPROVED: "bold green",
    Verdict.PASSED: "green",
}
WIDTH_WITHOUT_TERMINAL = 140
ASPECTS_WORTH_A_TABLE = 3
NAMES_SHOWN = 10
HEADLINES = "headline gates"


def render_gates(records: Sequence[Record], *, width: int, colour: bool, every: bool = False) -> str:
    """Return the headline gates, all of them, and below them the details, most urgent verdicts first.

    If anything was compared with a baseline, details that passed are only counted; otherwise those nearest to their
    threshold are shown. Of the inconclusive ones, those with the smallest p are shown. `every` shows all.
    """
    compared = any(record.get("change") for record in records)
    headlines = sorted((record for record in records if record.get("headline")), key=lambda one: one["place"])
    details = sorted((record for record in records if not record.get("headline")), key=urgency)
    rows_left = {Verdict.PASSED: 0 if compared else ROWS_SHOWN, Verdict.INCONCLUSIVE: ROWS_SHOWN}
    shown: list[Record] = []
    for record in details:
        verdict = Verdict(record["verdict"])
        rows_left[verdict] = rows_left.get(verdict, len(records)) - 1
        if every or rows_left[verdict] >= 0:
            shown.append(record)
    drawn: list[Table | Text] = []
    with_model = len({record["model"] for record in records}) > 1
    for title, rows in ((f"headline gates: {len(headlines)}", headlines), (_detail_title(details, shown), shown)):
        if rows:
            drawn += [Text(f"\n{title}", style="bold"), _table(rows, compared=compared, with_model=with_model)]
    drawn.append(Text(f"\n{_tally(records, [*headlines, *shown])}"))
    return draw(drawn, width=width, colour=colour)


def render_aspects(records: Sequence[Record], conclusions: Sequence[Conclusion], *, width: int, colour: bool) -> str:
    """Return a table with one row per aspect: its verdicts and, if it is blind, the smallest loss that it can show.

    Nothing for runs of fewer than three aspects.
    """
    aspects: dict[tuple[str, str], list[Record]] = {}
    for record in sorted((one for one in records if "value" in one), key=lambda one: one["place"]):
        aspects.setdefault((record["model"], aspect_of(record)), []).append(record)
    compared = any(record["change"] for of_aspect in aspects.values() for record in of_aspect)
    if len(aspects) < ASPECTS_WORTH_A_TABLE:
        return ""
    blind = {(one["model"], sight["aspect"]): sight for one in conclusions for sight in one["blind"]}
    with_model = len({model for model, _ in aspects}) > 1
    table = empty_table()
    for name in ("aspect", *(["model"] if with_model else []), "gates", "verdicts"):
        table.add_column(name, justify="right" if name == "gates" else "left", overflow="fold")
    if compared:
        table.add_column("blind to a loss of its tolerance", overflow="fold")
    for (model, aspect), of_aspect in aspects.items():
        counts = Counter(Verdict(record["verdict"]) for record in of_aspect)
        verdicts = Text(", ").join(Text(f"{counts[v]} {v}", style=STYLES[v]) for v in Verdict if counts[v])
        names = [Text(printable(name)) for name in (aspect_name(aspect), *([model] if with_model else []))]
        sight = [_sight_cell(blind.get((model, aspect)))] if compared else []
        table.add_row(*names, Text(str(len(of_aspect))), verdicts, *sight)
    return draw([Text(), table, Text()], width=width, colour=colour)


def level_line(records: Sequence[Record], *, alpha: float, correction: str, headline_share: float) -> str:
    """Return one line about the level of the decision: of the whole run, and how the gates share it."""
    changed = [record for record in records if record.get("change")]
    if not changed:
        return f"nothing was compared, so the level {alpha:g} was not used"
    promise = f"a run in which nothing got worse is red with a probability of at most {alpha:g}"
    if correction == "bonferroni":
        return f"level: {promise}; p is not adjusted, and significant at {changed[0]['change']['alpha']:.2g} or less"  # type: ignore[index]
    models = len({record["model"] for record in changed})
    shared = f", shared equally by {models} models" if models > 1 else ""
    headlines = sum(record["headline"] for record in changed)
    shares = [
        f"{share:.0%} for {count} {kind} gate{'' if count == 1 else 's'}"
        for share, count, kind in (
            (headline_share, headlines, "headline"),
            (1 - headline_share, len(changed) - headlines, "detail"),
        )
    ]
    split = (
        f", {' and '.join(shares)}"
        if 0 < headlines < len(changed)
        else f" for {len(changed)} gate{'' if len(changed) == 1 else 's'}"
    )
    return f"level: {promise}{shared}{split}; adj. p accounts for that, and is significant at {alpha:g} or less"


def unmatched_keys(kind: str, keys: Iterable[str], records: Iterable[Record]) -> list[str]:
    """Return one line about the keys of a section of the profile (`kind`) that matched no measurement."""
    used: set[str] = set()
    for record in records:
        if "metric" not in record:
            continue
        if kind == HEADLINES:
            used.update(headline_keys(record["metric"], record["subset"], record["measurement"]))
        else:
            used.update(keys_for(record["metric"], record["dataset"], record["measurement"]))
    unmatched = [key for key in keys if key not in used]
    if not unmatched:
        return []
    named = ", ".join(f"{printable(key)}{did_you_mean(key, used)}" for key in unmatched[:NAMES_SHOWN])
    more = f" and {len(unmatched) - NAMES_SHOWN} more" if len(unmatched) > NAMES_SHOWN else ""
    return [f"{kind} that match no measurement: {named}{more}; correct their names or remove them"]


def _detail_title(details: Sequence[Record], shown: Sequence[Record]) -> str:
    return f"details: {len(shown)} of {len(details)}"


def empty_table() -> Table:
    """Return a table without columns, in the style of all tables."""
    return Table(box=None, pad_edge=False, header_style="bold", collapse_padding=True)


def _table(records: Sequence[Record], *, compared: bool, with_model: bool) -> Table:
    columns = (
        ["before", "now", "difference", "95 % interval", p_name_of(records)] if compared else ["value", "95 % interval"]
    )
    columns += ["threshold", "n"]
    table = empty_table()
    table.add_column("verdict", no_wrap=True)
    table.add_column("measurement", overflow="fold")
    if with_model:
        table.add_column("model", overflow="fold")
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for record in records:
        cells = _cells(record)
        model = [Text(printable(record["model"]))] if with_model else []
        table.add_row(
            _verdict_cell(record), Text(printable(record["measurement"])), *model, *(cells[c] for c in columns)
        )
    return table


def _verdict_cell(record: Record) -> Text:
    verdict = Verdict(record["verdict"])
    marks = (" ~" if record.get("within_noise") else "") + (" =" if record.get("at_chance") else "")
    return Text(str(verdict) + marks, style="yellow" if record.get("at_chance") else STYLES[verdict])


def _sight_cell(sight: Blind | None) -> Text:
    if sight is None:
        return Text("-")
    tolerance, needed = f"{sight['tolerance']:g}", sight["samples_needed"]
    way_out = "" if needed is None else f"; about {float(f'{needed:.1e}'):,.0f} show {tolerance}"
    return Text(f"{tolerance} ({sight['n']:,} samples show {sight['detectable']:.3f}{way_out})", style="yellow")


def _cells(record: Record) -> defaultdict[str, Text]:
    cells: defaultdict[str, Text] = defaultdict(lambda: Text("-"))
    if "value" not in record:
        return cells
    interval, change = record["interval"], record["change"]
    cells["value"] = cells["now"] = Text(f"{record['value']:.4f}", style="bold")
    cells["95 % interval"] = Text(f"{interval['low']:.4f} to {interval['high']:.4f}")
    cells["threshold"] = Text(record["threshold"] or "none")
    cells["n"] = Text(f"{record['n']:,}")
    if change:
        cells["before"] = Text(f"{change['value']:.4f}")
        cells["difference"] = Text(f"{change['difference']:+.4f}")
        cells["95 % interval"] = Text(f"{change['low']:+.4f} to {change['high']:+.4f}")
        cells["p"] = Text(f"{p_value(record, change):.2g}")
        cells["adj. p"] = Text("-" if change["p_adjusted"] is None else f"{change['p_adjusted']:.2g}")
    return cells


def _tally(records: Sequence[Record], shown: Sequence[Record]) -> str:
    counts = Counter(record["verdict"] for record in records)
    counts_shown = Counter(record["verdict"] for record in shown)
    line = ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict])
    hidden = [f"{n} {verdict}" for verdict in Verdict if (n := counts[verdict] - counts_shown[verdict])]
    line += f"; {' and '.join(hidden)} not shown (-v shows all)" if hidden else ""
    if any(record.get("within_noise") for record in shown):
        line += "\n~ the threshold is inside the interval, so other images could change the verdict"
    guessed = [record["measurement"] for record in records if record.get("at_chance")]
    if guessed:
        named = ", ".join(map(printable, guessed[:NAMES_SHOWN]))
        more = f" and {len(guessed) - NAMES_SHOWN} more" if len(guessed) > NAMES_SHOWN else ""
        line += f"\n= no better than guessing: {named}{more}"
    return line


def draw(parts: Sequence[Table | Text], *, width: int, colour: bool) -> str:
    """Return the parts as text; a `width` of 0 stands for no terminal."""
    file = io.StringIO()
    console = Console(
        file=file,
        width=width if width > 0 else WIDTH_WITHOUT_TERMINAL,
        force_terminal=colour,
        color_system="standard" if colour else None,
        highlight=False,
        legacy_windows=False,
    )
    for part in parts:
        console.print(part)
    return file.getvalue()
