"""Drawing styles: pure functions of a picture's pixels and depth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .studio import Picture

Pixels = NDArray[np.uint8]


def line_drawing(picture: Picture) -> Pixels:
    """Return a line drawing of the edges of depth and colour."""
    strength = np.clip(3.5 * _depth_edges(picture) + 1.1 * _colour_edges(picture, sigma=0.7) - 0.12, 0, 1)
    ink = 250 - 225 * strength[..., None]
    return np.repeat(ink, 3, axis=2).astype(np.uint8)


def cartoon(picture: Picture) -> Pixels:
    """Return a picture with few bold colours and dark outlines."""
    smooth = np.stack([ndimage.median_filter(picture.rgb[..., c], 5) for c in range(3)], -1).astype(np.float32)
    grey = smooth.mean(axis=2, keepdims=True)
    vivid = np.clip(grey + 1.5 * (smooth - grey), 0, 255)
    flat = np.round(vivid / 255 * 5) / 5 * 255
    outline = np.clip(4 * _depth_edges(picture) + 0.7 * _colour_edges(picture, sigma=1.0) - 0.15, 0, 1)[..., None]
    return (flat * (1 - outline) + 20 * outline).astype(np.uint8)


def painting(picture: Picture, rng: np.random.Generator) -> Pixels:
    """Return a picture of short brush strokes."""
    angle = rng.uniform(0, np.pi)
    steps = np.arange(-4, 5)
    total = np.zeros(picture.rgb.shape, np.float32)
    jitter = rng.integers(-2, 3, (2, *picture.rgb.shape[:2]))
    rows, columns = np.indices(picture.rgb.shape[:2])
    for step in steps:
        y = np.clip(rows + jitter[0] + round(step * np.sin(angle)), 0, picture.rgb.shape[0] - 1)
        x = np.clip(columns + jitter[1] + round(step * np.cos(angle)), 0, picture.rgb.shape[1] - 1)
        total += picture.rgb[y, x] / len(steps)
    canvas = ndimage.gaussian_filter(rng.normal(0, 18, picture.rgb.shape[:2]), 0.6)[..., None]
    return np.clip(np.round(total / 24) * 24 + canvas, 0, 255).astype(np.uint8)


def mosaic(picture: Picture) -> Pixels:
    """Return a picture of coarse square tiles."""
    side = picture.rgb.shape[0] // 4 * 4
    blocks = picture.rgb[:side, :side].reshape(side // 4, 4, side // 4, 4, 3).mean((1, 3))
    tiles = np.repeat(np.repeat(blocks, 4, axis=0), 4, axis=1)
    tiles[::4] *= 0.75
    tiles[:, ::4] *= 0.75
    return tiles.astype(np.uint8)


STYLES = ("line drawing", "painting", "mosaic")


def styled(picture: Picture, rng: np.random.Generator) -> Pixels:
    """Return the picture in one of the STYLES, drawn at random."""
    kind = STYLES[rng.integers(len(STYLES))]
    if kind == "painting":
        return painting(picture, rng)
    return line_drawing(picture) if kind == "line drawing" else mosaic(picture)


def _depth_edges(picture: Picture) -> NDArray[np.float32]:
    """Return the strength (0-1) of jumps and creases of depth, relative to the distance."""
    inverse = 1 / picture.depth
    crease = np.abs(ndimage.laplace(inverse)) / inverse
    return np.clip(12 * crease, 0, 1)


def _colour_edges(picture: Picture, *, sigma: float) -> NDArray[np.float32]:
    grey = picture.rgb.astype(np.float32).mean(axis=2) / 255
    return np.clip(2.5 * ndimage.gaussian_gradient_magnitude(grey, sigma), 0, 1)
