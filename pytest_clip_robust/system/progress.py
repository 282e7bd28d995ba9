"""Progress of long work: a bar on a terminal, and one line at the end."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from time import monotonic
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pytest_clip_robust.system.notice import Notice, log_notice
from pytest_clip_robust.system.text import printable

Advance = Callable[[int], None]
"""Takes the number of samples that were done since the last call."""

LONG_SECONDS = 1.0
"""Shorter work shows neither a bar nor a line."""


class ShowProgress(Protocol):
    """Shows the progress of `total` `things`, such as ``"images"``, of `whole`, such as a data set's name."""

    def __call__(self, things: str, whole: str, total: int, /) -> AbstractContextManager[Advance]:
        """Open the display and yield the function that advances it."""


@contextmanager
def show_progress(things: str, whole: str, total: int, /, *, notice: Notice = log_notice) -> Iterator[Advance]:
    """Show a bar on stderr if the work takes longer than a second, and send `notice` one line if it succeeded.

    There is no bar if stderr is not a terminal or the environment variable CI is set.
    """
    started = monotonic()
    with _Bar(f"encoding {things} of {printable(whole)}", total) as bar:
        yield bar.advance
    seconds = monotonic() - started
    if seconds > LONG_SECONDS and bar.done:
        rate = f"{seconds:,.0f} s ({bar.done / seconds:,.0f}/s)"
        notice(f"encoded {bar.done:,} {things} of {printable(whole)} in {rate}")


class _Bar:
    """A rich progress bar that appears only if the work takes long."""

    def __init__(self, title: str, total: int) -> None:
        self._title, self._total, self.done = title, total, 0
        self._interactive = sys.stderr.isatty() and not os.environ.get("CI")
        self._started = monotonic()
        self._display: Progress | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._display is not None:
            self._display.stop()

    def advance(self, count: int) -> None:
        self.done += count
        if self._display is None and self._interactive and monotonic() - self._started > LONG_SECONDS:
            self._display = self._open()
        if self._display is not None:
            self._display.update(self._display.task_ids[0], completed=self.done)

    def _open(self) -> Progress:
        display = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        display.add_task(self._title, total=self._total)
        display.start()
        return display
