"""``clip-robust tolerances``: how much equally good checkpoints differ, as tolerances of a profile.

Checkpoints of one recipe that differ in their seed differ on the same images by more than rounding, and a paired test
detects that. A tolerance above their spread says that such a difference is not a regression.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pytest_clip_robust.cli.measuring import measure
from pytest_clip_robust.cli.panel import Panel, panel_from
from pytest_clip_robust.cli.profile_files import editable, with_tolerances, without_tolerances, write
from pytest_clip_robust.config.profile import load_profile
from pytest_clip_robust.errors import ConfigError, ReportError
from pytest_clip_robust.gates.record import Record
from pytest_clip_robust.gates.threshold import keys_for
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.report.document import Document, read_report
from pytest_clip_robust.stats.spread import difference_bounds, rounded_up
from pytest_clip_robust.system.text import printable

ROWS_SHOWN = 20
NAMES_SHOWN = 10
INCOMPLETE = 1
"""The exit status if some gates were not measured on every checkpoint, and so got no tolerance."""

DESCRIPTION = """\
Measures checkpoints that should count as equal, such as the same recipe with other seeds, and writes a tolerance for
every gate into [tolerances] of the profile: an upper bound of their difference, at least the tolerance that applies
otherwise. Entries of gates that were measured are replaced; everything else in the file stays as it is.

  clip-robust tolerances --model ViT-B-32@seed0.pt --model ViT-B-32@seed1.pt --model ViT-B-32@seed2.pt \\
      --clip-profile release.toml -- -n auto

