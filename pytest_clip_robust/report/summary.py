"""summary.md: the result of a run for a pull request or a job's page, verdict first, and only what changed unfolded."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pytest_clip_robust.core.finding import FindingRecord
from pytest_clip_robust.errors import ReportError
from pytest_clip_robust.gates import Conclusion, Verdict
from pytest_clip_robust.gates.record import Record, p_value
from pytest_clip_robust.report.document import Document
from pytest_clip_robust.report.markdown import Block, code, fit, prose, table
from pytest_clip_robust.report.numbers import count, number, probability, signed, span
from pytest_clip_robust.report.order import headlines_first, p_name_of
from pytest_clip_robust.report.study import effect_cells, tally
from pytest_clip_robust.system.files import write_whole

LIMIT = 60_000
"""Bytes of summary.md; GitHub refuses comments of more than 65,536 characters."""

STEP_LIMIT = 1024 * 1024
"""Bytes of a step's summary; GitHub drops all of it if it is longer."""

REST = "\n\n_The rest is left out, since GitHub limits the length; report.json and index.html have all of it._\n"

FOLDED_ROWS = 100
LONGEST_SENTENCE = 3000
MARKS = {"ready": "\N{WHITE HEAVY CHECK MARK}", "not ready": "\N{CROSS MARK}", "not judged": "\N{MEDIUM WHITE CIRCLE}"}


def render_summary(document: Document, *, limit: int = LIMIT) -> str:
    """Return the summary of a run in GitHub's Markdown, of at most `limit` bytes.

    First is one line per model with its verdict. Then come the gates that failed, the headline gates that did not just
    pass, and the improved ones; all others are folded.
    """
    return fit(_blocks(document), limit, rest=REST)


def _blocks(document: Document) -> Iterator[Block]:
    """Yield the parts of the summary; a large panel is longer than the limit, and its rest is never made."""
    conclusions = document["conclusions"]
    yield from (Block(_verdict_line(one)) for one in conclusions)
    if not conclusions:
        yield Block(f"{MARKS['not judged']} **no gate was judged**\n\n")
    for conclusion in conclusions:
        own = sorted((one for one in document["gates"] if one["model"] == conclusion["model"]), key=headlines_first)
        yield from _gate_blocks(own, several=len(conclusions) > 1)
    if document["findings"]:
        yield _findings_table(document["findings"])
    yield Block(_about(document))


def write_summary(document: Document, path: Path) -> None:
    """Write summary.md whole or not at all.

    Raises:
        ReportError: the folder cannot be written.
    """
    try:
        write_whole(path, render_summary(document).encode())
    except OSError as error:
        raise ReportError(f"--clip-report {path.parent}: cannot write {path.name}: {error}") from error


def append_step_summary(document: Document, path: Path) -> None:
    """Append the summary to the file of a GitHub step, as far as the step's limit allows.

    Raises:
        ReportError: the file cannot be written, or has no room left.
    """
    try:
        there = path.stat().st_size if path.exists() else 0
        text = render_summary(document, limit=STEP_LIMIT - there - 1)
        if not text:
            raise ReportError(f"GITHUB_STEP_SUMMARY: {there:,} bytes are in it, so there is no room for the summary")
        with path.open("a", encoding="utf-8") as file:
            file.write(f"\n{text}" if there else text)
    except OSError as error:
        raise ReportError(f"GITHUB_STEP_SUMMARY: cannot write {path}: {error}") from error


def step_summary_file() -> Path | None:
    """Return the file that GitHub names for the summary of the current step, or None outside of GitHub."""
    named = os.environ.get("GITHUB_STEP_SUMMARY")
    return Path(named) if named else None


def _verdict_line(conclusion: Conclusion) -> str:
    head, _, reasons = conclusion["sentence"].partition(": ")
    names = f"{code(conclusion['model'])}: " if conclusion["model"] else ""
    return f"{MARKS[conclusion['verdict']]} {names}**{prose(head)}**. {prose(reasons, longest=LONGEST_SENTENCE)}\n\n"


