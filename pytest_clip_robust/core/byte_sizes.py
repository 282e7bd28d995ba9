"""Numbers of bytes as people write and read them, such as 20GiB."""

from __future__ import annotations

import re

UNITS = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def parse_byte_size(text: str) -> int | None:
    """Return the number of bytes of a size such as 20GiB, 500MB or 4G; None if the text is not a size with a unit.

    >>> parse_byte_size("1.5GiB"), parse_byte_size("200 mb"), parse_byte_size("4G"), parse_byte_size("4")
    (1610612736, 200000000, 4000000000, None)
    """
    parts = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([kmgt])(i?)b?", text.strip().lower())
    if parts is None:
        return None
    return int(float(parts[1]) * (1024 if parts[3] else 1000) ** (1 + "kmgt".index(parts[2])))


def byte_size_in_words(size: int) -> str:
    """Return a number of bytes, 0 or more, in three or four digits.

    >>> byte_size_in_words(1610612736), byte_size_in_words(1073000000), byte_size_in_words(700)
    ('1.5 GiB', '1023 MiB', '700 bytes')
    """
    unit, word = next((unit for unit in UNITS if size >= unit[0]), (1, "bytes"))
    if unit == 1:
        return f"{size:,} bytes"
    number = size / unit
    return f"{number:.3g} {word}" if number < 999.5 else f"{number:.0f} {word}"
