"""Notices: one line for the user about a problem that did not stop the run.

A notice is a callback and not `warnings.warn`, because a damaged cache file must not end a run under ``-W error``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

Notice = Callable[[str], None]
"""Takes one line, without a full stop or a line break."""


def log_notice(line: str) -> None:
    """Write the line to the ``pytest_clip_robust`` logger; the default if the caller gives no other notice."""
    logging.getLogger("pytest_clip_robust").warning(line)
