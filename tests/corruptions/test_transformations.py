"""Transformations of images, and sets of images under them."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pytest_clip_robust.corruptions import transformations
from pytest_clip_robust.corruptions.transformations import GREY, transform
from pytest_clip_robust.corruptions.transformed_images import TransformedImages, in_order
from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.names import (
    LARGEST_STRENGTHS,
    STRENGTH_STEPS,
    STRENGTH_UNITS,
    TRANSFORMATIONS,
    strength_at,
)

NAMES = st.sampled_from(TRANSFORMATIONS)
KEYS = st.text(max_size=8)
SIZES = st.integers(1, 90)


def photo(seed=0, width=72, height=56):
    """Return an image with smooth areas, edges and a little noise, as photographs have."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (5, 6, 3), np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    pixels = np.asarray(small) + rng.normal(0, 6, (height, width, 3))
    pixels[height // 4 : height // 2, width // 3 : width // 2] = (200, 40, 60)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def distance(one, two):
    """Return the mean absolute difference of two images at the size of the first, in levels of 0 to 255."""
    same = two if two.size == one.size else two.resize(one.size, Image.Resampling.BICUBIC)
    return float(np.abs(np.asarray(one, float) - np.asarray(same, float)).mean())


@given(NAMES, SIZES, SIZES, KEYS)
def test_strength_0_changes_nothing(name, width, height, key):
    image = photo(width=width, height=height)
    assert np.array_equal(np.asarray(transform(image, name, 0, key=key)), np.asarray(image))


@given(NAMES, SIZES, SIZES, st.floats(0, 1), KEYS)
def test_every_size_and_strength_gives_an_rgb_image_and_leaves_the_original(name, width, height, share, key):
    image = photo(width=width, height=height)
    before = np.asarray(image).copy()
    found = transform(image, name, share * LARGEST_STRENGTHS[name], key=key)
    assert found.mode == "RGB"
    assert (found.size == image.size) or name == "crop"
    assert np.array_equal(np.asarray(image), before)


@pytest.mark.parametrize("name", [name for name in TRANSFORMATIONS if name not in {"flip", "hue"}])
def test_stronger_is_further_from_the_original_on_average(name):
    found = []
    for step in (1, 3, 5, 8):
        pairs = [
            (photo(seed), transform(photo(seed), name, strength_at(name, step), key=str(seed))) for seed in range(8)
        ]
        found.append(np.mean([distance(*pair) for pair in pairs]))
    assert found == sorted(found)
    assert found[-1] > 1.5 * found[0]


def test_hue_goes_once_around_the_colours():
    colours = [transform(Image.new("RGB", (2, 2), (255, 0, 0)), "hue", degrees, key="k") for degrees in (60, 120, 180)]
    first, second, third = (one.getpixel((0, 0)) for one in colours)
    assert third[0] < 8
    assert min(third[1:]) > 247, "red becomes cyan"
    assert distance(*colours[:2]) > 50
    assert max(first) == max(second) == 255
    assert transform(Image.new("RGB", (2, 2), GREY), "hue", 90, key="k").getpixel((0, 0)) == GREY


def test_a_flip_is_its_own_inverse():
    image = photo()
    once = transform(image, "flip", 1, key="a")
    assert np.array_equal(np.asarray(once), np.asarray(image)[:, ::-1])
    assert np.array_equal(np.asarray(transform(once, "flip", 1, key="b")), np.asarray(image))


@given(st.integers(0, 255), st.floats(0.01, 2.4))
def test_gamma_follows_its_formula(value, strength):
    image = Image.new("RGB", (2, 2), (value, value, value))
    dark, bright = (transform(image, name, strength, key="").getpixel((0, 0))[0] for name in ("darken", "brighten"))
    assert dark == round(255 * (value / 255) ** 2**strength)
    assert bright == round(255 * (value / 255) ** 2**-strength)
    assert dark <= value <= bright


@given(SIZES, SIZES, st.floats(0.001, 0.64), KEYS)
def test_a_crop_cuts_away_its_share_and_keeps_the_shape(width, height, share, key):
    found = transform(photo(width=width, height=height), "crop", share, key=key)
    for side, kept in zip((width, height), found.size, strict=True):
        assert abs(kept - side * (1 - share) ** 0.5) <= 1


def hidden_box(image):
    rows, columns = np.nonzero((np.asarray(image) == GREY).all(axis=2))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


@given(st.integers(20, 90), st.integers(20, 90), st.integers(1, 7), KEYS)
def test_an_occluder_hides_its_share_and_a_larger_one_contains_it(width, height, step, key):
    image = Image.new("RGB", (width, height))
    small, large = (transform(image, "occluder", strength_at("occluder", one), key=key) for one in (step, step + 1))
    box, wider = hidden_box(small), hidden_box(large)
    hidden = (np.asarray(small) == GREY).all(axis=2)
    assert hidden.sum() == (box[2] - box[0]) * (box[3] - box[1])
    assert abs(hidden.mean() - strength_at("occluder", step)) < 1 / width + 1 / height
    assert all(outer <= inner for outer, inner in zip(wider[:2], box[:2], strict=True))
    assert all(outer >= inner for outer, inner in zip(wider[2:], box[2:], strict=True))


def test_crops_are_inside_of_milder_crops():
    columns = np.broadcast_to(np.arange(90, dtype=np.uint8)[:, None], (60, 90, 3))
    for key in map(str, range(20)):
        found = [
            set(np.asarray(transform(Image.fromarray(columns), "crop", strength_at("crop", step), key=key))[0, :, 0])
            for step in range(1, 9)
        ]
        assert all(inner <= outer for outer, inner in pairwise(found))


def test_a_rotation_turns_about_the_middle_without_a_border():
    image = Image.new("RGB", (61, 61), (200, 30, 30))
    assert np.array_equal(np.asarray(transform(image, "rotation", 30, key="k")), np.asarray(image))
    image.putpixel((30, 5), (0, 255, 0))
    found = np.asarray(transform(image, "rotation", 30, key="k")).astype(int)
    row, column = np.unravel_index(found[..., 1].argmax(), found.shape[:2])
    assert np.hypot(row - 30, column - 30) == pytest.approx(25, abs=1)
    assert abs(np.rad2deg(np.arctan2(column - 30, 30 - row))) == pytest.approx(30, abs=2)


def test_keys_decide_about_directions_and_places():
    for name in ("rotation", "crop", "occluder", "hue"):
        found = {transform(photo(), name, strength_at(name, 4), key=str(i)).tobytes() for i in range(20)}
        assert len(found) >= 2


@pytest.mark.parametrize(
    ("name", "strength", "message"),
    [
        ("blur", 1, "unknown transformation 'blur'; expected one of flip, rotation"),
        ("rotation", 49, "rotation with strength=49; expected 0 to 48"),
        ("crop", -0.1, "crop with strength=-0.1; expected 0 to 0.64"),
        ("jpeg", float("nan"), "jpeg with strength=nan; expected 0 to 96"),
    ],
)
def test_what_does_not_exist_is_a_one_line_error(name, strength, message):
    with pytest.raises(DataError, match=message):
        transform(photo(), name, strength, key="")


def test_every_transformation_has_a_strength_and_a_unit():
    assert set(LARGEST_STRENGTHS) == set(STRENGTH_UNITS) == set(STRENGTH_STEPS) == set(TRANSFORMATIONS)
    assert all(strength_at(name, STRENGTH_STEPS[name]) == LARGEST_STRENGTHS[name] for name in TRANSFORMATIONS)


def images(n=4, size=80):
    files = []
    for i in range(n):
        buffer = io.BytesIO()
        photo(i, size, size).save(buffer, "PNG")
        files.append(buffer.getvalue())
    return ImageSet(
        name="photos",
        read=files.__getitem__,
        samples=[f"{i}.png" for i in range(n)],
        digests=[hashlib.sha256(file).hexdigest() for file in files],
        labels=np.arange(n) % 2,
        class_names=("cat", "dog"),
        class_ids=("cat", "dog"),
        fingerprint="ff" * 32,
    )


REQUESTS = [(2, ()), (0, (("rotation", 3),)), (2, (("jpeg", 2), ("crop", 4))), (3, (("occluder", 8), ("hue", 1)))]


def made(found):
    return [found(Image.open(io.BytesIO(found.sources.read(i))), i).tobytes() for i in range(len(found.sources))]


def test_requests_name_image_and_transformations():
    found = TransformedImages(images(), REQUESTS)
    assert list(found.sources.samples) == ["2.png", "0.png", "2.png", "3.png"]
    assert len(set(found.digests)) == 4
    pixels = made(found)
    assert pixels[0] == photo(2, 80, 80).tobytes()
    key = f"{found.images.digests[0]}|0"
    assert pixels[1] == transform(photo(0, 80, 80), "rotation", 18, key=key).tobytes()


def test_order_of_requests_and_of_transformations_does_not_matter():
    first = TransformedImages(images(), REQUESTS)
    last = TransformedImages(images(), [(place, one[::-1]) for place, one in REQUESTS[::-1]])
    assert list(first.digests) == list(last.digests)[::-1]
    assert made(first) == made(last)[::-1]
    assert in_order((("jpeg", 2), ("crop", 4))) == (("crop", 4), ("jpeg", 2))


def test_image_strength_and_seed_alone_decide():
    few = TransformedImages(images().take(np.array([3, 0])), [(1, (("rotation", 3),))])
    whole = TransformedImages(images(), REQUESTS)
    assert few.digests[0] == whole.digests[1]
    assert made(few)[0] == made(whole)[1]
    other = TransformedImages(images(), REQUESTS, seed=1)
    assert not set(other.digests) & set(whole.digests)
    assert made(other)[3] != made(whole)[3]


def test_large_images_are_resized_first_so_that_a_strength_means_the_same():
    large = images(1, size=400)
    clean, cropped = TransformedImages(large, [(0, ()), (0, (("crop", 8),))]), Image.open(io.BytesIO(large.read(0)))
    assert clean(cropped, 0).size == (224, 224)
    assert clean(cropped, 1).size == (134, 134)


def test_a_transformation_that_occurs_twice_is_an_error():
    with pytest.raises(DataError, match=r"photos: .* contains a transformation twice"):
        TransformedImages(images(), [(0, (("crop", 1), ("crop", 2)))])


SCRIPT = """
import hashlib, importlib.util, io, sys
from PIL import Image
# Not imported as a part of its package, which imports torch: that takes seconds.
spec = importlib.util.spec_from_file_location("transformations", sys.argv[1])
found = importlib.util.module_from_spec(spec)
spec.loader.exec_module(found)
image = Image.open(io.BytesIO(sys.stdin.buffer.read()))
strengths = found.LARGEST_STRENGTHS.items()
print([hashlib.sha256(found.transform(image, *one, key="k").tobytes()).hexdigest() for one in strengths])
"""


def test_another_process_makes_the_same_pixels():
    file = io.BytesIO()
    photo().save(file, "PNG")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, transformations.__file__], input=file.getvalue(), capture_output=True, check=True
    )
    found = [transform(photo(), *one, key="k").tobytes() for one in LARGEST_STRENGTHS.items()]
    assert done.stdout.decode().strip() == str([hashlib.sha256(one).hexdigest() for one in found])
