"""Escape untrusted text, such as names from files and models, before it is printed on a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""Return `text` with control characters and other unprintable characters escaped.

    >>> printable("épée\x1b[31m")
    'épée\\x1b[31m'
    """
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def one_line(text: object, *, longest: int = 300) -> str:
    r"""Return `text`, such as the error of another library, as one line without punctuation at its end.

    >>> one_line(ValueError("no luck:\n  at all."))
    'no luck: at all'
    """
    return printable(" ".join(str(text).split()))[:longest].rstrip(".: ")
