"""``clip-robust series``: the first checkpoint of a training run at which a headline property broke, by bisection."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pytest_clip_robust.cli.measuring import measure
from pytest_clip_robust.errors import ConfigError
from pytest_clip_robust.gates.series import Records, bisect, broken_gates
from pytest_clip_robust.models.series import expand_series
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.report.series import headline_records, render_series

BROKE = 1
"""The exit status if a headline gate broke."""

DESCRIPTION = """\
Finds the first checkpoint of a training run at which a headline property broke: regressed against the reference, below
its threshold, or no longer measurable. The first and the last checkpoint are measured, and then those in the middle
between a sound and a broken one, so that 100 epochs take about 9 runs for each place at which something broke.

  clip-robust series --model 'ViT-B-32@runs/42/epoch_*.pt' --clip-profile release.toml

Checkpoints are ordered by the numbers in their names. The search assumes that what broke stays broken; to measure all
of them, give the same spec to pytest --model. Arguments after -- are passed to pytest.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--model", required=True, metavar="SPEC", help="a model spec with * in its path")
    parser.add_argument("--clip-profile", required=True, metavar="NAME|FILE", help="the profile")
    parser.add_argument(
        "--clip-reference", metavar="SPEC", help="compare with this model (default: the first checkpoint of the series)"
    )


def run(options: argparse.Namespace, passed: Sequence[str]) -> int:
    """Measure, print the table, and return the exit status.

    Raises:
        ClipRobustError: the spec is no series, or a checkpoint cannot be measured.
    """
    specs = expand_series(options.model)
    if len(specs) < 2:
        raise ConfigError(
            f"--model {options.model}: a series needs two or more checkpoints; write * where names differ"
        )
    labels = [ModelSpec.parse(spec).label for spec in specs]
    reference = options.clip_reference or specs[0]

    def records_of(place: int) -> Records:
        with tempfile.TemporaryDirectory(prefix="clip-robust-") as folder:
            against = "" if specs[place] == reference else reference
            reports = measure([specs[place]], options.clip_profile, Path(folder), passed, reference=against)
            (report,) = reports.values()
        return headline_records(report["gates"], labels[place])

    measured = bisect(len(specs), records_of)
    sys.stdout.write(render_series(labels, measured, width=0, colour=False))
    return BROKE if broken_gates(measured) else 0
