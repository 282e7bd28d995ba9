"""Thumbnails of samples: found by their names in the sets of a profile, and never a reason to fail."""

from __future__ import annotations

import io
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from pytest_clip_robust.corruptions.images import CorruptedImages
from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.images.corrupted_folders import corrupted_entry
from pytest_clip_robust.datasets.images.loading import load_image_set
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.evaluation.thumbnails import QUALITY, thumbnails


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

    def views(self, name):
        self.asked.append(f"views of {name}")
        boxes = None if name == "whole" else np.array([[0, 0, 50, 100]] * len(FILES))
        return SimpleNamespace(images=image_set(), boxes=boxes)


def found(*wanted, **roles):
    library = FakeLibrary()
    profile = SimpleNamespace(roles=roles or {"id": ("photos",)}, corruptions=SimpleNamespace(seed=0))
    pictures = thumbnails([((*one, "")[:3], 96) for one in wanted], library, profile)
    return {key[:2] if not key[2] else key: picture for key, picture in pictures.items()}, library


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


def test_a_view_is_its_box():
    sample = "row 0: red.png"
    for name, size in (("boxed", (48, 96)), ("whole", (96, 48))):
        pictures, library = found((name, sample), views=(name,))
        assert (pictures[name, sample].width, pictures[name, sample].height) == size
        assert library.asked == [f"views of {name}"]


def corrupted(images, *wanted, seed=0, **roles):
    library = SimpleNamespace(images=lambda _: images, cache=None, contrasts=None, captions=None, questions=None)
    settings = SimpleNamespace(seed=seed)
    profile = SimpleNamespace(roles=roles or {"corruptions": ("photos",)}, corruptions=settings, data={})
    return thumbnails([(one, 200) for one in wanted], library, profile)


def test_an_image_under_a_corruption_is_the_one_that_the_model_gets(image_set):
    files = [picture("red"), picture("green")]
    images = replace(image_set(["a.png", "b.png"], [0, 0], ["cat"]), read=files.__getitem__)
    shots = [("photos", "b.png", corruption) for corruption in ("", "iso_noise/1", "iso_noise/5")]
    pictures = corrupted(images, *shots, seed=3)
    assert list(pictures) == shots
    made = CorruptedImages(images, "iso_noise", (1, 5), seed=3)
    for shot, place in zip(shots[1:], (1, 3), strict=True):
        expected = io.BytesIO()
        made(Image.open(io.BytesIO(files[1])).convert("RGB"), place).save(expected, "WEBP", quality=QUALITY)
        assert pictures[shot].content == expected.getvalue()


@pytest.mark.parametrize("corruption", ["fog_3d/1", "unknown/1", "iso_noise/9"])
def test_a_corruption_that_cannot_be_made_has_no_picture(image_set, corruption):
    images = replace(image_set(["a.png"], [0], ["cat"]), read=[picture("red")].__getitem__)
    shots = [("photos", "a.png", corruption), ("photos", "a.png", "")]
    assert list(corrupted(images, *shots)) == shots[1:]


def test_an_image_that_was_corrupted_before_is_read(tmp_path):
    folder = tmp_path / "fog" / "3" / "cat"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(picture("blue"))
    library = SimpleNamespace(cache=tmp_path / "cache", contrasts=None, captions=None, questions=None)
    entry = DataEntry(name="photos", location=str(tmp_path))
    profile = SimpleNamespace(roles={"corrupted": ("photos",)}, data={"photos": entry})
    (sample,) = load_image_set(corrupted_entry(entry, "fog", 3), cache_dir=library.cache).samples
    wanted = [(("photos", sample, corruption), 96) for corruption in ("fog/3", "fog/4", "")]
    (found,) = thumbnails(wanted, library, profile).items()
    assert found[0] == ("photos", sample, "fog/3")
    assert np.asarray(Image.open(io.BytesIO(found[1].content)).convert("RGB"))[0, 0].argmax() == 2
