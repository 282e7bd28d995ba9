from __future__ import annotations

import pytest

STEPPING = '''
import numpy as np
import torch
from colour_clip import ColourClip
from pytest_clip_robust.models.protocols import PreprocessSteps

def resize(image):
    return np.asarray(image.resize((4, 4)))

def normalise(pixels):
    return pixels.permute(0, 3, 1, 2).float() / 255

class SteppingClip(ColourClip):
    preprocess_steps = PreprocessSteps(identity="4 x 4", resize=resize, normalise=normalise)

    def preprocess(self, image):
        return normalise(torch.tensor(resize(image))[None])[0]

class NextClip(SteppingClip):
    identity = "the next checkpoint"
    preprocess_steps = PreprocessSteps(identity="4 x 4", resize=None, normalise=normalise)

def load():
    return SteppingClip()

def load_next():
    """Resizes two images at most, those that a model is tried with: others must come from the cache."""
    clip, calls = NextClip(), []

    def resize_few(image):
        calls.append(image)
        assert len(calls) <= 2, "an image was decoded again"
        return resize(image)

    clip.preprocess_steps = PreprocessSteps(identity="4 x 4", resize=resize_few, normalise=normalise)
    return clip
'''


@pytest.fixture
def stepping(colours):
    colours.makepyfile(stepping_clip=STEPPING)
    return colours


def run(world, factory, *options):
    return world.runpytest(f"--model=py:stepping_clip:{factory}", "--clip-profile=profile.toml", *options)


def kept(world):
    return list((world.path / "cache" / "pixels").rglob("*.safetensors"))


def test_the_next_checkpoint_decodes_nothing(stepping):
    run(stepping, "load").assert_outcomes(passed=1)
    assert len(kept(stepping)) == 1
    run(stepping, "load_next").assert_outcomes(passed=1)


@pytest.mark.parametrize("size", ["off", "0"])
def test_the_cache_can_be_switched_off(stepping, size):
    run(stepping, "load", f"--clip-pixel-cache={size}").assert_outcomes(passed=1)
    assert kept(stepping) == []
    run(stepping, "load_next").assert_outcomes(failed=1)


def test_a_full_cache_is_said_below_the_table_and_fails_nothing(stepping):
    stepping.makeini("[pytest]\naddopts = --clip-cache cache --clip-device cpu\nclip_pixel_cache = 1KB\n")
    result = run(stepping, "load")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*pixel cache *: no more images are cached; see --clip-pixel-cache*"])
