from __future__ import annotations

import io
import multiprocessing
import os
import signal
import sys
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from pytest_clip_robust.datasets.images.decoding import decode
from pytest_clip_robust.encoding.pixels import reading as images_module
from pytest_clip_robust.encoding.pixels.reading import read_pixels
from pytest_clip_robust.errors import ConfigError, DataError

WORKERS = [0, 2]


def as_pixels(image):
    return np.asarray(image, np.float32).transpose(2, 0, 1)


def read_all(images, preprocess=as_pixels, *, batch_size=4, workers=0, positions=None):
    positions = range(len(images)) if positions is None else positions
    return list(read_pixels(images, positions, preprocess, batch_size=batch_size, workers=workers))


def refusal(images, preprocess=as_pixels, workers=0):
    with pytest.raises(DataError) as error:
        read_all(images, preprocess, batch_size=2, workers=workers)
    assert "\n" not in str(error.value)
    return str(error.value)


def file_of(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("workers", WORKERS)
def test_pixels_equal_those_of_pillow_and_preprocess_bit_for_bit(photos, workers):
    batches = read_all(photos, workers=workers)
    assert [len(batch.positions) for batch in batches] == [4, 4, 4, 4, 4, 3]
    pixels = np.concatenate([batch.pixels.numpy() for batch in batches])
    for position in range(len(photos)):
        expected = as_pixels(Image.open(io.BytesIO(photos.read(position))).convert("RGB"))
        np.testing.assert_array_equal(pixels[position], expected)


@pytest.mark.parametrize("workers", WORKERS)
def test_only_the_positions_asked_for_are_read_and_in_that_order(photos, workers):
    batches = read_all(photos, positions=[5, 2, 9, 1, 7], workers=workers)
    assert [position for batch in batches for position in batch.positions] == [5, 2, 9, 1, 7]


def test_pinned_memory_reaches_the_pixels(photos, monkeypatch):
    """DataLoader pins tensors in tuples; the GPU is simulated."""
    from torch.utils.data._utils.pin_memory import pin_memory

    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self, *_: pinned.append(self) or self)
    batch = read_all(photos)[0]
    again = pin_memory(batch)
    assert pinned == [batch.pixels]
    assert again.positions == batch.positions


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1"])
def test_every_mode_becomes_rgb_as_pillow_converts_it(png, mode):
    content = png(0, mode=mode)
    with warnings.catch_warnings(action="ignore"):
        expected = Image.open(io.BytesIO(content)).convert("RGB")
    np.testing.assert_array_equal(np.asarray(decode(content)), np.asarray(expected))


def test_exif_rotation_is_not_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 90 degrees"
    assert decode(file_of(Image.new("RGB", (20, 10)), "JPEG", exif=exif)).size == (20, 10)


def test_a_border_is_cut_from_every_side(png):
    whole, inner = decode(png(0)), decode(png(0), crop_border=2)
    np.testing.assert_array_equal(np.asarray(inner), np.asarray(whole)[2:-2, 2:-2])


def test_an_image_that_is_all_border_is_refused(image_set, png):
    images = image_set([png(0, size=(4, 9))], crop_border=2)
    assert refusal(images) == "photos: image '0.png': a border of 2 pixels leaves nothing of its 4x9 pixels"


@pytest.mark.parametrize("workers", WORKERS)
def test_bytes_that_are_not_an_image_are_refused_with_set_and_sample(image_set, png, workers):
    images = image_set([png(0), png(1), b"not an image", png(2), png(3)])
    assert refusal(images, workers=workers) == (
        "photos: image '2.png': it cannot be decoded (Pillow does not know its format): replace or remove it"
    )


@pytest.mark.parametrize("workers", WORKERS)
def test_a_truncated_image_is_refused(image_set, png, workers):
    line = refusal(image_set([png(0), png(1), png(2)[:-400]]), workers=workers)
    assert line.startswith("photos: image '2.png': it cannot be decoded (")


def test_control_characters_of_a_file_name_are_escaped(image_set):
    images = image_set([b"not an image"])
    images.samples[0] = "\x1b[2Jevil\n.png"
    assert refusal(images).startswith("photos: image '\\\\x1b[2Jevil\\\\n.png': ")


