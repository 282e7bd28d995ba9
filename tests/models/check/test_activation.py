from __future__ import annotations

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from fitted_models import fitted
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import permutation_test
from transformers_folders import built

from pytest_clip_robust.core.checks import Status
from pytest_clip_robust.models.check.activation import (
    agreement,
    check_activation,
    how_to_state,
    own_activation,
    reaches_images,
    sign_flip,
    swapped,
    vote,
)
from pytest_clip_robust.models.check.encoding import Features
from pytest_clip_robust.models.check.run import batch_features
from pytest_clip_robust.models.loading import load_unchecked
from pytest_clip_robust.models.spec import ModelSpec

MINE = ModelSpec.parse("py:mine:load")


def holding(module):
    return SimpleNamespace(module=module, scale=20.0)


def checked(spec, reference=None):
    loaded = load_unchecked(spec, device="cpu", precision="fp32", folded=False)
    encoder = loaded.encoder
    features = batch_features(encoder)
    return check_activation(spec, encoder, features, lambda: batch_features(encoder), reference), features


@pytest.mark.parametrize("quick", [True, False])
def test_the_activation_that_a_model_was_fitted_with_passes(quick, save_fitted):
    spec = ModelSpec.parse(f"local-dir:{save_fitted(quick=quick, stated=quick)}")
    check, _ = checked(spec)
    name = "QuickGELU" if quick else "GELU"
    assert check.status == Status.OK, check
    assert check.expected == f"{name} fits better"
    assert check.measured.startswith(f"{name} 16 of 16, sharpness 0.")


@pytest.mark.parametrize("quick", [True, False])
def test_the_other_activation_fails_and_says_what_to_write(quick, save_fitted):
    folder = save_fitted(quick=quick, stated=not quick)
    check, _ = checked(ModelSpec.parse(f"local-dir:{folder}"))
    name, value = ("QuickGELU", "true") if quick else ("GELU", "false")
    assert check.status == Status.FAILED
    assert f"{name} 16 of 16" in check.measured
    assert check.fix == (
        f'{name} fits this model better: set "quick_gelu": {value} in model_cfg of its open_clip_config.json'
    )
    weights = folder / "open_clip_model.safetensors"
    check, _ = checked(ModelSpec.parse(f"{folder}/small-clip.json@{weights}?quick_gelu={str(not quick).lower()}"))
    assert check.fix.endswith(f"write {folder}/small-clip.json@{weights}?quick_gelu={value}")


def test_a_reference_with_the_other_activation_is_nearer_with_it(save_fitted):
    spec = ModelSpec.parse(f"local-dir:{save_fitted(quick=True, stated=False)}")
    right = ModelSpec.parse(f"local-dir:{spec.name}")
    encoder = load_unchecked(right, device="cpu", precision="fp32", folded=False).encoder
    with swapped(encoder):
        reference = batch_features(encoder)
    check, _ = checked(spec, reference)
    assert check.status == Status.FAILED
    assert "nearness to the reference" in check.measured
    assert check.measured.endswith("and 1.0000")


def test_a_model_that_cannot_tell_is_not_judged():
    """The activations of a small random model hardly differ, and it guesses with both."""
    from training_runs import TINY

    torch.manual_seed(0)
    import json

    import open_clip

    model = open_clip.CLIP(**json.loads(json.dumps(TINY))).eval()
    rows = np.random.default_rng(0).normal(size=(16, 8)).astype(np.float32)
    features = Features(rows, np.roll(rows, 1, axis=0))
    check = check_activation(MINE, holding(model), features, lambda: features, None)
    assert check.status == Status.NOT_APPLICABLE
    assert check.measured.endswith("cannot be told apart")


def test_a_difference_that_is_too_small_to_matter_is_no_vote():
    tiny = np.full(32, 0.001)
    assert vote(tiny, at_least=0.01) == 0
    assert vote(tiny, at_least=0.0001) == 1
    assert vote(-tiny, at_least=0.0001) == -1
    assert vote(np.array([1.0, -1.0] * 16) + 0.1, at_least=0.01) == 0


def test_activations_are_restored_even_after_an_error():
    model = fitted(quick=True)
    before = [type(one) for one in model.modules()]
    with pytest.raises(ZeroDivisionError), swapped(holding(model)):
        1 / (own_activation(holding(model)) is True)
    assert [type(one) for one in model.modules()] == before
    assert own_activation(holding(model)) is True


