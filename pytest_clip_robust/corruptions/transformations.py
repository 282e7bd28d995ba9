"""Transformations of images that should not change an answer, each with one strength: flip, rotation, crop and others.

Pure functions of an RGB image. A key decides what a strength leaves open, such as the direction of a rotation and the
place of a crop, so that results depend on neither order nor number of processes.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image, ImageOps

from pytest_clip_robust.errors import DataError
from pytest_clip_robust.names import LARGEST_STRENGTHS, Transformation

VERSION = 1
"""Changes when the pixels of a transformed image do."""

GREY = (128, 128, 128)
WIDEST = 2.0
"""The largest ratio of an occluder's width to its height, both as shares of the image's sides, and of the reverse."""

Draw = Callable[[str], float]
"""Returns a number from 0 to below 1 for a purpose."""


def transform(image: Image.Image, name: Transformation, strength: float, *, key: str) -> Image.Image:
    """Return an RGB `image` under a transformation; strength 0 returns the image itself.

    strength: 0 to the largest of `LARGEST_STRENGTHS`, in the units of `STRENGTH_UNITS`. key: decides about directions
    and places, usually the image's digest and a seed. A stronger crop or occluder contains the weaker one's.
    All but a crop keep the size.

    Raises:
        DataError: there is no such transformation, or the strength is out of its range.
    """
    if name not in _APPLY:
        raise DataError(f"unknown transformation {name!r}; expected one of {', '.join(_APPLY)}")
    if not 0 <= strength <= LARGEST_STRENGTHS[name]:
        raise DataError(f"{name} with {strength=}; expected 0 to {LARGEST_STRENGTHS[name]:g}")
    return _APPLY[name](image, strength, lambda purpose: _share(f"{key}|{name}|{purpose}")) if strength else image


def _flip(image: Image.Image, _: float, __: Draw) -> Image.Image:
    return ImageOps.mirror(image)


def _rotation(image: Image.Image, degrees: float, draw: Draw) -> Image.Image:
    """Rotate about the middle; corners are filled with the mirrored image, because a border would be a clue."""
    radians, (width, height) = np.deg2rad(degrees), image.size
    across = _margin(width * np.cos(radians) + height * np.sin(radians) - width)
    down = _margin(width * np.sin(radians) + height * np.cos(radians) - height)
    padded = Image.fromarray(np.pad(np.asarray(image), ((down, down), (across, across), (0, 0)), mode="symmetric"))
    turned = padded.rotate(degrees * _sign(draw), Image.Resampling.BICUBIC)
    return turned.crop((across, down, across + width, down + height))


def _crop(image: Image.Image, share: float, draw: Draw) -> Image.Image:
    kept = (1 - share) ** 0.5
    return image.crop(_box(image, kept, kept, draw))


def _occluder(image: Image.Image, share: float, draw: Draw) -> Image.Image:
    ratio = WIDEST ** (2 * draw("ratio") - 1)
    hidden = image.copy()
    hidden.paste(GREY, _box(image, (share * ratio) ** 0.5, (share / ratio) ** 0.5, draw))
    return hidden


def _hue(image: Image.Image, degrees: float, draw: Draw) -> Image.Image:
    turn = round(degrees / 360 * 256) * _sign(draw)
    hue, saturation, value = image.convert("HSV").split()
    turned = hue.point([(one + turn) % 256 for one in range(256)])
    return Image.merge("HSV", (turned, saturation, value)).convert("RGB")


def _darken(image: Image.Image, doublings: float, _: Draw) -> Image.Image:
    return _gamma(image, 2.0**doublings)


def _brighten(image: Image.Image, halvings: float, _: Draw) -> Image.Image:
    return _gamma(image, 2.0**-halvings)


def _gamma(image: Image.Image, gamma: float) -> Image.Image:
    table = [round(255 * (value / 255) ** gamma) for value in range(256)]
    return image.point(table * 3)


def _resize(image: Image.Image, share: float, _: Draw) -> Image.Image:
    small = tuple(max(1, round(side * (1 - share))) for side in image.size)
    cubic = Image.Resampling.BICUBIC
    return image.resize((small[0], small[1]), cubic).resize(image.size, cubic)


def _jpeg(image: Image.Image, below: float, _: Draw) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=max(1, round(100 - below)))
    with Image.open(file) as stored:
        return stored.convert("RGB")


_APPLY: Mapping[Transformation, Callable[[Image.Image, float, Draw], Image.Image]] = {
    "flip": _flip,
    "rotation": _rotation,
    "crop": _crop,
    "occluder": _occluder,
    "hue": _hue,
    "darken": _darken,
    "brighten": _brighten,
    "resize": _resize,
    "jpeg": _jpeg,
}


def _box(image: Image.Image, across: float, down: float, draw: Draw) -> tuple[int, int, int, int]:
    """Return a box of these shares of the sides; its place is such that a larger box contains a smaller one."""
    width, height = max(1, round(image.width * across)), max(1, round(image.height * down))
    left = int(draw("left") * (image.width - width + 1))
    top = int(draw("top") * (image.height - height + 1))
    return left, top, left + width, top + height


def _margin(excess: float) -> int:
    """Return how many pixels are needed on each side; two more for the filter of the rotation."""
    return int(np.ceil(max(excess, 0) / 2)) + 2


def _sign(draw: Draw) -> int:
    return 1 if draw("direction") < 0.5 else -1


def _share(key: str) -> float:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6], "big") / 2**48
