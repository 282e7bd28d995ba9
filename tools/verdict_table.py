"""Table of verdicts: the gates of several runs, counted by aspect and verdict, as Markdown.

    python tools/verdict_table.py NAME=report.json [NAME=report.json ...]

The table has one row per aspect (the first part of a metric's id) and one column per run. Below it, the gates that
regressed are listed, headlines first, then by their adjusted p-value.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from pytest_clip_robust.errors import ReportError
from pytest_clip_robust.gates.record import Record
from pytest_clip_robust.report.document import Document, read_report

LISTED = 6
"""Regressed gates that are listed per run."""

LABELS = {
    "error": "error",
    "regressed": "**regressed**",
    "below_threshold": "below threshold",
    "inconclusive": "inconclusive",
    "improved": "improved",
}


def main() -> None:
    """Read the reports and print the table and the lists."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", nargs="+", metavar="NAME=report.json")
    named = [one.partition("=") for one in parser.parse_args().reports]
    try:
        reports = {name: _measured(read_report(Path(path))) for name, _, path in named}
    except ReportError as error:
        parser.error(str(error))
    aspects = list(dict.fromkeys(gate["metric"].partition(".")[0] for gates in reports.values() for gate in gates))
    print("| aspect | gates | " + " | ".join(reports) + " |")
    print("|---|---|" + "---|" * len(reports))
    for aspect in aspects:
        of_aspect = [[gate for gate in gates if gate["metric"].startswith(f"{aspect}.")] for gates in reports.values()]
        print(f"| {aspect} | {max(map(len, of_aspect))} | " + " | ".join(map(counted, of_aspect)) + " |")
    print(f"| all | {max(map(len, reports.values()))} | " + " | ".join(map(counted, reports.values())) + " |")
    for name, gates in reports.items():
        regressed = [gate for gate in gates if gate["verdict"] == "regressed"]
        if regressed:
            print(f"\n{name}:\n\n| regressed | | before | now | adjusted p |\n|---|---|---|---|---|")
        for gate in sorted(regressed, key=weight)[:LISTED]:
            kind = "headline" if gate["headline"] else ""
            values = f"{gate['change']['value']:.3f} | {gate['value']:.3f} | {weight(gate)[1]:.2g}"
            print(f"| `{gate['measurement']}` | {kind} | {values} |")
        if len(regressed) > LISTED:
            print(f"| and {len(regressed) - LISTED} more | | | | |")


def weight(gate: Record) -> tuple[bool, float, str]:
    """Return a sort key: headlines before details, then the adjusted p-value, or without correction the p-value."""
    change = gate["change"]
    p = change["p_worse"] if change["p_adjusted"] is None else change["p_adjusted"]
    return not gate["headline"], p, gate["measurement"]


def _measured(report: Document) -> list[Record]:
    """Return the gates that measured something."""
    return [gate for gate in report["gates"] if "metric" in gate]


def counted(gates: list[Record]) -> str:
    """Return the number of gates per verdict in words, without those that passed."""
    counts = Counter(gate["verdict"] for gate in gates)
    return (
        ", ".join(f"{counts[verdict]} {label}" for verdict, label in LABELS.items() if counts[verdict]) or "all passed"
    )


if __name__ == "__main__":
    main()
