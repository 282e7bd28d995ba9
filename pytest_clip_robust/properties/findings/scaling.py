"""Temperature scaling: does one temperature, fitted in distribution, lower ECE there and under shift?"""

from __future__ import annotations

from functools import partial

import numpy as np

from pytest_clip_robust.core.finding import Answer
from pytest_clip_robust.core.panel_table import PanelTable
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.properties.findings.paired import ECE, SCALED_ECE, difference
from pytest_clip_robust.properties.findings.result import Finding, directed
from pytest_clip_robust.properties.findings.selection import TOP_1, groups_of
from pytest_clip_robust.stats.across_models import mean_effect

SMALLEST = 0.01
"""The tolerance of `calibration.ECE`: a smaller change does not count."""

SETS_OF = {"id": TOP_1, "shift": "shift.top1"}
"""The metric that is measured on the sets of a role, which the table does not name."""


def temperature_lowers_error(table: PanelTable, role: str) -> Answer:
    """Answer whether the temperature of the ID set lowers ECE (15 equal-width bins) on the sets of `role`.

    The difference of each model is its mean over the sets. In distribution, the temperature is fitted on one half of
    the images, and the ECE with it is that of the other half: fewer images make ECE larger, which works against the
    finding.

    Raises:
        MeasurementError: no model has both errors on the sets of the role.
    """
    of_role = set(table.rows_of(SETS_OF[role]))
    plain, scaled = table.rows_of(ECE), table.rows_of(SCALED_ECE)
    sets = sorted(of_role & set(plain) & set(scaled))
    labels = sorted(set.intersection(*(set(found[one]) for one in sets for found in (plain, scaled)))) if sets else []
    if not labels:
        raise MeasurementError(
            f"needs {ECE} and {SCALED_ECE} on the {role} sets, and the run measured them on no model"
        )
    values, errors = [], []
    for label in labels:
        points = [difference(table, plain[one][label], scaled[one][label]) for one in sets]
        values.append(float(np.mean([value for value, _ in points])))
        errors.append(float(np.linalg.norm([error for _, error in points])) / len(points))
    effect = mean_effect(np.array(values), np.array(errors), groups_of(table, labels))
    where = "in distribution" if role == "id" else "under shift"
    statistic = f"ECE {where} minus that after temperature scaling"
    return directed(effect, smallest=SMALLEST, statistic=statistic)


FINDINGS = (
    Finding(
        name="temperature_calibrates_in_distribution",
        claim="A temperature fitted in distribution lowers the calibration error in distribution.",
        test=partial(temperature_lowers_error, role="id"),
    ),
    Finding(
        name="temperature_calibrates_under_shift",
        claim="A temperature fitted in distribution lowers the calibration error under natural shift as well.",
        test=partial(temperature_lowers_error, role="shift"),
    ),
)
