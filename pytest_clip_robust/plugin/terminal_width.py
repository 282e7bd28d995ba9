"""Width of the tables that are written to a terminal."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _pytest._io import TerminalWriter


def table_width(writer: TerminalWriter, *, isatty: bool) -> int:
    """Return the number of columns of a terminal, or 0 for none: the lines of a CI log can be longer than any terminal.

    Without a terminal pytest assumes 80 columns; those that a user sets count there, too.
    """
    return writer.fullwidth if isatty or "COLUMNS" in os.environ else 0
