"""The size at which images are corrupted and transformed, so that strengths are comparable."""

from __future__ import annotations

REFERENCE_SIDE = 224
"""Lengths are given in pixels of an image with this shorter side, and scale with the shorter side."""


def canvas_size(width: int, height: int) -> tuple[int, int]:
    """Return the width and height at which an image is corrupted: a shorter side of 224 pixels, or its own if smaller.

    The aspect ratio is kept, so that the model's own preprocessing crops the same part as from the clean image.

    >>> canvas_size(500, 375), canvas_size(128, 128)
    ((299, 224), (128, 128))
    """
    factor = min(1.0, REFERENCE_SIDE / min(width, height))
    return round(width * factor), round(height * factor)
