"""GitHub's Markdown: text that is shown exactly as it is, tables, and documents of limited size."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_clip_robust.system.text import printable

LONGEST = 300
"""Longer texts, such as whole captions, are cut, or a table could not be read."""

HARMLESS = set("-.,/=+%")
ENTITIES = {ord(char): f"&#{ord(char)};" for char in string.punctuation if char not in HARMLESS}
WORD_JOINER = "\N{WORD JOINER}"


def prose(text: str, *, longest: int = LONGEST) -> str:
    r"""Return `text` so that Markdown and HTML show it as it is: one line, with every special character as an entity.

    An invisible character after ``@`` and ``#`` keeps GitHub from notifying people and from linking issues.

    >>> prose("a*b* <i>")
    'a&#42;b&#42; &#60;i&#62;'
    """
    visible = printable(text)
    cut = visible if len(visible) <= longest else f"{visible[: longest - 3]}..."
    joined = re.sub("[@#]", lambda found: found[0] + WORD_JOINER, cut)
    return re.sub(r"(?<=www)\.", "&#46;", joined.translate(ENTITIES), flags=re.IGNORECASE)


def code(text: str) -> str:
    """Return `text` in the typeface of code, in which GitHub links nothing.

    >>> code("zero_shot.top1[a|b]")
    '<code>zero&#95;shot.top1&#91;a&#124;b&#93;</code>'
    """
    return f"<code>{prose(text).replace(WORD_JOINER, '')}</code>" if text else ""


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a document: `head` and `tail` are written if it has no lines, or if there is room for one."""

    head: str
    lines: Sequence[str] = ()
    tail: str = ""


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: int, above: str = "", below: str = ""
) -> Block:
    """Return a table; cells are Markdown, and the last `right` columns are aligned to the right.

    `above` and `below` surround it, such as the tags of folded details.
    """
    rule = ["---"] * (len(columns) - right) + ["---:"] * right
    head = f"{above}| {' | '.join(columns)} |\n|{'|'.join(rule)}|\n"
    return Block(head, [f"| {' | '.join(row)} |\n" for row in rows], f"{below}\n")


def fit(blocks: Iterable[Block], limit: int, *, rest: str) -> str:
    """Return the blocks as text of at most `limit` bytes; what does not fit is left out, and `rest` says so.

    Blocks are written in their order, as long as they fit, and a table as many rows as fit.

    >>> fit([Block("head ", ["one ", "two ", "three "])], 20, rest="and more")
    'head one and more'
    >>> fit([Block("head")], 3, rest="more")
    ''
    """
    room = limit - _size(rest)
    if room < 0:
        return ""
    written: list[str] = []
    for block in blocks:
        room -= _size(block.head) + _size(block.tail)
        kept = _beginning(block.lines, room)
        if room < 0 or (block.lines and not kept):
            return "".join([*written, rest])
        written += [block.head, *kept, block.tail]
        room -= sum(map(_size, kept))
        if len(kept) < len(block.lines):
            return "".join([*written, rest])
    return "".join(written)


def _beginning(lines: Sequence[str], room: int) -> list[str]:
    """Return as many lines, from the first on, as have room."""
    kept = []
    for line in lines:
        room -= _size(line)
        if room < 0:
            break
        kept.append(line)
    return kept


def _size(text: str) -> int:
    return len(text.encode())
