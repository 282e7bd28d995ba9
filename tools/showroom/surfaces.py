"""Colours and procedural textures: floors, patterns and materials, all (H, W, 3) uint8."""

from __future__ import annotations

import colorsys

import numpy as np
from numpy.typing import NDArray
from PIL import Image

COLOURS = {
    "red": (0.78, 0.12, 0.12),
    "green": (0.16, 0.55, 0.2),
    "blue": (0.15, 0.3, 0.75),
    "yellow": (0.92, 0.8, 0.15),
    "orange": (0.92, 0.5, 0.1),
    "purple": (0.5, 0.2, 0.65),
    "pink": (0.95, 0.55, 0.7),
    "brown": (0.42, 0.26, 0.13),
    "black": (0.08, 0.08, 0.08),
    "white": (0.93, 0.93, 0.93),
    "gray": (0.5, 0.5, 0.5),
}
WALLS = {
    "white": (0.92, 0.92, 0.9),
    "gray": (0.62, 0.62, 0.64),
    "blue": (0.55, 0.68, 0.85),
    "green": (0.65, 0.78, 0.62),
    "yellow": (0.93, 0.87, 0.62),
    "pink": (0.92, 0.76, 0.76),
    "brown": (0.62, 0.5, 0.4),
    "dark": (0.24, 0.25, 0.28),
}
FLOORS = ("wooden", "tiled", "carpet", "concrete", "grass", "checkered")
PATTERNS = ("stripes", "dots", "zigzag", "plaid")
MATERIALS = ("brick", "marble", "fur", "rust", "knit")

Pixels = NDArray[np.uint8]


def noise(rng: np.random.Generator, side: int, octaves: tuple[int, ...] = (4, 8, 16, 32)) -> NDArray[np.float32]:
    """Return (side, side) smooth noise with mean 0."""
    total = np.zeros((side, side), np.float32)
    for octave in octaves:
        coarse = Image.fromarray(rng.random((octave, octave)).astype(np.float32))
        total += np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC)) / len(octaves)
    return total - total.mean()


def floor(kind: str, rng: np.random.Generator, side: int = 128) -> Pixels:
    """Return the texture of one of the FLOORS."""
    y, x = np.mgrid[0:side, 0:side] / side
    grain = noise(rng, side)[..., None]
    speckle = rng.random((side, side, 1)) - 0.5
    if kind == "wooden":
        base = _one_of(rng, [(0.62, 0.42, 0.24), (0.75, 0.56, 0.36), (0.42, 0.28, 0.17), (0.8, 0.66, 0.47)])
        board = 1 + (rng.random(8)[(x * 8).astype(int)] - 0.5)[..., None] * 0.25
        rings = (np.sin(y * 40 + 6 * noise(rng, side, (4, 8))) * 0.02)[..., None]
        colour = (base * board + rings) * np.where((x * 8) % 1 < 0.06, 0.55, 1)[..., None]
    elif kind == "tiled":
        base = _one_of(rng, [(0.85, 0.83, 0.78), (0.6, 0.65, 0.7), (0.75, 0.6, 0.5), (0.5, 0.58, 0.5)])
        line = ((x * 4) % 1 < 0.06) | ((y * 4) % 1 < 0.06)
        colour = np.where(line[..., None], base * 0.6, base * (1 + 0.15 * grain))
    elif kind == "carpet":
        base = _one_of(
            rng, [(0.5, 0.2, 0.2), (0.25, 0.3, 0.45), (0.55, 0.5, 0.42), (0.3, 0.36, 0.28), (0.45, 0.35, 0.5)]
        )
        colour = base * (1 + speckle * 0.45)
    elif kind == "concrete":
        colour = np.array((0.55, 0.55, 0.53)) * (0.8 + 0.4 * rng.random()) * (1 + 0.5 * grain + speckle * 0.1)
    elif kind == "grass":
        colour = np.array((0.3, 0.45, 0.16)) * (1 + 0.6 * grain + speckle * 0.7)
    else:
        light, dark = _one_of(
            rng,
            [
                ((0.9, 0.9, 0.88), (0.12, 0.12, 0.13)),
                ((0.85, 0.8, 0.7), (0.55, 0.3, 0.22)),
                ((0.8, 0.82, 0.88), (0.3, 0.38, 0.5)),
            ],
        )
        odd = ((x * 4).astype(int) + (y * 4).astype(int)) % 2 > 0
        colour = np.where(odd[..., None], light, dark) * (1 + 0.1 * grain)
    return _pixels(colour)


