"""Images of more than 8 bits keep their brightness or are refused."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from pytest_clip_robust.datasets.images.decoding import LARGEST_ASPECT, decode
from pytest_clip_robust.errors import DataError

RAMP = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)


def encoded(array, name, **options):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, name, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["PNG", "TIFF", "PGM", "JPEG2000"])
def test_16_bit_grey_is_scaled_from_its_whole_range(name):
    # Pillow 10.2 reads PGM of 16 bits, but does not write it.
    content = b"P5 8 8 65535\n" + RAMP.astype(">u2").tobytes() if name == "PGM" else encoded(RAMP, name)
    pixels = np.asarray(decode(content))
    assert np.abs(pixels - RAMP[..., None] / 257).max() <= 0.5


def test_16_bit_colours_and_grey_with_alpha_are_scaled():
    for colour_type, channels in ((2, 3), (4, 2)):
        values = np.random.default_rng(0).integers(0, 65536, (4, 4, channels)).astype(">u2")
        rows = b"".join(b"\0" + row.tobytes() for row in values)
        chunks = [
            (b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, colour_type, 0, 0, 0)),
            (b"IDAT", zlib.compress(rows)),
            (b"IEND", b""),
        ]
        content = b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )
        grey_or_rgb = values if channels == 3 else values[..., :1]
        assert np.abs(np.asarray(decode(content)) - grey_or_rgb / 257).max() < 1


def test_a_12_bit_pgm_is_scaled_from_its_own_range():
    content = b"P5 8 8 4095\n" + np.linspace(0, 4095, 64).astype(">u2").tobytes()
    assert np.asarray(decode(content)).max() == 255


def test_a_tiff_whose_zero_is_white_is_inverted():
    pixels = np.asarray(decode(encoded(RAMP, "TIFF", tiffinfo={262: 0})))
    assert (pixels[0, 0] == 255).all()
    assert (pixels[-1, -1] == 0).all()


def test_a_black_16_bit_image_is_black():
    assert np.asarray(decode(encoded(np.zeros((4, 4), np.uint16), "PNG"))).max() == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            encoded(RAMP.astype(np.float32) / 65535, "TIFF"),
            "its pixels are of mode F, whose range the file does not state",
        ),
        (encoded(RAMP.astype(np.int32), "TIFF"), "its pixels are of mode I, whose range the file does not state"),
        (encoded(RAMP // 257, "PNG"), "its 16-bit values are at most 255 of 65535: convert it to 8 bits"),
        (encoded(RAMP // 16, "TIFF"), "its 16-bit values are at most 4095 of 65535"),
        (
            encoded(np.zeros((20000, 1, 3), np.uint8), "PNG"),
            "one side of its 1x20000 pixels is over 200 times the other",
        ),
        (encoded(np.zeros((2, 900, 3), np.uint8), "PNG"), "one side of its 900x2 pixels"),
    ],
)
def test_what_cannot_be_scaled_or_resized_is_refused(content, message):
    with pytest.raises(DataError, match=message):
        decode(content)


def test_a_border_can_make_an_image_too_long():
    content = encoded(np.zeros((6, 900, 3), np.uint8), "PNG")
    assert decode(content).size == (900, 6)
    with pytest.raises(DataError, match="896x2"):
        decode(content, crop_border=2)


def test_a_long_image_is_read():
    assert decode(encoded(np.zeros((2, 2 * LARGEST_ASPECT, 3), np.uint8), "PNG")).width == 2 * LARGEST_ASPECT
