"""Corruptions of any image: the same form, the same again, within their bounds, and never the image itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pytest_clip_robust.corruptions.registry import corrupt
from pytest_clip_robust.names import CORRUPTION_KINDS, SEVERITIES

IMAGES = hnp.arrays(np.uint8, st.tuples(st.just(3), st.integers(16, 40), st.integers(16, 40)))
DEPTHS = st.sampled_from([1e-3, 1.0, 5e3])


def depth_of(shape, scale):
    """Return the depth of a slope with a step, far away or near, whatever its unit."""
    y, x = np.mgrid[: shape[0], : shape[1]] / max(shape)
    return torch.from_numpy(((1 + y + 3 * (x > 0.5)) * scale).astype(np.float32))


@settings(max_examples=3)
@given(IMAGES, DEPTHS, st.integers(0, 2**63 - 1), st.sampled_from(SEVERITIES))
@pytest.mark.parametrize("kind", CORRUPTION_KINDS)
def test_any_image_keeps_its_form_and_the_same_seed_gives_the_same_image(kind, image, scale, seed, severity):
    rgb, depth = torch.from_numpy(image)[None], depth_of(image.shape[1:], scale)[None]
    before = rgb.clone()
    found = [corrupt(rgb, kind, severity, seeds=[seed], depth=depth) for _ in range(2)]
    assert found[0].shape == rgb.shape
    assert found[0].dtype == torch.uint8
    assert torch.equal(found[0], found[1])
    assert torch.equal(rgb, before)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("kind", CORRUPTION_KINDS)
def test_no_severity_leaves_an_image_of_many_colours_as_it_is(kind, severity):
    rng = np.random.default_rng(1)
    rgb = torch.from_numpy(rng.integers(0, 256, (1, 3, 32, 32), dtype=np.uint8))
    found = corrupt(rgb, kind, severity, seeds=[3], depth=depth_of((32, 32), 1.0)[None])
    assert (found != rgb).float().mean() > 0.001


@pytest.mark.parametrize("value", [0, 255])
@pytest.mark.parametrize("kind", CORRUPTION_KINDS)
def test_black_and_white_images_do_not_wrap_around(kind, value):
    """Arithmetic beyond 0 and 255 would turn a black pixel white: an image of one value stays near it on average."""
    rgb = torch.full((1, 3, 32, 32), value, dtype=torch.uint8)
    found = corrupt(rgb, kind, 1, seeds=[0], depth=depth_of((32, 32), 1.0)[None]).float()
    if kind not in {"flash", "fog_3d", "low_light", "bit_error"}:  # these add or take away light, or break the stream
        assert (found - value).abs().mean() < 64
