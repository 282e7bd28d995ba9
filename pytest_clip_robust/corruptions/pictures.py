"""Corruption of one decoded picture, on its canvas."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from pytest_clip_robust.corruptions.canvas import to_canvas
from pytest_clip_robust.corruptions.registry import corrupt


def corrupt_picture(
    image: Image.Image,
    kind: str,
    severity: int,
    *,
    seed: int,
    depth: NDArray[np.float32] | None = None,
    intrinsics: NDArray[np.float32] | None = None,
) -> Image.Image:
    """Return a corrupted copy of an RGB image, resized to its canvas.

    depth: (h, w) of the same view, in any unit. intrinsics: (3, 3) in pixels of the image. seed: see `corrupt`.

    Raises:
        ConfigError: there is no such kind or severity.
        DataError: depth or intrinsics are wrong or missing, or the image is too small.
    """
    canvas = to_canvas(image, depth=depth, intrinsics=intrinsics)
    with _one_thread():
        corrupted = corrupt(canvas.rgb, kind, severity, seeds=[seed], depth=canvas.depth, intrinsics=canvas.intrinsics)
    return Image.fromarray(corrupted[0].permute(1, 2, 0).contiguous().numpy())


@contextmanager
def _one_thread() -> Iterator[None]:
    """Limit torch to one thread, as in worker processes: for hundreds of small operations, more threads are slower."""
    before = torch.get_num_threads()
    if before > 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if before > 1:
            torch.set_num_threads(before)
