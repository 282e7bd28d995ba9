"""Errors that a user can cause, as one tree.

    ClipRobustError
    ├── ConfigError        an option, ini value or profile is wrong
    ├── ModelError         a model spec, checkpoint or encoder is wrong
    ├── DataError          a data set, image, label or annotation is wrong
    ├── StoreError         the feature store cannot be read or written
    ├── BaselineError      a baseline is damaged, cannot be compared, or cannot be written
    ├── ReportError        report.json cannot be read or written
    └── MeasurementError   the inputs are well-formed, but nothing can be measured from them
        └── NotApplicableError   the model lacks the part that a property is about, such as a text encoder

Every message is one line: what was wrong, with the value, and what to do about it.
The plugin shows these errors without a traceback; any other exception is a bug and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LONGEST_SHOWN = 100


class ClipRobustError(Exception):
    """Base of every error that a user can cause and fix."""


class ConfigError(ClipRobustError):
    """An option, ini value or profile entry is wrong: correct it and run again."""


class ModelError(ClipRobustError):
    """A model spec, checkpoint or encoder is wrong: the message names the spec and a way out."""


class DataError(ClipRobustError):
    """A data set is wrong: the message names the set and the file or row."""


class StoreError(ClipRobustError):
    """The feature store cannot be read or written: the message names the folder."""


class BaselineError(ClipRobustError):
    """A baseline is damaged, cannot be compared, or cannot be written: the message names the file."""


class ReportError(ClipRobustError):
    """A report cannot be read or written: the message names the file."""


class MeasurementError(ClipRobustError):
    """Nothing can be measured from these inputs: the message says what is missing."""


class NotApplicableError(MeasurementError):
    """The model lacks the part that a property is about; the test is skipped with this message, and never passes.

    Only this package raises it, because of what a model is. What goes wrong is any other error, and fails.
    """


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``" (did you mean 'a' or 'b'?)"`` for the names nearest to `name`, or ``""``.

    >>> did_you_mean("ViT-B32", ["ViT-B-32", "RN50"])
    " (did you mean 'ViT-B-32'?)"
    >>> did_you_mean("zzz", ["ViT-B-32"])
    ''
    """
    by_folded = {candidate.casefold(): candidate for candidate in known}
    near = difflib.get_close_matches(name[:LONGEST_SHOWN].casefold(), by_folded, n=3, cutoff=0.6)
    if not near:
        return ""
    return f" (did you mean {' or '.join(repr(by_folded[folded]) for folded in near)}?)"


def shown(value: object) -> str:
    """Return `value` as it appears in a message: its repr, cut to `LONGEST_SHOWN` characters.

    >>> shown([1, 2])
    '[1, 2]'
    >>> shown("a" * 200)[-8:]
    'aaaaa...'
    """
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of more than 4,300 digits, or lists nested too deep
        return f"<{type(value).__name__} too long to show>"
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}..."
