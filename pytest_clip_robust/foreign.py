"""Other libraries' code, kept from speaking where only the user should be spoken to."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def hushed() -> Iterator[None]:
    """Ignore warnings: a library's deprecation is none of the user's business, and ``-W error`` would end the run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
