"""Notes with a word, painted on photographs: black letters on a white box."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

from pytest_clip_robust.errors import DataError, shown

VERSION = 1
"""Changes when the pixels of a painted note do."""

LETTERS, WIDTH, PADDING = 0.12, 0.9, 0.25
"""Size of letters and largest width of a note, over the side of the square; padding, over the size of letters."""

LEAST_LETTERS, LEAST_SIDE = 6, 64
"""In pixels. Smaller letters cannot be read by anyone."""

FIRST_CHARACTER, LAST_CHARACTER = " ", "~"
"""The range of characters that Pillow's font has."""


def paint_note(image: Image.Image, word: str, place: tuple[float, float], *, blank: bool = False) -> Image.Image:
    """Return a copy of an RGB `image` with a note that has the `word` on it, or nothing if `blank`.

    The note is in the middle square of the image, which models see after cropping. place: its position there, 0-1 from
    left to right and from top to bottom. Letters have 12 % of the side of the square, and less if the note would be
    wider than 90 % of it. A blank note has the size that its word needs.

    Raises:
        DataError: the image is too small for letters that can be read, or the font lacks a character of the word.
    """
    text, side = printable_letters(word), min(image.size)
    if side < LEAST_SIDE:
        raise DataError(
            f"its {image.width}x{image.height} pixels are too few to paint a word on; expected at least {LEAST_SIDE} "
            "on the shorter side"
        )
    size = _letter_size(text, side)
    font = _font(size)
    padding = round(PADDING * size)
    width, height = round(font.getlength(text)) + 2 * padding, sum(font.getmetrics()) + 2 * padding
    left = (image.width - side) // 2 + round(place[0] * (side - width))
    top = (image.height - side) // 2 + round(place[1] * (side - height))
    painted = image.copy()
    draw = ImageDraw.Draw(painted)
    draw.rectangle((left, top, left + width - 1, top + height - 1), fill="white", outline="black")
    if not blank:
        draw.text((left + padding, top + padding), text, fill="black", font=font)
    return painted


def printable_letters(word: str) -> str:
    """Return `word` in characters that the font has: without accents, and with single spaces.

    Raises:
        DataError: another character remains, or nothing does.

    >>> printable_letters("crème  brûlée")
    'creme brulee'
    """
    parts = unicodedata.normalize("NFKD", " ".join(word.split()))
    text = "".join(one for one in parts if not unicodedata.combining(one))
    missing = [one for one in text if not FIRST_CHARACTER <= one <= LAST_CHARACTER]
    if missing or not text:
        lacks = f"the font has no letter {missing[0]!r}" if missing else "it is empty"
        raise DataError(f"class name {shown(word)} cannot be painted: {lacks}; give names in Latin letters")
    return text


def _letter_size(text: str, side: int) -> int:
    """Return the size of letters, in pixels, at which a note of `text` fits into a square."""
    size = round(LETTERS * side)
    while size >= LEAST_LETTERS:
        if _font(size).getlength(text) + 2 * PADDING * size <= WIDTH * side:
            return size
        size -= 1
    raise DataError(f"the class name {shown(text)} is too long to paint on {side} pixels: shorten it")


@lru_cache(maxsize=256)
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Return Pillow's own font."""
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise DataError("this Pillow was built without FreeType, so words cannot be painted: install Pillow from PyPI")
    return font
