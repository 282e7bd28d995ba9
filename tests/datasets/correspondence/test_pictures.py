from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from pytest_clip_robust.datasets.correspondence.pictures import AdaptedReader, picture_size
from pytest_clip_robust.datasets.sources.rows import FileReader
from pytest_clip_robust.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def reader_of(*contents):
    return contents.__getitem__


def pixels_of(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def test_what_needs_no_change_is_handed_out_byte_for_byte():
    content = encoded(Image.fromarray(PIXELS), "JPEG")
    assert AdaptedReader(reader_of(content), upright=True, sizes=[(8, 6)])(0) == content


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_its_exif_data_say(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(Image.fromarray(PIXELS), "PNG", exif=exif)
    read = AdaptedReader(reader_of(content), upright=True)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
    assert np.array_equal(pixels_of(read(0)), expected)
    assert picture_size(read, 0) == expected.shape[1::-1]
    assert np.array_equal(pixels_of(AdaptedReader(reader_of(content))(0)), PIXELS)


def test_transparent_pixels_become_white_and_others_mix_with_it():
    layers = np.zeros((1, 3, 4), np.uint8)
    layers[0, 1] = [255, 0, 0, 255]
    layers[0, 2] = [0, 0, 0, 51]
    read = AdaptedReader(reader_of(encoded(Image.fromarray(layers))))
    assert pixels_of(read(0)).tolist() == [[[255, 255, 255], [255, 0, 0], [204, 204, 204]]]


def test_a_picture_is_brought_to_the_size_asked_for_by_averaging():
    content = encoded(Image.fromarray(np.repeat(np.repeat(PIXELS, 2, axis=0), 2, axis=1)))
    read = AdaptedReader(reader_of(content), sizes=[(4, 3)])
    assert picture_size(read, 0) == (4, 3)
    assert pixels_of(read(0)).shape == (3, 4, 3)
    assert abs(pixels_of(read(0)).mean() - PIXELS.mean()) < 3


def test_sizes_are_read_from_files_and_from_arrays(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded(Image.fromarray(PIXELS)))
    np.save(tmp_path / "b.npy", np.zeros((6, 8)))
    read = FileReader([str(tmp_path / "a.png"), str(tmp_path / "b.npy")])
    assert [picture_size(read, i) for i in (0, 1)] == [(8, 6), (8, 6)]
    assert picture_size(reader_of((tmp_path / "b.npy").read_bytes()), 0) == (8, 6)


def test_what_is_no_picture_is_an_error_in_one_line(tmp_path):
    with pytest.raises(DataError, match=r"^it cannot be decoded \(cannot identify image file the file\): replace or"):
        AdaptedReader(reader_of(b"nothing"))(0)
    (tmp_path / "a.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match="it cannot be decoded"):
        picture_size(FileReader([str(tmp_path / "a.png")]), 0)