def pattern(kind: str, rng: np.random.Generator, side: int = 128) -> Pixels:
    """Return the texture of one of the PATTERNS in two bold colours."""
    y, x = np.mgrid[0:side, 0:side] / side
    first, second = rng.choice(len(COLOURS), 2, replace=False)
    ink, paper = (np.array(list(COLOURS.values())[i]) for i in (first, second))
    if kind == "stripes":
        on = (x * 6) % 1 < 0.5
    elif kind == "dots":
        on = np.hypot((x * 5) % 1 - 0.5, (y * 5) % 1 - 0.5) < 0.3
    elif kind == "zigzag":
        on = ((y * 6) + np.abs((x * 4) % 1 - 0.5) * 2) % 1 < 0.5
    else:
        on = ((x * 5) % 1 < 0.4) ^ ((y * 5) % 1 < 0.4)
    return _pixels(np.where(on[..., None], ink, paper))


def material(kind: str, rng: np.random.Generator, side: int = 128) -> Pixels:
    """Return the texture of one of the MATERIALS, which the objects rarely have in reality."""
    y, x = np.mgrid[0:side, 0:side] / side
    grain, speckle = noise(rng, side)[..., None], rng.random((side, side, 1)) - 0.5
    if kind == "brick":
        row = (y * 8).astype(int)
        mortar = ((y * 8) % 1 < 0.12) | ((x * 4 + 0.5 * (row % 2)) % 1 < 0.06)
        colour = np.where(mortar[..., None], (0.75, 0.72, 0.68), np.array((0.6, 0.25, 0.17)) * (1 + 0.5 * grain))
    elif kind == "marble":
        veins = np.abs(np.sin(8 * x + 5 * y + 9 * noise(rng, side)))[..., None] ** 0.35
        colour = np.array((0.93, 0.92, 0.9)) * veins + np.array((0.35, 0.37, 0.4)) * (1 - veins)
    elif kind == "fur":
        hair = noise(rng, side, (64, 128))
        for _ in range(5):
            hair = (hair + np.roll(hair, 1, axis=0)) / 2 + np.roll(hair, 1, axis=0) * 0.02
        colour = np.array((0.5, 0.36, 0.22)) * (1 + 2.2 * hair[..., None] + 0.6 * grain)
    elif kind == "rust":
        patch = np.clip(0.5 + 3 * grain, 0, 1)
        colour = patch * np.array((0.55, 0.27, 0.1)) + (1 - patch) * np.array((0.35, 0.42, 0.45)) + speckle * 0.12
    else:
        stitch = np.sin(x * 80) * np.sin(y * 80 + np.sin(x * 80) * 2)
        colour = np.array((0.7, 0.68, 0.6)) * (1 + 0.35 * stitch[..., None])
    return _pixels(colour)


def colour_name(rgb: NDArray[np.float64]) -> str:  # noqa: PLR0911 - a table in words
    """Return the common name of a colour (0-1)."""
    hue, saturation, value = colorsys.rgb_to_hsv(*np.clip(rgb, 0, 1))
    if value < 0.16:
        return "black"
    if saturation < 0.14:
        return "white" if value > 0.72 else "gray" if value > 0.22 else "black"
    degrees = hue * 360
    if degrees < 15 or degrees >= 345:
        if saturation <= 0.45 and value <= 0.7:
            return "brown"
        return "pink" if value > 0.75 and saturation < 0.5 else "red"
    if degrees < 45:
        return "brown" if value < 0.68 or saturation < 0.5 else "orange"
    if degrees < 68:
        return "yellow" if saturation > 0.35 and value > 0.5 else "white" if value > 0.8 else "brown"
    names = ((165, "green"), (255, "blue"), (300, "purple"), (360, "pink"))
    return next(name for limit, name in names if degrees < limit)


def main_colour(pixels: Pixels, mask: NDArray[np.bool_]) -> str:
    """Return the name of an object's most frequent colour; pixels are brightened to compensate for shadows."""
    found = pixels[mask].astype(np.float64) / 255
    if len(found) < 30:
        return "gray"
    names = [colour_name(np.minimum(1, one * 1.15)) for one in found[:: max(1, len(found) // 150)]]
    return max(sorted(set(names)), key=names.count)


def _one_of(rng: np.random.Generator, choices: list) -> NDArray[np.float64]:
    return np.array(choices[rng.integers(len(choices))])


def _pixels(colour: NDArray[np.float64]) -> Pixels:
    return (np.clip(colour, 0, 1) * 255).astype(np.uint8)