def _gate_blocks(records: Sequence[Record], *, several: bool) -> list[Block]:
    """Return the tables of one model; `several` titles them with its name."""
    if not records:
        return []
    changed = [record for record in records if _is_news(record)]
    headlines = sorted((one for one in records if one.get("headline")), key=lambda one: one["place"])
    unclear = [one for one in records if one["verdict"] == Verdict.INCONCLUSIVE and not one.get("headline")]
    first = f"; the {FOLDED_ROWS} with the smallest p" if len(unclear) > FOLDED_ROWS else ""
    title = f"#### {code(records[0]['model'])}\n\n" if several and records[0]["model"] else ""
    blocks = [_gate_table(changed, above=title)] if changed else [Block(title)]
    for name, some in (
        (count(len(headlines), "headline gate"), headlines),
        (f"{count(len(unclear), 'detail')} worse by at least the tolerance, which can be noise{first}", unclear),
    ):
        if some:
            blocks.append(
                _gate_table(some[:FOLDED_ROWS], above=f"<details><summary>{name}</summary>\n\n", below="\n</details>\n")
            )
    return blocks


def _findings_table(findings: Sequence[FindingRecord]) -> Block:
    columns = ["finding", "status", "effect", "95 % interval", "models (units)"]
    rows = [[prose(one["claim"]), prose(one["status"]), *map(prose, effect_cells(one))] for one in findings]
    above = f"<details><summary>findings on the panel: {prose(tally(findings))}</summary>\n\n"
    return table(columns, rows, right=3, above=above, below="\n</details>\n")


def _is_news(record: Record) -> bool:
    verdict = record["verdict"]
    return verdict != Verdict.PASSED and (verdict != Verdict.INCONCLUSIVE or bool(record.get("headline")))


def _gate_table(records: Sequence[Record], *, above: str = "", below: str = "") -> Block:
    compared = any(record.get("change") for record in records)
    columns = ["", "gate", *(["before"] if compared else []), "now", "95 % interval"]
    columns += ["difference", p_name_of(records)] if compared else []
    columns += ["threshold", "n"]
    rows = [_cells(record, compared=compared) for record in records]
    return table(columns, rows, right=len(columns) - 2, above=above, below=below)


def _cells(record: Record, *, compared: bool) -> list[str]:
    verdict = record["verdict"].replace("_", " ")
    shown = f"**{verdict}**" if record["failed"] else verdict
    if "value" not in record:
        return [shown, f"{code(record['measurement'])} {prose(record['message'])}", *([""] * (7 if compared else 4))]
    cells = [shown, code(record["measurement"])]
    change, interval = record["change"], record["interval"]
    if compared:
        cells.append("" if change is None else number(change["value"]))
    cells += [f"**{number(record['value'])}**", span(interval["low"], interval["high"])]
    if compared and change is not None:
        p = p_value(record, change) if change["p_adjusted"] is None else change["p_adjusted"]
        band = f"({signed(change['low'])} to {signed(change['high'])})"
        cells += [f"{signed(change['difference'])} {band}", probability(p)]
    elif compared:
        cells += ["", ""]
    return [*cells, prose(record["threshold"] or "none"), f"{record['n']:,}"]


def _about(document: Document) -> str:
    verdicts = document["verdicts"]
    counts = ", ".join(f"{n} {one.replace('_', ' ')}" for one in Verdict if (n := verdicts.get(one, 0)))
    against = f", against {code(document['reference'])}" if document["reference"] else ""
    lines = [f"{counts or 'no gates'}; profile {code(document['profile'])}{against}, level {document['alpha']:g}"]
    lines += _list(
        "Not applicable", (f"{count(one['tests'], 'test')}: {one['reason']}" for one in document["not_applicable"])
    )
    lines += _list("Notices", document["notices"])
    return "\n\n".join(lines) + "\n"


def _list(title: str, items: Iterable[str]) -> list[str]:
    # Inside of an HTML block, an item that begins like a list of Markdown is not one.
    written = [f"<li>{prose(item)}</li>" for item in items]
    return (
        [f"<details><summary>{title}</summary><ul>{''.join(written[:FOLDED_ROWS])}</ul></details>"] if written else []
    )
