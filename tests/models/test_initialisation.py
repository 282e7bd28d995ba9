from __future__ import annotations

import open_clip
import pytest
import timm
import torch
from torch.nn import init

from pytest_clip_robust.models.initialisation import NoRandomNumbers

FILLS = {
    "normal_ of a tensor": lambda tensor: tensor.normal_(),
    "uniform_ of a tensor": lambda tensor: tensor.uniform_(),
    "normal_": init.normal_,
    "uniform_": init.uniform_,
    "kaiming_uniform_": init.kaiming_uniform_,
    "kaiming_normal_": init.kaiming_normal_,
    "xavier_uniform_": init.xavier_uniform_,
    "xavier_normal_": init.xavier_normal_,
}


@pytest.mark.parametrize("fill", FILLS.values(), ids=FILLS)
def test_a_tensor_keeps_its_values_where_random_numbers_are_left_out(fill):
    tensor = torch.zeros(3, 2)
    with NoRandomNumbers():
        assert fill(tensor) is tensor
    assert not tensor.any()
    fill(tensor)
    assert tensor.all()


def test_a_tensor_can_be_given_by_its_name():
    tensor = torch.zeros(3)
    with NoRandomNumbers():
        init.normal_(tensor=tensor, std=2.0)
    assert not tensor.any()


def test_constants_and_new_random_tensors_are_made_as_ever():
    tensor = torch.empty(3)
    with NoRandomNumbers():
        init.ones_(tensor)
        assert torch.randn(3).all()
    assert tensor.eq(1).all()


BUILDERS = {
    "ViT of open_clip": lambda: open_clip.create_model("ViT-S-32-alt", load_weights=False),
    "ResNet of open_clip": lambda: open_clip.create_model("RN50", load_weights=False),
    "timm": lambda: timm.create_model("resnet10t"),
}


@pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
def test_a_model_that_was_built_without_random_numbers_is_the_other_once_it_is_filled(build):
    wanted = build()
    with NoRandomNumbers():
        model = build()
    model.load_state_dict(wanted.state_dict(), strict=True)
    unsaved = [dict(one.named_buffers()) for one in (wanted, model)]
    assert unsaved[0].keys() == unsaved[1].keys()
    for name, buffer in unsaved[0].items():
        torch.testing.assert_close(buffer, unsaved[1][name], rtol=0, atol=0, equal_nan=True)
