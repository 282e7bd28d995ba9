"""OOD detection: do the model's scores separate images of its classes from images of other classes?"""

from __future__ import annotations

import pytest

from pytest_clip_robust.properties import ood

pytestmark = pytest.mark.clip_suite


@pytest.mark.clip_role("ood")
@pytest.mark.parametrize("metric", ood.METRICS)
def test_detection(model, dataset, id_set, ood_score, metric, gate):
    inside = model.ood.scores(ood_score, id_set, id_set=id_set)
    gate(ood.measure(inside, model.ood.scores(ood_score, dataset, id_set=id_set), metric))


@pytest.mark.clip_role("ood")
@pytest.mark.parametrize("metric", ["auroc", "fpr95_id"])
def test_class_mean(model, dataset, id_set, ood_score, metric, gate):
    outside = model.ood.scores(ood_score, dataset, id_set=id_set)
    if outside.classes is None:
        pytest.skip(f"{dataset!r} has no classes to take a mean over")
    gate(ood.class_mean(model.ood.scores(ood_score, id_set, id_set=id_set), outside, metric))


@pytest.mark.parametrize("metric", ["auroc", "fpr95_id"])
def test_group_mean(model, ood_groups, id_set, ood_group, ood_score, metric, gate):
    inside = model.ood.scores(ood_score, id_set, id_set=id_set)
    outside = [model.ood.scores(ood_score, name, id_set=id_set) for name in ood_groups[ood_group]]
    gate(ood.group_mean([ood.measure(inside, one, metric) for one in outside], ood_group))