@pytest.mark.parametrize("factor", [1.5, 3])
def test_a_decompression_bomb_is_refused(image_set, png, monkeypatch, factor):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", int(20 * 24 / factor))
    assert refusal(image_set([png(0)])).endswith(
        f"it has more than Pillow's limit of {int(480 / factor)} pixels: shrink it"
    )


def test_other_warnings_of_pillow_are_suppressed():
    palette = Image.new("P", (4, 4))
    palette.putpalette([0, 0, 0] * 256)
    content = file_of(palette, transparency=bytes(range(256)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode(content).mode == "RGB"


def test_a_missing_file_is_refused(image_set, png, tmp_path):
    images = image_set([png(0)])
    gone = tmp_path / "gone.png"

    def read(_):
        return gone.read_bytes()

    object.__setattr__(images, "read", read)
    assert refusal(images) == "photos: image '0.png': it cannot be read (No such file or directory)"


def test_a_file_that_changed_since_it_was_digested_is_refused(image_set, png):
    files = [png(0), png(1)]
    images = image_set(files)
    images.digests[1] = "00" * 32
    assert refusal(images) == "photos: image '1.png': its bytes changed since the set was loaded: run again"


def test_an_error_of_the_reader_keeps_its_line(image_set, png):
    images = image_set([png(0)])

    def read(_):
        raise DataError("row 0 has no image")

    object.__setattr__(images, "read", read)
    assert refusal(images) == "photos: image '0.png': row 0 has no image"


def test_images_of_different_shapes_after_preprocess_are_refused(image_set, png):
    line = refusal(image_set([png(0), png(1, size=(30, 20))]))
    assert (
        line == "photos: preprocess returned shapes [(3, 20, 30), (3, 24, 20)]: expected one (C, H, W) for all images"
    )


@pytest.mark.parametrize("workers", WORKERS)
def test_a_bug_in_preprocess_keeps_its_traceback(photos, workers):
    def preprocess(_):
        return 1 / 0

    with pytest.raises(ZeroDivisionError):
        read_all(photos, preprocess, workers=workers)


def test_a_killed_worker_is_an_error_of_one_line(photos):
    parent = os.getpid()

    def preprocess(image):
        assert os.getpid() != parent
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(ConfigError) as error:
        read_all(photos, preprocess, workers=2)
    assert str(error.value) == (
        "photos: a worker process that decodes images was killed, possibly because (shared) memory ran out: "
        "try --clip-workers 0 or a smaller --clip-batch-size"
    )


def fail_as_a_bug_does(image):
    raise KeyError("oops")


@pytest.mark.parametrize(("preprocess", "error"), [(as_pixels, DataError), (fail_as_a_bug_does, KeyError)])
def test_no_worker_outlives_an_error(image_set, png, preprocess, error):
    files = [png(seed) for seed in range(40)]
    files[1] = b"not an image"
    with pytest.raises(error) as kept:  # with its traceback
        read_all(image_set(files[::-1]), preprocess, workers=2)
    assert multiprocessing.active_children() == []
    del kept


def test_more_workers_than_cores_do_not_warn(photos):
    assert len(read_all(photos, batch_size=1, workers=(os.cpu_count() or 1) + 2)) == len(photos)


def test_one_batch_needs_no_worker(photos):
    parent = os.getpid()

    def preprocess(image):
        assert os.getpid() == parent
        return as_pixels(image)

    assert len(read_all(photos, preprocess, batch_size=64, workers=2)) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="fork is used on Linux only")
def test_on_linux_workers_accept_a_reader_that_cannot_be_pickled(photos):
    assert len(read_all(photos, lambda image: as_pixels(image), workers=2)) == 6  # noqa: PLW0108 - a lambda on purpose


def test_with_spawn_a_reader_that_cannot_be_pickled_decodes_in_process(photos, monkeypatch):
    monkeypatch.setattr(images_module.sys, "platform", "darwin")
    notices = []
    batches = list(
        read_pixels(photos, range(8), lambda image: as_pixels(image), batch_size=4, workers=2, notice=notices.append)  # noqa: PLW0108
    )
    assert len(batches) == 2
    (line,) = notices
    assert line.startswith("images are decoded without worker processes: preprocess cannot be pickled")
