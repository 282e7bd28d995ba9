"""Captions of scenes; every caption is true of the rendered picture."""

from __future__ import annotations

import numpy as np

from .scenes import Setting

STARTS = ("a photo of ", "a rendering of ", "a picture of ", "", "there is ")
GROUND = {"carpet": "on a carpet", "grass": "on the grass", "concrete": "on concrete"}
RELATIONS = {"left": "to the left of", "right": "to the right of", "front": "in front of", "behind": "behind"}
OPPOSITE = {"left": "right", "right": "left", "front": "behind", "behind": "front"}


def article(noun: str) -> str:
    """Return a noun with "a" or "an" before it."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def ground(floor: str) -> str:
    """Return the words for standing on a floor."""
    return GROUND.get(floor, f"on {article(floor)} floor")


def describe(label: str, colour: str, setting: Setting, size: np.ndarray, rng: np.random.Generator) -> str:
    """Return one caption of a natural scene."""
    noun = f"{colour} {label}" if rng.random() < 0.7 else label
    width, height, depth = size
    if height > 1.8 * max(width, depth):
        form = "tall"
    elif max(width, depth) > 2.2 * max(height, min(width, depth) + 0.2):
        form = "long"
    else:
        form = "low" if height < 0.45 * max(width, depth) else ""
    if form and rng.random() < 0.25:
        noun = f"{form} {noun}"
    words = STARTS[rng.integers(len(STARTS))] + article(noun)
    if rng.random() < 0.25:
        words += _view(setting)
    if rng.random() < 0.6:
        words += f" {ground(setting.floor)}"
    if rng.random() < 0.25:
        words += f" in front of a {setting.wall} wall"
    return words


def _view(setting: Setting) -> str:
    if setting.elevation > 28:
        return " from above"
    if abs(setting.azimuth) > 50:
        return " seen from the side"
    return " seen from the front" if abs(setting.azimuth) < 20 else ""
