"""Batch normalisation is folded into convolutions where that changes nothing but rounding, and nowhere else."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.layers import StdConv2d
from timm.layers.conv2d_same import Conv2dSame
from torch import nn

from pytest_clip_robust.models.convolutions import PadsInside, speed_up_convolutions
from pytest_clip_robust.models.loading import load_model, load_unchecked
from pytest_clip_robust.models.spec import ModelSpec

PIXELS = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def with_statistics(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give every batch normalisation statistics and weights as of a trained one."""
    random = torch.Generator().manual_seed(seed)
    for one in model.modules():
        if isinstance(one, nn.BatchNorm2d) and one.track_running_stats:
            for tensor, low, high in (
                (one.running_mean, -1, 1), (one.running_var, 0.2, 3), (one.weight, -2, 2), (one.bias, -1, 1),
            ):  # fmt: skip
                tensor.data.uniform_(low, high, generator=random)
    return model.eval()


def speed_up(model: nn.Module) -> tuple[int, torch.Tensor, torch.Tensor]:
    """Return the number of folded norms, and the output before and after."""
    with torch.inference_mode():
        before = model(PIXELS)
        folded = speed_up_convolutions(model, lambda: model(PIXELS), precision="fp32")
        return folded, before, model(PIXELS)


def norms(model: nn.Module) -> int:
    return sum(isinstance(one, nn.BatchNorm2d) for one in model.modules())


@pytest.mark.parametrize("name", ["test_efficientnet", "test_resnet", "resnet10t", "tf_efficientnet_lite0"])
def test_towers_give_the_same_features_with_fewer_layers(name):
    model = with_statistics(timm.create_model(name, num_classes=0))
    count = norms(model)
    folded, before, after = speed_up(model)
    assert folded == count > 0
    assert norms(model) == 0
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4 * float(before.abs().max()))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.sampled_from([1, 3]), st.booleans())
def test_any_convolution_with_any_statistics(seed, width, side, bias):
    torch.manual_seed(seed)
    layers = nn.Sequential(nn.Conv2d(3, width, side, bias=bias), nn.BatchNorm2d(width, eps=1e-3), nn.ReLU())
    folded, before, after = speed_up(with_statistics(layers, seed))
    assert folded == 1
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    sides=st.tuples(st.integers(1, 15), st.integers(1, 15)),
    kernel=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    stride=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    groups=st.sampled_from([1, 2]),
    bias=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_padding_inside_equals_padding_the_input(sides, kernel, stride, groups, bias, seed):
    torch.manual_seed(seed)
    outside = Conv2dSame(4, 6, kernel, stride=stride, groups=groups, bias=bias).eval()
    pixels = torch.randn(2, 4, *sides)
    with torch.inference_mode():
        torch.testing.assert_close(PadsInside(outside)(pixels), outside(pixels), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("dilation", "inside"), [(1, 1), (2, 0)])
def test_folded_convolutions_pad_inside_unless_they_are_dilated(dilation, inside):
    same = Conv2dSame(3, 4, 3, stride=2, dilation=dilation, bias=False)
    model = with_statistics(nn.Sequential(same, nn.BatchNorm2d(4)))
    folded, before, after = speed_up(model)
    assert folded == 1
    assert sum(isinstance(one, PadsInside) for one in model.modules()) == inside
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)


class Branch(nn.Module):
    """A convolution whose output is used twice: by the norm, and beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        features = self.conv(pixels)
        return self.norm(features) + features


class Twice(Branch):
    """A convolution that is called twice, once without the norm."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(pixels)) + self.conv(pixels.flip(-1))


OTHERS = {
    "output used elsewhere": Branch(),
    "convolution called twice": Twice(),
    "norm before the convolution": nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)),
    "something between": nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)),
    "standardised weights": nn.Sequential(StdConv2d(3, 4, 3), nn.BatchNorm2d(4)),
    "parametrised weights": nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)), nn.BatchNorm2d(4)),
    "no statistics": nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)),
    "other norm": nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4)),
}


@pytest.mark.parametrize("case", OTHERS)
def test_what_cannot_be_folded_is_left_as_it_is(case):
    model = with_statistics(copy.deepcopy(OTHERS[case]))
    count, names = norms(model), [name for name, _ in model.named_modules()]
    folded, before, after = speed_up(model)
    assert folded == 0
    assert (norms(model), [name for name, _ in model.named_modules()]) == (count, names)
    torch.testing.assert_close(after, before)


def test_outputs_that_are_not_numbers_change_nothing():
    model = with_statistics(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))
    with torch.no_grad():
        model[0].weight[0, 0, 0, 0] = float("nan")
    assert speed_up(model)[0] == 0
    assert norms(model) == 1


def test_a_model_that_fails_is_left_to_its_checks():
    model = with_statistics(nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)))
    assert speed_up_convolutions(model, lambda: model(PIXELS), precision="fp32") == 0
    assert not any(one._forward_hooks or one._forward_pre_hooks for one in model.modules())


def test_half_precision_is_left_as_it_is():
    model = with_statistics(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))).bfloat16()
    assert speed_up_convolutions(model, lambda: model(PIXELS.bfloat16()), precision="bf16") == 0


@pytest.mark.parametrize("name", ["showroom-clip", "lmm:showroom-lmm"])
def test_models_of_a_run_are_folded_and_keep_their_card(name):
    loaded = load_model(ModelSpec.parse(name), device="cpu", precision="fp32")
    assert norms(module_of(loaded)) == 0
    assert loaded.card.parameters > 4_000_000


@pytest.mark.parametrize("name", ["showroom-clip", "lmm:showroom-lmm"])
def test_models_that_are_checked_keep_their_own_layers(name):
    loaded = load_unchecked(ModelSpec.parse(name), device="cpu", precision="fp32", folded=False)
    assert norms(module_of(loaded)) > 40


def module_of(loaded):
    return loaded.encoder._clip if loaded.spec.name == "showroom-clip" else loaded.encoder._passes._model
