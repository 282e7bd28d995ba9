from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pytest_clip_robust.encoding.dense.resize import STRIDE, resize_for
from pytest_clip_robust.errors import DataError

sides = st.integers(20, 900)


@given(sides, sides, st.integers(64, 600), st.data())
def test_a_resize_covers_its_box_and_nothing_else(width, height, size, data):
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    right, bottom = data.draw(st.integers(left + 1, width)), data.draw(st.integers(top + 1, height))

    resize = resize_for(width, height, size=size, box=(left, top, right, bottom))

    down, across = resize.grid_pixels()
    assert (len(down), len(across)) == resize.grid == (resize.height // STRIDE, resize.width // STRIDE)
    assert top <= down.min() <= down.max() < bottom
    assert left <= across.min() <= across.max() < right
    corners = resize.to_resized(np.array([[left, top], [right, bottom]]))
    assert corners == pytest.approx(np.array([[0, 0], [resize.width, resize.height]]))
    assert max(resize.width, resize.height) == pytest.approx(size, abs=8)


def test_the_shape_of_the_picture_is_kept():
    assert [(one.width, one.height) for one in (resize_for(640, 480, size=512), resize_for(480, 640, size=512))] == [
        (512, 384),
        (384, 512),
    ]


def test_grid_points_are_in_the_pixels_that_the_model_sees_there():
    ramp = np.repeat(np.arange(64, dtype=np.uint8)[None] * 4, 48, axis=0)
    picture = Image.fromarray(np.stack([ramp] * 3, axis=-1))
    resize = resize_for(64, 48, size=256, box=(8, 4, 56, 40))

    seen = resize.apply(picture)[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE, 0].astype(float)
    down, across = resize.grid_pixels()

    assert np.abs(seen - ramp[down[:, None], across]).max() <= 4  # a pixel of the picture at most


def test_a_box_outside_of_the_picture_is_refused():
    with pytest.raises(DataError, match=r"box \(0, 0, 65, 48\) is not inside the picture of 64x48"):
        resize_for(64, 48, size=128, box=(0, 0, 65, 48))


def test_a_narrow_box_is_still_two_cells_wide():
    assert resize_for(1000, 10, size=512).height == 32
