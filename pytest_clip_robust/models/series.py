"""Series of checkpoints: one spec with ``*`` in its path stands for every file or folder that it matches, in order."""

from __future__ import annotations

import glob
import re

from pytest_clip_robust.errors import ModelError, shown
from pytest_clip_robust.models.spec import ADAPTER, KINDS
from pytest_clip_robust.system.files import user_path

WILDCARD = "*"


def is_series(text: str) -> bool:
    """Return whether a spec stands for a series: its path, which is before the options, has a ``*``.

    >>> is_series("ViT-B-32@runs/epoch_*.pt"), is_series("py:mine:load?name=*")
    (True, False)
    """
    return WILDCARD in text.partition("?")[0]


def expand_series(text: str) -> list[str]:
    """Return the specs of a series, by the numbers in their names; a spec without ``*`` stands for itself.

    ``epoch_2.pt`` comes before ``epoch_10.pt``.

    Raises:
        ModelError: nothing has such a path.
    """
    if not is_series(text):
        return [text]
    body, question, options = text.partition("?")
    before, pattern = _split(body)
    # Brackets and the like are parts of names; only the star is a pattern.
    escaped = WILDCARD.join(glob.escape(part) for part in str(user_path(pattern)).split(WILDCARD))
    found = sorted(glob.glob(escaped), key=_natural)  # noqa: PTH207 - Path.glob takes no absolute pattern
    if not found:
        raise ModelError(f"model spec {shown(text)}: no file or folder is like {pattern}; check the path")
    return [f"{before}{path}{question}{options}" for path in found]


def _split(body: str) -> tuple[str, str]:
    """Split a spec before the path that has the first ``*``."""
    star = body.index(WILDCARD)
    prefix = body.partition(":")[0]
    ends = [0, len(prefix) + 1 if prefix in KINDS and ":" in body[:star] else 0, body.rfind("@", 0, star) + 1]
    if (adapter := body.rfind(ADAPTER, 0, star)) >= 0:
        ends.append(adapter + len(ADAPTER))
    return body[: max(ends)], body[max(ends) :]


def _natural(path: str) -> list[tuple[int, int, str]]:
    """Return a key by which numbers in names are compared as numbers."""
    parts = re.split(r"(\d+)", path)
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts]
