"""Bit errors: the image as a JPEG file, some bits of which arrive wrong."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from pytest_clip_robust.corruptions.focus import REFERENCE_SIDE

FLIPS = (15, 24, 34, 50, 85)
"""Of an image of 224 x 224; others have as many a pixel, one at least."""

QUALITY = 90
MARKER = 0xFF
OTHER_BIT = (2, 1, 1, 1, 1, 1, 1, 1)
"""What to flip where flipping bit 0 to 7 would make a marker."""


def bit_error(rgb: Tensor, severity: int, rngs: Sequence[np.random.Generator]) -> Tensor:
    """Flip bits of the entropy-coded data, as the decoder of a damaged file shows them.

    A wrong bit spoils the rest of a row of blocks, since all that follows there is read from the wrong place; a restart
    marker after every row ends the damage. The bits of a lower severity are among those of a higher one.
    """
    images = rgb.permute(0, 2, 3, 1).cpu().numpy()
    flips = max(1, round(FLIPS[severity - 1] * images[0, ..., 0].size / REFERENCE_SIDE**2))
    spoilt = [_spoil(one, flips, rng) for one, rng in zip(images, rngs, strict=True)]
    return torch.from_numpy(np.stack(spoilt)).permute(0, 3, 1, 2).contiguous().to(rgb.device)


def _spoil(image: NDArray[np.uint8], flips: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=QUALITY, restart_marker_rows=1)
    stream = _flip(bytearray(buffer.getvalue()), flips, rng)
    return np.asarray(Image.open(io.BytesIO(bytes(stream))).convert("RGB"))


def _flip(stream: bytearray, flips: int, rng: np.random.Generator) -> bytearray:
    """Flip one bit in each of so many bytes, the first ones of an order that is the generator's."""
    places = rng.permutation(_coded_bytes(stream))
    for place, bit in zip(places, rng.integers(0, 8, len(places)), strict=True):
        if flips == 0:
            break
        changed = stream[place] ^ (1 << int(bit))
        # A byte that became a marker would be one of the container, not an error in the picture.
        stream[place] = changed if changed != MARKER else stream[place] ^ OTHER_BIT[int(bit)]
        flips -= 1
    return stream


def _coded_bytes(stream: bytearray) -> NDArray[np.int64]:
    """Return where entropy-coded bytes lie: after the header of the scan, markers and their stuffing left out."""
    scan = stream.index(b"\xff\xda")
    start = scan + 2 + int.from_bytes(stream[scan + 2 : scan + 4], "big")
    coded = np.arange(start, len(stream) - 2)
    marked = {match.start() + offset for match in re.finditer(b"\xff", bytes(stream)) for offset in (0, 1)}
    return coded[~np.isin(coded, list(marked))]
