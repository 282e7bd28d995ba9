"""Thresholds of the showroom's profile, derived from a run of the default model.

    pytest --model showroom-clip --clip-report=report
    python -m showroom.thresholds ../report/report.json ../suites/profiles/showroom.toml

A threshold is the worse end of the measurement's 95 % interval, made more lenient by 0.01. There are two exceptions: an
end of exactly 0 or 1 is not changed, and a lower end between 0 and 0.1 is reduced by a tenth of itself. The section
``[thresholds]``, the last of the profile, is rewritten. With ``--keep``, thresholds of metrics that are not in the
report remain, so that a subset of the suites can be run.
"""

from __future__ import annotations

import argparse
import json
import math
import tomllib
from pathlib import Path
from typing import Any

SLACK = 0.01
SMALL = 0.1
"""For values below it, 0.01 would be a large part of the value."""

SECTION = "[thresholds]\n"


def main() -> None:
    """Write the thresholds of a profile."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    parser.add_argument("profile", type=Path)
    parser.add_argument("--keep", action="store_true", help="keep thresholds of metrics that are not in the report")
    options = parser.parse_args()
    gates = json.loads(options.report.read_text(encoding="utf-8"))["gates"]
    text = options.profile.read_text(encoding="utf-8")
    before, section, after = text.partition(SECTION)
    if not section:
        parser.error(f"{options.profile} has no section [thresholds]")
    lines = {}
    if options.keep:
        lines = dict(zip(tomllib.loads(text)["thresholds"], after.splitlines(keepends=True), strict=True))
    lines |= {gate["measurement"]: line(gate) for gate in gates}
    options.profile.write_text(before + section + "".join(lines[key] for key in sorted(lines)), encoding="utf-8")


def line(gate: dict[str, Any]) -> str:
    """Return one line of the profile; the threshold is rounded to the lenient side."""
    low, high = (round(gate["interval"][end], 9) for end in ("low", "high"))
    if gate["direction"] == "lower":
        demand = f"at_most = {math.ceil(100 * (high + slack(high))) / 100:.2f}"
    elif 0 < low < SMALL:
        demand = f"at_least = {math.floor(10_000 * low * 0.9) / 10_000:.4f}"
    else:
        demand = f"at_least = {math.floor(100 * (low - slack(low))) / 100:.2f}"
    return f'"{gate["measurement"]}" = {{ {demand} }}\n'


def slack(end: float) -> float:
    """Return the distance between the interval's end and the threshold."""
    return 0.0 if end in {0.0, 1.0} else SLACK


if __name__ == "__main__":
    main()
