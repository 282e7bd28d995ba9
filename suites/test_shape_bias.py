"""Shape bias: where shape and texture say different things, which does the model name?"""

from __future__ import annotations

import pytest

from pytest_clip_robust.properties import shape_bias
from pytest_clip_robust.scoring.cues import SIXTEEN

pytestmark = [pytest.mark.clip_suite, pytest.mark.clip_role("cue_conflict")]


@pytest.fixture(params=["direct", "imagenet_mean"])
def answers(model, dataset, request):
    """Give the model's answers, among the set's own classes and among ImageNet's."""
    direct = model.shape_bias.answers(dataset)
    if request.param == "direct":
        return direct
    if not set(direct.class_names) <= set(SIXTEEN):
        pytest.skip(f"{dataset!r} has classes of its own; only the public 16 are made of ImageNet's")
    return model.shape_bias.answers(dataset, decision=request.param)


@pytest.mark.parametrize("name", shape_bias.PROPERTIES)
def test_shape_bias(answers, name, gate):
    gate(shape_bias.PROPERTIES[name](answers))


def test_error_consistency(answers, observers, gate):
    gate(shape_bias.error_consistency(answers, observers))
