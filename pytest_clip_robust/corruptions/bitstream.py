"""Bit errors: flipped bits in the JPEG file of an image."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from pytest_clip_robust.corruptions.sizes import REFERENCE_SIDE

FLIPS = (15, 24, 34, 50, 85)
"""Flipped bits at 224 x 224 pixels, by severity; proportional to the number of pixels, at least one."""

QUALITY = 90
MARKER = 0xFF
OTHER_BIT = (2, 1, 1, 1, 1, 1, 1, 1)
"""The bit to flip instead if flipping bit 0 to 7 would create a JPEG marker."""


def bit_error(rgb: Tensor, severity: int, rngs: Sequence[np.random.Generator]) -> Tensor:
    """Flip bits of the entropy-coded data and decode the damaged file.

    A flipped bit damages the rest of its row of blocks, because the decoder loses its position; a restart marker after
    every row ends the damage. A higher severity flips the bits of the lower ones and more.
    """
    images = rgb.permute(0, 2, 3, 1).cpu().numpy()
    flips = max(1, round(FLIPS[severity - 1] * images[0, ..., 0].size / REFERENCE_SIDE**2))
    damaged = [_damage(one, flips, rng) for one, rng in zip(images, rngs, strict=True)]
    return torch.from_numpy(np.stack(damaged)).permute(0, 3, 1, 2).contiguous().to(rgb.device)


def _damage(image: NDArray[np.uint8], flips: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=QUALITY, restart_marker_rows=1)
    stream = _flip(bytearray(buffer.getvalue()), flips, rng)
    return np.asarray(Image.open(io.BytesIO(bytes(stream))).convert("RGB"))


def _flip(stream: bytearray, flips: int, rng: np.random.Generator) -> bytearray:
    """Flip one bit in each of `flips` bytes, the first in a random order of all entropy-coded bytes."""
    places = rng.permutation(_coded_bytes(stream))
    for place, bit in zip(places, rng.integers(0, 8, len(places)), strict=True):
        if flips == 0:
            break
        changed = stream[place] ^ (1 << int(bit))
        # A new marker would damage the file's structure instead of the picture.
        stream[place] = changed if changed != MARKER else stream[place] ^ OTHER_BIT[int(bit)]
        flips -= 1
    return stream


def _coded_bytes(stream: bytearray) -> NDArray[np.int64]:
    """Return the positions of entropy-coded bytes: those after the scan header, except markers and stuffed bytes."""
    scan = stream.index(b"\xff\xda")
    start = scan + 2 + int.from_bytes(stream[scan + 2 : scan + 4], "big")
    coded = np.arange(start, len(stream) - 2)
    marked = {match.start() + offset for match in re.finditer(b"\xff", bytes(stream)) for offset in (0, 1)}
    return coded[~np.isin(coded, list(marked))]
