"""Corruptions: how much accuracy remains under defects of optics, weather, motion, sensor and codec?"""

from __future__ import annotations

import pytest

from pytest_clip_robust.properties import corruptions

pytestmark = [pytest.mark.clip_suite, pytest.mark.clip_role("corruptions", "corrupted")]

of_properties = pytest.mark.parametrize("name", corruptions.PROPERTIES)


def measure(name, answers):
    """Measure a property of severity curves; skip the test if the property needs data that the run does not have."""
    if name in corruptions.OF_CLEAN and answers[0].clean is None:
        pytest.skip("no ID set has the same images uncorrupted: give it with the role 'id'")
    if name == "flips" and answers[0].clean is None and len(answers[0].severities) < 2:
        pytest.skip("a single severity has no neighbour to flip from")
    return corruptions.PROPERTIES[name](answers)


def test_accuracy(model, dataset, corruption, severity, gate):
    found = model.corruptions.at(dataset, corruption, severity)
    gate(corruptions.accuracy(found.decisions, corruption, severity))


@of_properties
def test_kind(model, dataset, corruption, name, gate):
    gate(measure(name, [model.corruptions.answers(dataset, corruption)]))


@of_properties
def test_all_kinds(model, dataset, name, gate):
    gate(measure(name, [model.corruptions.answers(dataset, kind) for kind in model.corruptions.kinds(dataset)]))


@pytest.mark.clip_also("calibration")
def test_calibration(model, dataset, corruption, severity, gate):
    gate(
        corruptions.calibration_error(
            model.corruptions.at(dataset, corruption, severity).confidences, corruption, severity
        )
    )


@pytest.mark.clip_also("ood")
def test_ood_detection(model, dataset, corruption, severity, id_set, ood_groups, gate):
    if not ood_groups:
        pytest.skip("no data set has the role 'ood'")
    inside = model.corruptions.at(dataset, corruption, severity).scores
    outside = [model.ood.scores(inside.score, name, id_set=id_set) for name in ood_groups["all"]]
    gate(corruptions.detection(inside, outside, corruption, severity))
