from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from pytest_clip_robust.corruptions.canvas import to_canvas
from pytest_clip_robust.corruptions.sizes import canvas_size
from pytest_clip_robust.errors import DataError


@pytest.mark.parametrize(
    ("size", "expected"),
    [((500, 375), (299, 224)), ((224, 500), (224, 500)), ((128, 90), (128, 90)), ((448, 448), (224, 224))],
)
def test_the_shorter_side_is_at_most_224(size, expected):
    assert canvas_size(*size) == expected
    assert to_canvas(Image.new("RGB", size)).rgb.shape == (1, 3, *expected[::-1])


def test_a_small_image_stays_as_it_is():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    rgb = to_canvas(Image.fromarray(pixels)).rgb
    np.testing.assert_array_equal(rgb[0].permute(1, 2, 0).numpy(), pixels)


def test_depth_is_sampled_and_never_averaged():
    depth = np.random.default_rng(0).choice([1.0, 9.0], (600, 800)).astype(np.float32)
    found = to_canvas(Image.new("RGB", (400, 300)), depth=depth).depth
    assert found.shape == (1, 224, 299)
    assert set(found.unique().tolist()) == {1.0, 9.0}
    edge = np.where(np.arange(800) < 400, 1.0, 9.0).astype(np.float32) * np.ones((600, 1), np.float32)
    assert (to_canvas(Image.new("RGB", (400, 300)), depth=edge).depth[0, 0] == 1).sum().item() in {149, 150}


def test_intrinsics_are_scaled_with_the_image():
    camera = np.array([[525, 0, 320], [0, 525, 240], [0, 0, 1]], np.float32)
    found = to_canvas(Image.new("RGB", (640, 480)), intrinsics=camera).intrinsics[0]
    np.testing.assert_allclose(found[0], [525 * 299 / 640, 0, 299 / 2])
    np.testing.assert_allclose(found[1], [0, 525 * 224 / 480, 112])
    np.testing.assert_allclose(found[2], [0, 0, 1])


def test_depth_of_another_view_is_refused():
    with pytest.raises(DataError, match="its depth is 300x400, the image 400x300: they do not show the same view"):
        to_canvas(Image.new("RGB", (400, 300)), depth=np.ones((400, 300), np.float32))
