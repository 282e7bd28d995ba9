"""Silence warnings and logs of third-party libraries."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress warnings, and log lines below the level of errors.

    Users cannot act on a library's deprecation warnings, and under ``-W error`` they would end the run.
    """
    before = logging.root.manager.disable
    loud = before < logging.WARNING  # a change of the level costs a millisecond: it empties the cache of every logger
    if loud:
        logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if loud:
            logging.disable(before)
