from __future__ import annotations

from types import SimpleNamespace

import pytest

from pytest_clip_robust.core.checks import Status
from pytest_clip_robust.models.check.scale import check_scale


@pytest.mark.parametrize(
    ("scale", "bias", "status", "fix"),
    [
        (100.0, 0.0, Status.OK, ""),
        (24.09, 0.0, Status.OK, ""),
        (117.3, -12.9, Status.OK, ""),
        (4.6052, 0.0, Status.OK, ""),
        (117.3, 0.0, Status.WARNING, "other scales"),
        (1 / 0.07, 0.0, Status.WARNING, "before training"),
        (10.0, -10.0, Status.WARNING, "before training"),
        (10.0, 0.0, Status.OK, ""),
        (50.0, -40.0, Status.WARNING, "larger bias"),
        (117.3, 12.9, Status.FAILED, "check its sign"),
        (117.3, -500.0, Status.FAILED, "such as -12.9"),
        (2.7e43, 0.0, Status.FAILED, "logit_scale=100 was stored instead of its logarithm 4.605"),
        (0.0, 0.0, Status.FAILED, "as the logarithm"),
        (float("nan"), 0.0, Status.FAILED, "as the logarithm"),
    ],
)
def test_scale_and_bias_are_those_of_trained_models(scale, bias, status, fix):
    check = check_scale(SimpleNamespace(scale=scale, bias=bias))
    assert check.status == status, check
    assert fix in check.fix
    assert bool(fix) == bool(check.fix)
    assert check.measured.startswith("scale ")


def test_a_classifier_has_no_scale():
    assert check_scale(SimpleNamespace()).status == Status.NOT_APPLICABLE
