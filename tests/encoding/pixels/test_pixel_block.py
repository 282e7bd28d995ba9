from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.encoding.pixels.block import Block, DamagedBlockError, pack

PIXELS = list(np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3), np.uint8))
DIGESTS = [hashlib.sha256(pixels).hexdigest() for pixels in PIXELS]
CONTENT = pack(DIGESTS, PIXELS)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("block") / "block.safetensors"


def test_a_block_returns_the_packed_pixels(path):
    path.write_bytes(CONTENT)
    block = Block(path)
    assert block.digests == DIGESTS
    for row, pixels in enumerate(PIXELS):
        np.testing.assert_array_equal(block.read(row), pixels)


def test_safetensors_can_read_a_block(path):
    from safetensors.numpy import load_file

    path.write_bytes(CONTENT)
    tensors = load_file(path)
    np.testing.assert_array_equal(tensors["pixels"], np.stack(PIXELS))
    assert tensors["digests"][2].tobytes().hex() == DIGESTS[2]


@given(st.integers(0, len(CONTENT) - 1), st.integers(1, 255))
def test_a_wrong_byte_anywhere_never_becomes_a_wrong_pixel(path, place, change):
    damaged = bytearray(CONTENT)
    damaged[place] ^= change
    path.write_bytes(damaged)
    refused = 0
    try:
        block = Block(path)
        for row, digest in enumerate(block.digests):
            try:
                np.testing.assert_array_equal(block.read(row), PIXELS[DIGESTS.index(digest)])
            except DamagedBlockError:
                refused += 1
    except DamagedBlockError:
        refused = 4
    # A changed byte of the word "format" in the header does no harm.
    assert refused >= 1 or place < CONTENT.index(b"checksums")


@given(st.integers(0, len(CONTENT) - 1))
def test_a_block_that_was_cut_off_is_refused(path, length):
    path.write_bytes(CONTENT[:length])
    with pytest.raises(DamagedBlockError, match="it is not a safetensors file of pixels"):
        Block(path)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"pixels": np.zeros((2, 3, 3, 3), np.uint8)}, "it is not a safetensors file of pixels"),
        ({"digests": np.zeros((2, 32), np.float32)}, "digests are not rows of 32 bytes"),
        ({"digests": np.zeros((2, 16), np.uint8)}, "digests are not rows of 32 bytes"),
        ({"checksums": np.zeros((3, 32), np.uint8)}, "its tables and its pixels differ in length"),
        ({"pixels": np.zeros((2, 9), np.uint8)}, "its tables and its pixels differ in length"),
    ],
)
def test_another_file_is_refused(path, tensors, message):
    from safetensors.numpy import save_file

    whole = {name: np.zeros((2, 32), np.uint8) for name in ("digests", "checksums")}
    whole["pixels"] = np.zeros((2, 3, 3, 3), np.uint8)
    save_file(tensors if list(tensors) == ["pixels"] and len(tensors["pixels"].shape) == 4 else whole | tensors, path)
    with pytest.raises(DamagedBlockError, match=message):
        Block(path)
