"""Notes with words, and sets of images with them."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pytest_clip_robust.corruptions.notes import paint_note, printable_letters
from pytest_clip_robust.corruptions.painted_images import PaintedImages
from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.errors import DataError

SHARES = st.floats(0, 1)


def grey(width=128, height=96):
    return Image.new("RGB", (width, height), (120, 130, 140))


def changed(image, painted):
    """Return the box of the pixels that differ: left, top, right, bottom."""
    rows, columns = np.nonzero((np.asarray(image) != np.asarray(painted)).any(axis=2))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


@given(st.integers(64, 200), st.integers(64, 200), SHARES, SHARES, st.sampled_from(["cat", "great white shark", "i"]))
def test_a_note_is_in_the_middle_square_and_a_blank_one_of_the_same_size_at_the_same_place(width, height, u, v, word):
    image = grey(width, height)
    written, blank = (paint_note(image, word, (u, v), blank=blank) for blank in (False, True))
    box = changed(image, written)
    assert box == changed(image, blank)
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    assert box[0] >= left
    assert box[1] >= top
    assert box[2] <= left + side
    assert box[3] <= top + side
    assert box[2] - box[0] <= 0.93 * side
    assert image.getpixel((0, 0)) == (120, 130, 140), "the image itself is not changed"


def test_the_word_is_black_on_white_and_the_blank_note_has_no_letters():
    written, blank = (np.asarray(paint_note(grey(), "cat", (0.5, 0.5), blank=blank)) for blank in (False, True))
    left, top, right, bottom = changed(grey(), paint_note(grey(), "cat", (0.5, 0.5)))
    inside = (slice(top + 1, bottom - 1), slice(left + 1, right - 1))
    assert (blank[inside] == 255).all()
    assert 0.03 < (written[inside] < 128).all(axis=2).mean() < 0.5


def test_the_place_goes_from_the_upper_left_to_the_lower_right():
    first, last = (changed(grey(96, 96), paint_note(grey(96, 96), "cat", place)) for place in ((0, 0), (1, 1)))
    assert first[:2] == (0, 0)
    assert last[2:] == (96, 96)


def test_letters_grow_with_the_image_and_shrink_for_long_words():
    small, large = (changed(grey(n, n), paint_note(grey(n, n), "cat", (0, 0))) for n in (100, 400))
    assert (large[3] - large[1]) / (small[3] - small[1]) == pytest.approx(4, rel=0.1)
    long = changed(grey(400, 400), paint_note(grey(400, 400), "a word of very many letters, and then more", (0, 0)))
    assert long[3] < large[3]


@pytest.mark.parametrize(
    ("size", "word", "message"),
    [
        (
            (63, 200),
            "cat",
            "its 63x200 pixels are too few to paint a word on; expected at least 64 on the shorter side",
        ),
        ((64, 64), "m" * 60, r"the class name 'm+' is too long to paint on 64 pixels: shorten it"),
        ((64, 64), "犬", "class name '犬' cannot be painted: the font has no letter '犬'; give names in Latin letters"),
        ((64, 64), "  ", "class name '  ' cannot be painted: it is empty"),
    ],
)
def test_what_cannot_be_painted_is_a_one_line_error(size, word, message):
    with pytest.raises(DataError, match=message):
        paint_note(grey(*size), word, (0, 0))


def test_accents_are_left_out():
    assert printable_letters("crème\n brûlée") == "creme brulee"


def images(n=8, names=("cat", "dog", "bird"), labels=None, size=80):
    files = []
    for i in range(n):
        buffer = io.BytesIO()
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (size, size, 3), np.uint8)).save(buffer, "PNG")
        files.append(buffer.getvalue())
    return ImageSet(
        name="photos",
        read=files.__getitem__,
        samples=[f"{i}.png" for i in range(n)],
        digests=[hashlib.sha256(file).hexdigest() for file in files],
        labels=np.arange(n) % len(names) if labels is None else labels,
        class_names=names,
        class_ids=names,
        fingerprint="ff" * 32,
    )


@given(st.integers(0, 50))
def test_the_word_is_never_the_true_class(seed):
    found = images()
    painted = PaintedImages(found, seed)
    assert (painted.words != found.labels).all()
    assert ((painted.words >= 0) & (painted.words < 3)).all()


def test_every_other_class_is_equally_likely():
    found = images(n=2, names=tuple(f"c{i}" for i in range(5)), labels=np.array([2, 2]), size=8)
    words = np.concatenate([PaintedImages(found, seed).words for seed in range(1000)])
    counts = np.bincount(words, minlength=5)
    assert counts[2] == 0
    assert np.abs(counts[[0, 1, 3, 4]] - 500).max() < 100


def test_the_first_half_has_words_and_the_second_half_blank_notes():
    found = images()
    painted = PaintedImages(found)
    assert len(painted.sources) == len(painted.digests) == len(set(painted.digests)) == 16
    image = Image.open(io.BytesIO(found.read(3)))
    written, blank = painted(image, 3), painted(image, 3 + 8)
    assert changed(image, written) == changed(image, blank)
    assert written != blank


def test_image_and_seed_alone_decide_what_is_painted():
    found = images()
    part = found.take(np.array([5, 2]))
    whole, few = PaintedImages(found), PaintedImages(part)
    image = Image.open(io.BytesIO(found.read(5)))
    assert few.digests[0] == whole.digests[5]
    assert few.digests[2] == whole.digests[8 + 5]
    assert np.array_equal(np.asarray(few(image, 0)), np.asarray(whole(image, 5)))
    assert not set(PaintedImages(found, 1).digests) & set(whole.digests)


def test_other_words_are_other_images():
    names = PaintedImages(images()).digests, PaintedImages(images(names=("cat", "dog", "fish"))).digests
    assert names[0] != names[1]


def test_names_that_cannot_be_painted_are_found_before_anything_is_encoded():
    with pytest.raises(DataError, match="photos: class name '犬' cannot be painted"):
        PaintedImages(images(names=("cat", "犬")))
    with pytest.raises(DataError, match="photos: a single class has no other one"):
        PaintedImages(images(names=("cat",)))
