from __future__ import annotations

import numpy as np
import pytest

from pytest_clip_robust.core.checks import Status
from pytest_clip_robust.models.check.published import NAFLEX, check_published, compare, drawn
from pytest_clip_robust.models.spec import ModelSpec


class Oracle:
    """An encoder whose logits are the published ones: it knows a picture by its shape, and a text by its place."""

    scale, bias = 100.0, -15.0

    def __init__(self, error=0.0):
        self.cosines = (np.array(NAFLEX.logits) + error - self.bias) / self.scale

    def preprocess(self, image):
        assert image.getpixel((image.width // 2, image.height // 2)) == (0, 0, 255)
        return np.full((3, 2, 2), NAFLEX.sizes.index(image.size), np.float32)

    def encode_image(self, pixels):
        return np.eye(4, dtype=np.float32)[[int(one[0, 0, 0]) for one in pixels]] * 3

    def encode_text(self, texts):
        rows = np.array([self.cosines[NAFLEX.texts.index(one)] for one in texts])
        return np.concatenate([rows, np.sqrt(1 - (rows**2).sum(axis=1, keepdims=True))], axis=1)


def test_the_published_logits_pass():
    check = compare(NAFLEX, Oracle(), "fp32")
    assert check.status == Status.OK
    assert check.measured.startswith("21 logits differ by at most ")


def test_other_logits_fail():
    check = compare(NAFLEX, Oracle(error=0.3), "fp32")
    assert (check.status, check.measured) == (Status.FAILED, "21 logits differ by at most 0.3")
    assert "not the published weights" in check.fix
    assert compare(NAFLEX, Oracle(error=0.3), "bf16").status == Status.OK


@pytest.mark.parametrize(("width", "height", "radius", "border"), [(224, 224, 98, 11), (1024, 224, 98, 51)])
def test_the_picture_is_a_blue_circle_with_a_green_border(width, height, radius, border):
    image = drawn(width, height)
    x, y = width // 2, height // 2
    assert image.getpixel((0, 0)) == (255, 0, 0)
    assert image.getpixel((x, y)) == (0, 0, 255)
    row = [image.getpixel((i, y)) for i in range(width)]
    assert row.count((0, 128, 0)) == 2 * border
    assert len(row) - row.count((255, 0, 0)) == 2 * radius + 1


def test_only_specs_of_published_values_are_compared():
    naflex = "hf:google/siglip2-base-patch16-naflex"
    assert check_published(ModelSpec.parse(naflex), Oracle(), "fp32").status == Status.OK
    for spec in (f"{naflex}?revision=old", "hf:google/siglip2-base-patch16-224", "ViT-B-32@openai"):
        assert check_published(ModelSpec.parse(spec), Oracle(), "fp32").status == Status.NOT_APPLICABLE
