"""The canvas: the size to which images, depth and intrinsics are resized, so that severities are comparable."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from pytest_clip_robust.corruptions.sizes import canvas_size
from pytest_clip_robust.errors import DataError

SAME_SHAPE = 0.02
"""Largest relative difference of the aspect ratios of image and depth; it allows for rounding only."""


class Canvas(NamedTuple):
    """One image, (1, 3, H, W) uint8, with its depth, (1, H, W) or None, and intrinsics, (1, 3, 3) or None."""

    rgb: Tensor
    depth: Tensor | None
    intrinsics: Tensor | None


def to_canvas(
    image: Image.Image, *, depth: NDArray[np.float32] | None = None, intrinsics: NDArray[np.float32] | None = None
) -> Canvas:
    """Resize an RGB image, its (h, w) depth and its (3, 3) intrinsics, in pixels of the image, to the canvas.

    The depth can have another resolution. It is sampled and never averaged, because the average of the depths of two
    surfaces is the depth of neither.

    Raises:
        DataError: depth and image differ in aspect ratio.
    """
    width, height = canvas_size(*image.size)
    resized = image if image.size == (width, height) else image.resize((width, height), Image.Resampling.BICUBIC)
    rgb = torch.from_numpy(np.array(resized)).permute(2, 0, 1)[None]
    if intrinsics is not None:
        scale = np.array([[width / image.width], [height / image.height], [1]], np.float32)
        intrinsics = np.asarray(intrinsics, np.float32) * scale
    return Canvas(
        rgb.contiguous(),
        None if depth is None else torch.from_numpy(_sample(depth, image, width, height))[None],
        None if intrinsics is None else torch.from_numpy(intrinsics)[None],
    )


def _sample(depth: NDArray[np.float32], image: Image.Image, width: int, height: int) -> NDArray[np.float32]:
    rows, columns = depth.shape
    if abs(rows * image.width - columns * image.height) > SAME_SHAPE * rows * image.width:
        raise DataError(
            f"its depth is {columns}x{rows}, the image {image.width}x{image.height}: "
            "they do not show the same view; depth must cover the whole image"
        )
    row = ((np.arange(height) + 0.5) * (rows / height)).astype(np.int64)
    column = ((np.arange(width) + 0.5) * (columns / width)).astype(np.int64)
    return np.ascontiguousarray(depth[row][:, column], np.float32)
