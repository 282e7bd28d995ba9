"""Thumbnails of samples: found by their names in the sets of a profile, and never a reason to fail."""

from __future__ import annotations

import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from pytest_clip_robust.errors import DataError
from pytest_clip_robust.evaluation.thumbnails import thumbnails


def picture(colour, size=(200, 100)):
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


FILES = {"row 0: red.png": picture("red"), "row 1: b#2.png": picture("blue"), "row 2: broken.png": b"not an image"}


def image_set(files=FILES):
    return SimpleNamespace(samples=list(files), read=list(files.values()).__getitem__, crop_border=0)


class FakeLibrary:
    def __init__(self):
        self.asked = []

    def images(self, name):
        self.asked.append(name)
        if name == "missing":
            raise DataError("no folder")
        return image_set()

    def captions(self, name):
        self.asked.append(f"captions of {name}")
        return SimpleNamespace(images=image_set())

    contrasts = questions = captions


def found(*wanted, **roles):
    library = FakeLibrary()
    profile = SimpleNamespace(roles=roles or {"id": ("photos",)})
    return thumbnails(wanted, library, profile, side=96), library


def test_a_thumbnail_is_a_small_image_with_the_content_of_its_sample():
    pictures, _ = found(("photos", "row 0: red.png"))
    small = pictures["photos", "row 0: red.png"]
    assert (small.width, small.height) == (96, 48)
    image = Image.open(io.BytesIO(small.content))
    assert (image.format, image.size) == ("WEBP", (96, 48))
    assert np.abs(np.asarray(image.convert("RGB"), int) - (255, 0, 0)).max() < 12
    assert len(small.content) < 3000


@pytest.mark.parametrize("name", ["row 1: b#2.png", "row 1: b#2.png#add_object0", "row 1: b#2.png#0: a caption #1"])
def test_a_caption_or_question_has_the_image_that_it_is_about(name):
    pictures, _ = found(("photos", name))
    image = Image.open(io.BytesIO(pictures["photos", name].content)).convert("RGB")
    assert np.asarray(image)[0, 0].argmax() == 2


def test_what_cannot_be_read_has_no_picture_and_the_others_have():
    wanted = [("photos", "row 2: broken.png"), ("photos", "row 9: unknown.png"), ("photos", "row 0: red.png")]
    assert list(found(*wanted)[0]) == [("photos", "row 0: red.png")]
    assert found(("missing", "row 0: red.png"), id=("missing",))[0] == {}
    assert found(("all", "row 0: red.png"))[0] == {}


def test_a_set_is_asked_for_once_and_by_its_role():
    wanted = [("photos", "row 0: red.png"), ("photos", "row 1: b#2.png")]
    assert found(*wanted)[1].asked == ["photos"]
    pictures, library = found(*wanted, captions=("photos",))
    assert library.asked == ["captions of photos"]
    assert len(pictures) == 2