def test_a_swapped_model_equals_one_that_was_built_with_the_other_activation():
    quick, plain = fitted(quick=True), fitted(quick=False)
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    other = copy.deepcopy(plain)
    other.load_state_dict(quick.state_dict())
    with torch.no_grad(), swapped(holding(quick)):
        torch.testing.assert_close(quick.encode_image(pixels), other.encode_image(pixels))
    assert own_activation(holding(plain)) is False


def test_pictures_are_encoded_again_only_if_an_activation_of_their_tower_was_swapped():
    assert reaches_images(holding(fitted(quick=True)))
    assert reaches_images(holding(built("CLIP")[0]))
    assert reaches_images(holding(torch.nn.Sequential(torch.nn.GELU())))
    showroom = load_unchecked(ModelSpec.parse("showroom-clip"), device="cpu", precision="fp32", folded=False)
    assert not reaches_images(showroom.encoder)


def test_the_clip_of_transformers_is_swapped_too():
    model, _, _ = built("CLIP")
    assert own_activation(holding(model)) is True
    pixels = {"pixel_values": torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))}
    with torch.no_grad():
        before = model.vision_model(**pixels).last_hidden_state
        with swapped(holding(model)):
            assert own_activation(holding(model)) is False
            assert not torch.equal(model.vision_model(**pixels).last_hidden_state, before)
        assert torch.equal(model.vision_model(**pixels).last_hidden_state, before)


@pytest.mark.parametrize("module", [timm.create_model("resnet18"), torch.nn.Sequential(torch.nn.GELU("tanh"))])
def test_models_with_other_activations_are_not_judged(module):
    features = Features(np.ones((2, 2), np.float32), None)
    check = check_activation(MINE, holding(module), features, lambda: features, None)
    assert check.status == Status.NOT_APPLICABLE


def test_a_published_tag_is_taken_at_its_word():
    features = Features(np.ones((2, 2), np.float32), np.ones((2, 2), np.float32))
    spec = ModelSpec.parse("ViT-B-32@openai")
    check = check_activation(spec, holding(fitted(quick=True)), features, lambda: features, None)
    assert (check.status, check.measured) == (Status.OK, "QuickGELU")


def test_a_classifier_is_not_judged():
    features = Features(np.ones((2, 2), np.float32), None)
    check = check_activation(MINE, holding(fitted(quick=True)), features, lambda: features, None)
    assert check.status == Status.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("ViT-B-32@a/b.pt", "write ViT-B-32@a/b.pt?quick_gelu=true"),
        ("ViT-B-32@a/b.pt?weights=ema&quick_gelu=false", "write ViT-B-32@a/b.pt?weights=ema&quick_gelu=true"),
        ("hf:me/mine", 'set "hidden_act": "quick_gelu" in vision_config and text_config of its config.json'),
        ("py:mine:load", "build it with QuickGELU"),
    ],
)
def test_the_fix_is_one_that_the_kind_of_model_knows(spec, line):
    assert how_to_state(ModelSpec.parse(spec), quick=True) == line


@given(st.integers(4, 9), st.floats(0, 2), st.integers(0, 1000))
def test_the_sign_flip_test_agrees_with_all_permutations(count, shift, seed):
    differences = np.random.default_rng(seed).normal(size=count) + shift
    exact = permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert sign_flip(differences)[1] == pytest.approx(exact, abs=0.04)


def test_agreement_of_the_same_space_is_the_cosine_and_of_another_a_correlation():
    rows = np.random.default_rng(0).normal(size=(16, 8)).astype(np.float32)
    own = Features(rows, rows)
    np.testing.assert_allclose(agreement(own, Features(-rows, rows)), [-1] * 16 + [1] * 16, atol=1e-6)
    wider = Features(np.pad(rows, ((0, 0), (0, 3))), np.pad(rows, ((0, 0), (0, 3))))
    np.testing.assert_allclose(agreement(own, wider), 1, atol=1e-6)
    other = Features(np.random.default_rng(1).normal(size=(16, 11)).astype(np.float32), None)
    assert abs(agreement(own._replace(texts=None), other).mean()) < 0.5
