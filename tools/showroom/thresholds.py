"""Turn a run of the default model into the thresholds of the showroom's profile.

    pytest --model showroom-clip --clip-report=report
    python -m showroom.thresholds ../report/report.json ../suites/profiles/showroom.toml

A threshold is what the model measures, less the noise: the worse end of its 95 % interval, and a hundredth more. The
section ``[thresholds]`` of the profile, its last, is written anew.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

SLACK = 0.01
SECTION = "[thresholds]\n"


def main() -> None:
    """Rewrite the thresholds of a profile."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    parser.add_argument("profile", type=Path)
    options = parser.parse_args()
    gates = json.loads(options.report.read_text(encoding="utf-8"))["gates"]
    before, section, _ = options.profile.read_text(encoding="utf-8").partition(SECTION)
    if not section:
        parser.error(f"{options.profile} has no section [thresholds]")
    lines = [line(gate) for gate in sorted(gates, key=lambda gate: gate["measurement"])]
    options.profile.write_text(before + section + "".join(lines), encoding="utf-8")


def line(gate: dict[str, Any]) -> str:
    """Write one threshold, rounded away from the value."""
    low, high = gate["interval"]["low"], gate["interval"]["high"]
    if gate["direction"] == "higher":
        demand = f"at_least = {math.floor(100 * (low - SLACK)) / 100:.2f}"
    else:
        demand = f"at_most = {math.ceil(100 * (high + SLACK)) / 100:.2f}"
    return f'"{gate["measurement"]}" = {{ {demand} }}\n'


if __name__ == "__main__":
    main()
