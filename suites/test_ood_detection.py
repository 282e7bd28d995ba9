"""OOD detection: do the model's scores separate images of its classes from images of other classes?"""

from __future__ import annotations

import pytest

from pytest_clip_robust.names import OOD_SCORES
from pytest_clip_robust.properties import ood

pytestmark = pytest.mark.clip_suite

of_scores = pytest.mark.parametrize("score", OOD_SCORES, indirect=True)
of_metrics = pytest.mark.parametrize("metric", ood.METRICS)


@pytest.fixture
def score(request, clip_profile):
    """Return the name of a score; skip the test if the profile excludes it."""
    if clip_profile.ood_scores and request.param not in clip_profile.ood_scores:
        pytest.skip(f"{request.param!r} is not in the profile's ood.scores")
    return request.param


@pytest.mark.clip_role("ood")
@of_metrics
@of_scores
def test_detection(model, dataset, id_set, score, metric, gate):
    inside = model.ood.scores(score, id_set, id_set=id_set)
    gate(ood.measure(inside, model.ood.scores(score, dataset, id_set=id_set), metric))


@pytest.mark.clip_role("ood")
@pytest.mark.parametrize("metric", ["auroc", "fpr95_id"])
@of_scores
def test_class_mean(model, dataset, id_set, score, metric, gate):
    outside = model.ood.scores(score, dataset, id_set=id_set)
    if outside.classes is None:
        pytest.skip(f"{dataset!r} has no classes to take a mean over")
    gate(ood.class_mean(model.ood.scores(score, id_set, id_set=id_set), outside, metric))


@pytest.mark.parametrize("group", ["near", "far", "all"])
@pytest.mark.parametrize("metric", ["auroc", "fpr95_id"])
@of_scores
def test_group_mean(model, ood_groups, id_set, group, score, metric, gate):
    if len(ood_groups.get(group, ())) < 2:
        pytest.skip(f"fewer than two OOD sets in the group {group!r} have no mean: mark sets with group = {group!r}")
    inside = model.ood.scores(score, id_set, id_set=id_set)
    outside = [model.ood.scores(score, name, id_set=id_set) for name in ood_groups[group]]
    gate(ood.group_mean([ood.measure(inside, one, metric) for one in outside], group))
