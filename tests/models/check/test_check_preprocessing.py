from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import open_clip
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.transform import PreprocessCfg, image_transform_v2
from training_runs import TINY
from transformers_folders import built

from pytest_clip_robust.core.checks import Status
from pytest_clip_robust.models.check.preprocessing import (
    HALF,
    OPENAI,
    check_normalising,
    check_resizing,
    family_of,
    measure,
)
from pytest_clip_robust.models.spec import ModelSpec

SIGLIP = [{"mean": HALF[0], "std": HALF[1], "interpolation": "bicubic", "resize_mode": "squash"}]


def encoder(preprocess):
    return SimpleNamespace(preprocess=preprocess)


def open_clip_encoder(**changes):
    given = PreprocessCfg(**{"size": 64, "mean": OPENAI[0], "std": OPENAI[1], **changes})
    visual = SimpleNamespace(preprocess_cfg=vars(given))
    module = open_clip.model.nn.Module()
    module.visual = visual
    return SimpleNamespace(preprocess=image_transform_v2(given, is_train=False), module=module)


triples = st.tuples(*[st.floats(0.1, 0.9)] * 3)


@settings(max_examples=25)
@given(triples, triples, st.sampled_from(["shortest", "squash", "longest"]), st.sampled_from([32, 48, 64]))
def test_the_settings_of_a_transform_are_measured(mean, std, mode, size):
    found = measure(open_clip_encoder(mean=mean, std=std, resize_mode=mode, size=size))
    np.testing.assert_allclose(found.mean, mean, atol=2e-4)
    np.testing.assert_allclose(found.std, std, atol=2e-4)
    assert (found.size, found.mode, found.swapped) == ((size, size), mode, False)


def test_a_model_with_the_values_of_its_family_passes():
    own = open_clip_encoder(mean=HALF[0], std=HALF[1], resize_mode="squash")
    measured = measure(own)
    assert check_normalising(measured, SIGLIP).status == Status.OK
    check = check_resizing(measured, SIGLIP, own)
    assert (check.status, check.measured) == (Status.OK, "64 x 64, squashed, bicubic")


def test_a_siglip_with_the_mean_of_openai_is_a_warning():
    check = check_normalising(measure(open_clip_encoder()), SIGLIP)
    assert check.status == Status.WARNING
    assert check.measured == "mean 0.481 0.458 0.408, deviation 0.269 0.261 0.276 (as OpenAI's)"
    assert check.fix == "its family was trained with mean 0.500 and deviation 0.500"


def test_another_way_to_fit_pictures_is_a_warning():
    own = open_clip_encoder(resize_mode="shortest")
    check = check_resizing(measure(own), SIGLIP, own)
    assert check.status == Status.WARNING
    assert check.fix == "the pictures of its family's training were squashed: set resize_mode"


def test_another_interpolation_is_a_warning():
    own = open_clip_encoder(resize_mode="squash", interpolation="bilinear")
    check = check_resizing(measure(own), SIGLIP, own)
    assert (check.status, check.fix) == (Status.WARNING, "its family was trained with bicubic interpolation")


def plain(image, *, scale=255.0, order=(0, 1, 2)):
    pixels = np.asarray(image.resize((16, 16)), dtype=np.float32).transpose(2, 0, 1)[list(order)]
    return (pixels / scale - 0.5) / 0.5


def test_channels_in_reverse_are_a_warning():
    check = check_normalising(measure(encoder(lambda image: plain(image, order=(2, 1, 0)))), [])
    assert check.status == Status.WARNING
    assert "convert pictures to RGB" in check.fix


def test_pixels_up_to_255_fail():
    check = check_normalising(measure(encoder(lambda image: plain(image, scale=1.0))), [])
    assert check.status == Status.FAILED
    assert check.fix == "divide pixels by 255 before the mean is subtracted"


def test_values_of_no_known_family_are_a_warning():
    check = check_normalising(measure(encoder(lambda image: plain(image) + 0.3)), [])
    assert check.status == Status.WARNING
    assert "(unusual)" in check.measured


def test_known_values_pass_where_the_family_is_not_known():
    assert check_normalising(measure(encoder(plain)), []).status == Status.OK


@pytest.mark.parametrize(
    "preprocess",
    [
        lambda image: np.zeros((1, 9, 20), np.float32),  # patches
        lambda image: np.zeros((3, 8, 8), np.float32),  # constant
        lambda image: np.sqrt(plain(image) + 1),  # not affine
        lambda image: 1 - plain(image),  # inverted
    ],
)
def test_what_is_no_picture_is_not_judged(preprocess):
    measured = measure(encoder(preprocess))
    assert measured is None
    assert check_normalising(measured, SIGLIP).status == Status.NOT_APPLICABLE
    assert check_resizing(measured, SIGLIP, encoder(preprocess)).status == Status.NOT_APPLICABLE


def family(text, module=None):
    return family_of(ModelSpec.parse(text), SimpleNamespace(module=module) if module is not None else object())


def test_the_family_of_an_architecture_is_what_its_tags_were_trained_with():
    assert family("ViT-B-16-SigLIP@x/y.pt") == SIGLIP
    assert [one["mean"] for one in family("RN50@x/y.pt")] == [OPENAI[0]]


def test_the_family_of_a_folder_is_what_its_config_resembles(tmp_path):
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": TINY}))
    assert OPENAI[0] in [one["mean"] for one in family(f"local-dir:{tmp_path}")]
    (tmp_path / "open_clip_config.json").write_text("{")
    assert family(f"local-dir:{tmp_path}") == []


def test_the_showroom_resembles_no_family():
    assert family("showroom-clip") == []


@pytest.mark.parametrize(("name", "mean"), [("CLIP", OPENAI[0]), ("SigLIP", HALF[0])])
def test_the_family_of_a_model_of_transformers_is_its_type(name, mean):
    model, _, processor = built(name)
    (expected,) = family("hf:x/y", model)
    assert expected["mean"] == mean
    own = encoder(lambda image: processor(images=image, return_tensors="pt").pixel_values[0])
    assert check_normalising(measure(own), [expected]).status == Status.OK
    assert check_resizing(measure(own), [expected], own).status == Status.OK


def test_an_encoder_of_ones_own_has_no_family():
    assert family("py:mine:load") == []
