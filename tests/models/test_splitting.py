from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torchvision import transforms

from pytest_clip_robust.models.sanity import normalises_alike
from pytest_clip_robust.models.splitting import split

CONFIGS = [
    PreprocessCfg(size=size, resize_mode=mode, interpolation=interpolation)
    for size, mode, interpolation in [
        (32, "shortest", "bicubic"),
        ((32, 48), "shortest", "bicubic"),
        (32, "longest", "bilinear"),
        (24, "squash", "bicubic"),
    ]
]


def transform(config):
    return image_transform_v2(config, is_train=False)


@pytest.fixture(scope="module")
def splits():
    return [(transform(config), split(transform(config))) for config in CONFIGS]


@given(st.integers(0, len(CONFIGS) - 1), st.integers(9, 90), st.integers(9, 90), st.integers(0, 2**31))
@settings(deadline=None, max_examples=60)
def test_both_steps_give_the_bits_of_the_whole(splits, config, width, height, seed):
    whole, steps = splits[config]
    image = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))
    resized = torch.tensor(steps.resize(image))
    assert resized.dtype == torch.uint8
    assert torch.equal(steps.normalise(resized[None])[0], whole(image))


def test_a_batch_is_normalised_like_its_images_and_is_in_channels_last_memory(splits):
    _, steps = splits[0]
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (5, 8, 9, 3), np.uint8))
    batch = steps.normalise(pixels)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(batch, torch.cat([steps.normalise(one[None]) for one in pixels]))
    assert normalises_alike(steps, "cpu")


def test_the_identity_depends_on_resizing_and_not_on_normalising(splits):
    identities = [steps.identity for _, steps in splits]
    assert len(set(identities)) == len(CONFIGS)
    other = split(transform(PreprocessCfg(size=32, mean=(0.5,) * 3, std=(0.5,) * 3)))
    assert other.identity == identities[0]
    padded = split(transform(PreprocessCfg(size=32, resize_mode="longest", interpolation="bilinear", fill_color=9)))
    assert padded.identity not in identities


@pytest.mark.parametrize(
    "steps",
    [
        [transforms.RandomCrop(8)],
        [transforms.Resize(8), lambda image: image],
        [transforms.Resize(8), transforms.ColorJitter(0.5)],
        [transforms.Resize((8, 8)), transforms.Grayscale()],
    ],
)
def test_a_transform_with_an_unknown_step_is_not_split(steps):
    tail = [transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)]
    assert split(transforms.Compose([transforms.Resize((8, 8)), *tail])) is not None
    assert split(transforms.Compose([*steps, *tail])) is None


@pytest.mark.parametrize(
    "whole",
    [
        lambda image: image,
        transforms.Compose([transforms.Resize(8), transforms.ToTensor()]),
        transforms.Compose([transforms.Resize(8), transforms.Normalize(0.5, 0.5), transforms.ToTensor()]),
        transforms.Compose([transforms.Resize(8), transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))]),
    ],
)
def test_a_transform_of_another_form_is_not_split(whole):
    assert split(whole) is None


def test_normalising_by_another_formula_is_not_split():
    """A subclass, or arithmetic that rounds differently, gives different bits."""

    class Sideways(transforms.Normalize):
        def forward(self, tensor):
            return tensor * (1 / 0.3) - 0.5 / 0.3

    tail = [transforms.ToTensor(), Sideways((0.5,) * 3, (0.3,) * 3)]
    assert split(transforms.Compose([transforms.Resize((8, 8)), *tail])) is None
