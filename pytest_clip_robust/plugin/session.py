"""Session of a pytest run: created when the first test asks for a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_clip_robust.core.summary import RunSummary, merge_summaries
from pytest_clip_robust.plugin.keys import RUN, SESSION, TURNS
from pytest_clip_robust.system.garbage import loading_what_stays
from pytest_clip_robust.system.quiet import quiet

if TYPE_CHECKING:
    from pytest_clip_robust.evaluation.session import Session


def summarise(config: pytest.Config) -> RunSummary:
    """Return what this process has loaded and encoded so far."""
    if SESSION not in config.stash:
        return merge_summaries([])
    return config.stash[SESSION].summary()


def session_of(config: pytest.Config) -> Session:
    """Return the run's session; creating it imports torch."""
    with quiet():
        from pytest_clip_robust.evaluation.session import Session  # noqa: PLC0415

    if SESSION not in config.stash:
        worker = getattr(config, "workerinput", {})
        config.stash[SESSION] = Session(
            config.stash[RUN],
            uncaptured=_uncaptured(config),
            lock_folder=Path(worker[TURNS]) if TURNS in worker else None,
            processes=worker.get("workercount", 1),
            quiet=config.get_verbosity() < 0,
            loading=loading_what_stays,
        )
    return config.stash[SESSION]


def _uncaptured(config: pytest.Config) -> Callable[[], AbstractContextManager[None]]:
    """Return a context in which output passes pytest's capture, so that the progress of long work is visible."""

    @contextmanager
    def opened() -> Iterator[None]:
        capture = config.pluginmanager.getplugin("capturemanager")
        if capture is None or not config.pluginmanager.hasplugin("terminalreporter"):
            yield
            return
        with capture.global_and_fixture_disabled():
            yield

    return opened
