"""Progress of long work: a bar on a terminal, a line per minute in a log, and one line at the end."""

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
LINE_SECONDS = 60.0
"""Seconds between two lines in a log."""


class ShowProgress(Protocol):
    """Shows the progress of `total` `things`, such as ``"images"``, of `whole`, such as a data set's name."""

    def __call__(self, things: str, whole: str, total: int, /) -> AbstractContextManager[Advance]:
        """Open the display and yield the function that advances it."""


@contextmanager
def show_progress(
    things: str, whole: str, total: int, /, *, notice: Notice = log_notice, quiet: bool = False
) -> Iterator[Advance]:
    """Show on stderr how far the work is unless `quiet`, and send `notice` one line if it succeeded and was long.

    On a terminal it is a bar, after a second. If stderr is not a terminal or the environment variable CI is set, it is
    a line per minute.
    """
    started = monotonic()
    shows = _Nothing if quiet else _Bar if sys.stderr.isatty() and not os.environ.get("CI") else _Lines
    with shows(f"encoding {things} of {printable(whole)}", total) as display:
        yield display.advance
    seconds = monotonic() - started
    if seconds > LONG_SECONDS and display.done:
        rate = f"{seconds:,.0f} s ({display.done / seconds:,.0f}/s)"
        notice(f"encoded {display.done:,} {things} of {printable(whole)} in {rate}")


def state_line(title: str, done: int, total: int, seconds: float) -> str:
    """Return how far the work is: numbers, samples per second, and the time that is left.

    >>> state_line("encoding images of imagenet", 12_000, 50_000, 60)
    'encoding images of imagenet: 12,000 of 50,000, 200/s, 3 min left'
    """
    rate = done / seconds
    return f"{title}: {done:,} of {total:,}, {_rate(rate)}, {_duration((total - done) / rate)} left"


def _rate(rate: float) -> str:
    """Return a number of samples per second in words that show a slow one, too."""
    return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s"


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 100
        else f"{seconds / 60:.0f} min"
        if seconds < 6000
        else f"{seconds / 3600:.1f} h"
    )


class _Nothing:
    """Counts, and shows nothing."""

    def __init__(self, title: str, total: int) -> None:
        self._title, self._total, self.done = title, total, 0
        self._started = monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def advance(self, count: int) -> None:
        self.done += count


class _Lines(_Nothing):
    """A line per minute, from the second minute on."""

    def __init__(self, title: str, total: int) -> None:
        super().__init__(title, total)
        self._shown = self._started

    def advance(self, count: int) -> None:
        super().advance(count)
        now = monotonic()
        if now - self._shown < LINE_SECONDS or not self.done or self.done >= self._total:
            return
        self._shown = now
        # pytest has written the dots of earlier tests to this line.
        sys.stderr.write(f"\n{state_line(self._title, self.done, self._total, now - self._started)}\n")
        sys.stderr.flush()


class _Bar(_Nothing):
    """A rich progress bar that appears only if the work takes long."""

    def __init__(self, title: str, total: int) -> None:
        super().__init__(title, total)
        self._display: Progress | None = None

    def __exit__(self, *_: object) -> None:
        if self._display is not None:
            self._display.stop()

    def advance(self, count: int) -> None:
        super().advance(count)
        seconds = monotonic() - self._started
        if self._display is None and seconds > LONG_SECONDS:
            self._display = self._open()
        if self._display is not None:
            rate = _rate(self.done / seconds)
            self._display.update(self._display.task_ids[0], completed=self.done, rate=rate)

    def _open(self) -> Progress:
        display = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}", markup=False),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        display.add_task(self._title, total=self._total, rate="")
        display.start()
        return display
