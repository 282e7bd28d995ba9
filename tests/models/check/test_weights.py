from __future__ import annotations

import json

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from training_runs import TINY

from pytest_clip_robust import showroom
from pytest_clip_robust.core.checks import Status
from pytest_clip_robust.models.check.weights import check_weights, edge_ratio, norms_at_start


def built(settings=TINY):
    torch.manual_seed(0)
    return open_clip.CLIP(**json.loads(json.dumps(settings)))


def trained(model):
    """Return parameters with the signs of training: norms that moved, and a direction that matters in each matrix."""
    generator = torch.Generator().manual_seed(1)
    found = {}
    for name, tensor in model.state_dict().items():
        noise = torch.randn(tensor.shape, generator=generator) * 0.02
        found[name] = tensor + noise
        if tensor.ndim == 2:
            left, right = (torch.randn(side, generator=generator) for side in tensor.shape)
            found[name] += (
                4 * tensor.std() / tensor.shape[0] ** 0.25 * torch.outer(left, right) / tensor.shape[1] ** 0.25
            )
    return found


@given(st.integers(16, 90), st.integers(16, 90), st.floats(1e-3, 1e3), st.integers(0, 2**31))
def test_a_random_matrix_has_no_structure(rows, columns, scale, seed):
    noise = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * scale
    assert edge_ratio(noise) < 1
    uniform = torch.rand(rows, columns, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    assert edge_ratio(uniform) < 1


@given(st.integers(32, 90), st.integers(32, 90), st.integers(0, 2**31))
def test_a_matrix_with_one_strong_direction_has(rows, columns, seed):
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(rows, columns, generator=generator)
    left, right = torch.randn(rows, generator=generator), torch.randn(columns, generator=generator)
    strong = 4 * (rows**0.5 + columns**0.5) * torch.outer(left / left.norm(), right / right.norm())
    assert edge_ratio(noise + strong) > 1


def test_the_ratio_is_that_of_a_singular_value_decomposition():
    matrix = torch.randn(60, 40, generator=torch.Generator().manual_seed(0)) + 1
    values = np.linalg.svd(matrix.numpy(), compute_uv=False)
    edge = float(matrix.square().mean().sqrt()) * (60**0.5 + 40**0.5) * (1 + 3 * 40 ** (-2 / 3))
    assert edge_ratio(matrix) == pytest.approx(values[0] / edge, rel=1e-4)


@pytest.mark.parametrize("matrix", [torch.ones(8, 100), torch.zeros(40, 40), torch.full((40, 40), torch.nan)])
def test_a_matrix_that_says_nothing_is_left_out(matrix):
    assert edge_ratio(matrix) is None


def test_norm_layers_are_found_by_their_two_parameters():
    found = norms_at_start(
        {
            "a.ln.weight": torch.ones(3),
            "a.ln.bias": torch.zeros(3),
            "b.ln.weight": torch.ones(3),
            "b.ln.bias": torch.tensor([0.0, 0.0, 1e-7]),
            "last.weight": torch.zeros(3),
            "last.bias": torch.zeros(3),
            "fc.weight": torch.ones(3, 3),
            "fc.bias": torch.zeros(3),
        }
    )
    assert found == {"a.ln": True, "b.ln": False, "last": True}


def test_an_untrained_model_fails():
    check = check_weights(built().state_dict())
    assert check.status == Status.FAILED
    assert check.measured.startswith("11 of 11 norm layers at their initial values; 0 of ")
    assert check.fix.startswith("the model is randomly initialised")


def test_a_random_model_whose_norms_moved_fails():
    parameters = {name: one + 0.02 * torch.randn_like(one) for name, one in built().state_dict().items()}
    check = check_weights(parameters)
    assert check.status == Status.FAILED
    assert check.measured.startswith("0 of 11 norm layers")
    assert check.fix.startswith("no matrix differs from random numbers")


def test_a_trained_model_passes():
    assert check_weights(trained(built())).status == Status.OK


def test_a_partly_loaded_model_fails_and_names_the_block():
    parameters = trained(built())
    fresh = {name: one for name, one in built().state_dict().items() if name.startswith("transformer.resblocks.1.")}
    check = check_weights(parameters | fresh)
    assert check.status == Status.FAILED
    assert check.measured.startswith("2 of 11 norm layers")
    assert "1 blocks are randomly initialised, first transformer.resblocks.1" in check.fix


def test_one_norm_layer_at_its_initial_values_is_a_warning():
    parameters = trained(built())
    parameters |= {"ln_final.weight": torch.ones(64), "ln_final.bias": torch.zeros(64)}
    check = check_weights(parameters)
    assert check.status == Status.WARNING
    assert check.fix.startswith("ln_final was never trained")


@pytest.mark.parametrize("name", showroom.model_names())
def test_the_models_of_the_showroom_pass(name):
    """They include a text tower that is so shortly trained that most of its matrices look random."""
    parameters = load_file(showroom.model_folder(name) / "open_clip_model.safetensors")
    assert check_weights(parameters).status == Status.OK


@pytest.mark.parametrize("architecture", ["RN50", "ViT-B-16-SigLIP"])
def test_untrained_models_of_other_architectures_fail(architecture):
    model = open_clip.create_model(architecture, load_weights=False, pretrained_text=False)
    assert check_weights(model.state_dict()).status == Status.FAILED


def test_an_encoder_without_torch_is_not_judged():
    assert check_weights({}).status == Status.NOT_APPLICABLE
    assert check_weights({"w": torch.ones(3, 3)}).status == Status.NOT_APPLICABLE
