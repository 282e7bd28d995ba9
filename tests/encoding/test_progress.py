from __future__ import annotations

import contextlib
import io
import re

import pytest

from pytest_clip_robust.system import progress as progress_module
from pytest_clip_robust.system.progress import show_progress, state_line


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    return Terminal()


@pytest.fixture
def clock(monkeypatch):
    """Replace the clock by one that the test sets."""
    now = [0.0]
    monkeypatch.setattr(progress_module, "monotonic", lambda: now[0])
    return now


def work(clock, notices, *, seconds, stderr, whole="imagenet", quiet=False):
    # Redirected here and not in a fixture, because pytest replaces stderr between setup and call.
    with (
        contextlib.redirect_stderr(stderr),
        show_progress("images", whole, 1000, notice=notices.append, quiet=quiet) as advance,
    ):
        clock[0] = seconds
        advance(400)
        advance(600)


def test_long_work_ends_in_one_line(clock, notices):
    work(clock, notices, seconds=12.0, stderr=io.StringIO())
    assert notices == ["encoded 1,000 images of imagenet in 12 s (83/s)"]


def test_short_work_says_nothing(clock, notices, terminal):
    work(clock, notices, seconds=0.9, stderr=terminal)
    assert notices == []
    assert terminal.getvalue() == ""


def test_long_work_shows_a_bar_at_a_terminal(clock, notices, terminal):
    work(clock, notices, seconds=12.0, stderr=terminal)
    assert "encoding images of imagenet" in terminal.getvalue()
    assert "1000/1000" in terminal.getvalue()


def test_a_bar_shows_the_rate_and_the_time_that_is_left(clock, terminal):
    with contextlib.redirect_stderr(terminal), show_progress("images", "imagenet", 1000) as advance:
        clock[0] = 4.0
        advance(400)
    assert "400/1000 100/s" in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())


def test_a_log_has_a_line_per_minute(clock, notices):
    stderr = io.StringIO()
    with contextlib.redirect_stderr(stderr), show_progress("images", "imagenet", 50_000) as advance:
        for second in range(0, 250, 10):
            clock[0] = float(second)
            advance(2000)
    assert stderr.getvalue().split("\n") == [
        "", "encoding images of imagenet: 14,000 of 50,000, 233/s, 3 min left",
        "", "encoding images of imagenet: 26,000 of 50,000, 217/s, 2 min left",
        "", "encoding images of imagenet: 38,000 of 50,000, 211/s, 57 s left", "",
    ]  # fmt: skip


def test_quiet_runs_show_nothing_and_still_send_their_line(clock, notices, terminal, monkeypatch):
    work(clock, notices, seconds=700.0, stderr=terminal, quiet=True)
    monkeypatch.setenv("CI", "true")
    work(clock, notices, seconds=1400.0, stderr=terminal, quiet=True)
    assert terminal.getvalue() == ""
    assert len(notices) == 2


@pytest.mark.parametrize(
    ("done", "seconds", "words"),
    [(1, 60, "1 of 1,000, 0.017/s, 16.6 h left"), (999, 60, "999 of 1,000, 17/s, 0 s left"),
     (10, 60, "10 of 1,000, 0.17/s, 99 min left")],
)  # fmt: skip
def test_slow_work_has_a_rate_as_well(done, seconds, words):
    assert state_line("encoding", done, 1000, seconds) == f"encoding: {words}"


def test_no_bar_is_shown_if_ci_is_set(clock, notices, terminal, monkeypatch):
    monkeypatch.setenv("CI", "true")
    work(clock, notices, seconds=12.0, stderr=terminal)
    assert terminal.getvalue() == ""
    assert len(notices) == 1


def test_no_bar_is_shown_if_stderr_is_not_a_terminal(clock, notices, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    stderr = io.StringIO()
    work(clock, notices, seconds=12.0, stderr=stderr)
    assert stderr.getvalue() == ""


def test_failed_work_sends_no_line_and_restores_the_terminal(clock, notices, terminal):
    with (
        contextlib.suppress(KeyboardInterrupt),
        contextlib.redirect_stderr(terminal),
        show_progress("images", "imagenet", 10, notice=notices.append) as advance,
    ):
        clock[0] = 5.0
        advance(1)
        raise KeyboardInterrupt
    assert notices == []
    hide_cursor, show_cursor = "\x1b[?25l", "\x1b[?25h"
    assert terminal.getvalue().index(hide_cursor) < terminal.getvalue().index(show_cursor)


def test_control_characters_in_a_name_are_escaped(clock, notices, terminal):
    work(clock, notices, seconds=12.0, stderr=terminal, whole="\x1b[2J[bold]x[/nonsense]")
    assert "\\x1b[2J[bold]x[/nonsense]" in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    assert "\x1b" not in notices[0]
