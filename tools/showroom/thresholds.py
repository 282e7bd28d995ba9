"""Turn a run of the default model into the thresholds of the showroom's profile.

    pytest --model showroom-clip --clip-report=report
    python -m showroom.thresholds ../report/report.json ../suites/profiles/showroom.toml

A threshold is what the model measures, less the noise: the worse end of its 95 % interval, and a hundredth more, except
where that end is 0 or 1, which nothing goes beyond, or a share below a tenth, of which a tenth is taken off. The
section ``[thresholds]`` of the profile, its last, is written anew; with ``--keep`` the thresholds of what the report
did not measure stay, so that a part of the suites can be run.
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
"""Below it a hundredth would be much of what there is, or all."""

SECTION = "[thresholds]\n"


def main() -> None:
    """Rewrite the thresholds of a profile."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    parser.add_argument("profile", type=Path)
    parser.add_argument("--keep", action="store_true", help="keep thresholds of what was not measured")
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
    """Write one threshold, rounded away from the value."""
    low, high = (round(gate["interval"][end], 9) for end in ("low", "high"))
    if gate["direction"] == "lower":
        demand = f"at_most = {math.ceil(100 * (high + slack(high))) / 100:.2f}"
    elif 0 < low < SMALL:
        demand = f"at_least = {math.floor(10_000 * low * 0.9) / 10_000:.4f}"
    else:
        demand = f"at_least = {math.floor(100 * (low - slack(low))) / 100:.2f}"
    return f'"{gate["measurement"]}" = {{ {demand} }}\n'


def slack(end: float) -> float:
    """Return how far beyond the interval's end a threshold lies."""
    return 0.0 if end in {0.0, 1.0} else SLACK


if __name__ == "__main__":
    main()
