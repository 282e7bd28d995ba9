"""Showing foreign text: names from files and models must not drive a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""Escape control characters and other unprintable ones; the rest stays as it is.

    >>> printable("épée\x1b[31m")
    'épée\\x1b[31m'
    """
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def one_line(text: object, *, longest: int = 300) -> str:
    r"""Fold `text` (an error from elsewhere) into one line without the punctuation at its end.

    >>> one_line(ValueError("no luck:\n  at all."))
    'no luck: at all'
    """
    return printable(" ".join(str(text).split()))[:longest].rstrip(".: ")
