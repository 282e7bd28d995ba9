"""Table of verdicts: the gates of several runs, counted by aspect and verdict, as Markdown.

    python tools/verdict_table.py NAME=report.json [NAME=report.json ...]

The table has one row per aspect (the first part of a metric's id) and one column per run. Below it, the gates that
regressed are listed, lowest p-value first.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

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
    """Read the reports and print the table and the list."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", nargs="+", metavar="NAME=report.json")
    named = [one.partition("=") for one in parser.parse_args().reports]
    reports = {name: json.loads(Path(path).read_text(encoding="utf-8"))["gates"] for name, _, path in named}
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
            print(f"\n{name}:\n\n| regressed | before | now | p |\n|---|---|---|---|")
        for gate in sorted(regressed, key=lambda gate: gate["change"]["p_worse"])[:LISTED]:
            change = gate["change"]
            print(
                f"| `{gate['measurement']}` | {change['value']:.3f} | {gate['value']:.3f} | {change['p_worse']:.1g} |"
            )
        if len(regressed) > LISTED:
            print(f"| and {len(regressed) - LISTED} more | | | |")


def counted(gates: list[dict[str, object]]) -> str:
    """Return the number of gates per verdict in words, without those that passed."""
    counts = Counter(str(gate["verdict"]) for gate in gates)
    return (
        ", ".join(f"{counts[verdict]} {label}" for verdict, label in LABELS.items() if counts[verdict]) or "all passed"
    )


if __name__ == "__main__":
    main()
