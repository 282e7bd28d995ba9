"""Garbage collection in a process that imported torch and transformers: half a million objects that all stay."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading_what_stays() -> Iterator[None]:
    """Leave what exists after the block out of later collections, until the next such block.

    pytest and hypothesis start full collections, and each would visit every object of the imported libraries. Objects
    that an earlier block left out are garbage like any other while this block runs, so that a model that is no longer
    used can be collected.
    """
    gc.unfreeze()
    try:
        yield
    finally:
        gc.freeze()
