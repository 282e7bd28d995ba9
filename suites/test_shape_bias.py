"""Shape bias: does the model classify images by their shape or by their texture, where the two disagree?"""

from __future__ import annotations

import pytest

from pytest_clip_robust.properties import shape_bias

pytestmark = [pytest.mark.clip_suite, pytest.mark.clip_role("cue_conflict")]


@pytest.fixture(params=["direct", "imagenet_mean"])
def answers(model, dataset, request):
    """Return the model's decisions, among the set's own classes and among those of ImageNet."""
    if request.param != "direct" and not model.shape_bias.of_sixteen(dataset):
        pytest.skip(f"{dataset!r} has its own classes; only the public 16 are groups of ImageNet's classes")
    return model.shape_bias.answers(dataset, decision=request.param)


@pytest.mark.parametrize("name", shape_bias.PROPERTIES)
def test_shape_bias(answers, name, gate):
    gate(shape_bias.PROPERTIES[name](answers))


def test_error_consistency(answers, observers, gate):
    gate(shape_bias.error_consistency(answers, observers))