Arguments after -- are passed to pytest; those at its beginning that are not options are paths of your own suites,
which replace the shipped ones.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The tolerance of one gate.

    key: the measurement's. floor: the tolerance that applies without an entry of the gate's own.
    tolerance: at least `floor`. values: one per checkpoint. All are in the units of the value.
    """

    key: str
    floor: float
    tolerance: float
    values: tuple[float, ...]

    @property
    def raised(self) -> bool:
        """Whether the spread is above the tolerance that applies otherwise."""
        return self.tolerance > self.floor

    @property
    def ratio(self) -> float:
        """The tolerance in units of the floor."""
        return self.tolerance / self.floor if self.floor else math.inf


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.usage = "%(prog)s (--model SPEC ... | --report FILE ...) --clip-profile FILE [options] [-- PATH ... OPTIONS]"
    parser.add_argument(
        "--model", action="append", default=[], metavar="SPEC", help="a checkpoint to measure; give two or more"
    )
    parser.add_argument(
        "--report",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="a report.json of a run that measured checkpoints, instead of --model (can be repeated)",
    )
    parser.add_argument("--clip-profile", required=True, metavar="FILE", help="the profile (TOML)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the changed profile to this file instead")
    parser.add_argument("--dry-run", action="store_true", help="print what was found, and write no profile")


def run(options: argparse.Namespace, passed: Sequence[str]) -> int:
    """Measure, write the profile, print the table, and return the exit status.

    Raises:
        ClipRobustError: the arguments are wrong, or no spread can be measured.
    """
    _check(options, passed)
    profile = editable(options.clip_profile)
    own = load_profile(str(profile)).tolerances
    reports = _read(options.report) if options.report else _measure(options.model, profile, passed)
    panel = panel_from(reports)
    if options.report:
        _check_defaults_known(panel, own)
    found = find_tolerances(panel, own)
    entries = entries_of(found, panel, own)
    target = options.output or profile
    if not options.dry_run:  # first, so that a closed pipe loses nothing that was measured
        with profile.open(encoding="utf-8", newline="") as file:
            write(target, with_tolerances(file.read(), entries, drop=panel.gates))
    _print(panel, found)
    if not options.dry_run:
        _say(f"wrote {len(entries)} tolerances to {target}")
    return INCOMPLETE if panel.unmeasured else 0


def find_tolerances(panel: Panel, own: Mapping[str, float]) -> list[Found]:
    """Return the tolerance of every gate, the largest in units of its floor first.

    own: the profile's tolerances. Those of measured gates are ignored, and the more general ones are floors.
    """
    values = np.array([[record["value"] for record in records] for records in panel.gates.values()]).T
    general = {key: tolerance for key, tolerance in own.items() if key not in panel.gates}
    bounds = difference_bounds(values)
    found = []
    for (key, records), bound in zip(panel.gates.items(), bounds, strict=True):
        floor = max(_applied(record, general, record["tolerance"]) for record in records)
        tolerance = max(floor, rounded_up(float(bound)))
        found.append(
            Found(key=key, floor=floor, tolerance=tolerance, values=tuple(record["value"] for record in records))
        )
    return sorted(found, key=lambda one: (-one.ratio, one.key))


def entries_of(found: Sequence[Found], panel: Panel, own: Mapping[str, float]) -> dict[str, float]:
    """Return the entries that the profile needs: of raised gates, and of gates that another entry would change.

    An entry of ``metric[set]`` also applies to every ``metric[set/subset]`` that has none.
    """
    entries = {one.key: one.tolerance for one in found if one.raised}
    there = {key: tolerance for key, tolerance in own.items() if key not in panel.gates} | entries
    for one in found:
        if not one.raised and _applied(panel.gates[one.key][0], there, one.floor) != one.floor:
            entries[one.key] = one.floor
    return entries


def _check(options: argparse.Namespace, passed: Sequence[str]) -> None:
    if bool(options.model) == bool(options.report):
        raise ConfigError("give --model two or more times to measure checkpoints, or --report to use earlier runs")
    if options.report and passed:
        raise ConfigError(f"--report runs no tests, so {' '.join(passed)} after -- has no use; remove it")
    for given, name in ((options.model, "--model"), (options.report, "--report")):
        for one in given:
            if given.count(one) > 1:
                raise ConfigError(f"{name} {printable(str(one))} is given twice; give different checkpoints")
    if len(options.model) == 1:
        raise ConfigError("a spread needs two or more checkpoints, and --model is given once")
    for one in options.model:
        ModelSpec.parse(one)


def _check_defaults_known(panel: Panel, own: Mapping[str, float]) -> None:
    """Raise ReportError if a report was made with tolerances that are to be replaced: it lacks the default then."""
    for key, records in panel.gates.items():
        if any(record["tolerance"] == own.get(key) for record in records):
            raise ReportError(
                f"the reports were measured with the tolerance of {key} in the profile, {own[key]}, so they do not "
                "have its default; measure with --model, or run again with a profile without [tolerances]"
            )


def _read(paths: Sequence[Path]) -> dict[Path, Document]:
    return {path: read_report(path) for path in paths}


def _measure(models: Sequence[str], profile: Path, passed: Sequence[str]) -> dict[Path, Document]:
    with tempfile.TemporaryDirectory() as folder, without_tolerances(profile) as plain:
        return measure(models, plain, Path(folder), passed)


def _applied(record: Record, tolerances: Mapping[str, float], default: float) -> float:
    """Return the most specific of `tolerances` for the gate of a record, else `default`."""
    keys = keys_for(record["metric"], record["dataset"], record["measurement"])
    return next((tolerances[key] for key in keys if key in tolerances), default)


def _print(panel: Panel, found: Sequence[Found]) -> None:
    raised = [one for one in found if one.raised]
    shown = raised[:ROWS_SHOWN]
    rows = [
        (one.key, f"{one.floor:g}", f"{one.tolerance:g}", " ".join(f"{value:.4f}" for value in one.values))
        for one in shown
    ]
    table = [("gate", "without", "tolerance", "values"), *rows] if rows else []
    widths = [max(len(row[column]) for row in table) for column in range(3)] if table else []
    for name, without, tolerance, values in table:
        _say(f"{printable(name):{widths[0]}}  {without:>{widths[1]}}  {tolerance:>{widths[2]}}  {values}")
    if len(raised) > len(shown):
        _say(f"and {len(raised) - len(shown)} more")
    _say(
        f"{len(panel.checkpoints)} checkpoints, {len(found)} gates: the tolerance of {len(raised)} is raised, "
        f"{len(found) - len(raised)} keep theirs"
    )
    for key, labels in list(panel.unmeasured.items())[:NAMES_SHOWN]:
        _say(f"{printable(key)} gets no tolerance: it was not measured on {', '.join(map(printable, labels))}")
    if len(panel.unmeasured) > NAMES_SHOWN:
        _say(f"and {len(panel.unmeasured) - NAMES_SHOWN} more gates get no tolerance")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
