"""Print as Markdown what several runs said of each aspect.

    python tools/verdict_table.py NAME=report.json [NAME=report.json ...]

A row an aspect (the first part of a metric's id), a column a run; below it the gates that regressed, the surest first.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

LISTED = 6

SHORT = {
    "error": "error",
    "regressed": "**regressed**",
    "below_threshold": "below threshold",
    "inconclusive": "inconclusive",
    "improved": "improved",
    "passed": "passed",
}


def main(arguments: list[str]) -> None:
    """Read the reports and print the table and the list."""
    reports = {
        name: json.loads(Path(path).read_text())["gates"] for name, _, path in (a.partition("=") for a in arguments)
    }
    aspects = list(dict.fromkeys(gate["metric"].partition(".")[0] for gates in reports.values() for gate in gates))
    print("| aspect | gates | " + " | ".join(reports) + " |")
    print("|---|---|" + "---|" * len(reports))
    for aspect in aspects:
        of_aspect = [[gate for gate in gates if gate["metric"].startswith(f"{aspect}.")] for gates in reports.values()]
        print(f"| {aspect} | {max(map(len, of_aspect))} | " + " | ".join(map(tell, of_aspect)) + " |")
    print(f"| all | {max(map(len, reports.values()))} | " + " | ".join(map(tell, reports.values())) + " |")
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


def tell(gates: list[dict[str, object]]) -> str:
    """Count the verdicts other than passes."""
    counts = Counter(str(gate["verdict"]) for gate in gates)
    return ", ".join(f"{counts[v]} {said}" for v, said in SHORT.items() if counts[v] and v != "passed") or "all passed"


if __name__ == "__main__":
    main(sys.argv[1:])
