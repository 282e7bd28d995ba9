"""Recorder: writes the baselines of a run once, in the process that receives every test's report."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pytest_clip_robust.errors import BaselineError
from pytest_clip_robust.gates.baseline_files import Update, record, unpack
from pytest_clip_robust.system.notice import Notice, log_notice


class Recorder:
    """Collects updates while tests report and writes them at the end; `failed` is whether any could not be written."""

    def __init__(self) -> None:
        self.failed = False
        self._updates: dict[Path, dict[str, Update]] = {}
        self._clashes: list[str] = []

    def take(self, packed: Iterable[dict[str, Any]]) -> None:
        """Collect the packed updates of a test's report."""
        for update in map(unpack, packed):
            known = self._updates.setdefault(update.path, {})
            if known.get(update.key, update).entry != update.entry:
                self._clashes.append(f"{update.key} in {update.path.name}")
            known[update.key] = update

    def write(self, *, seen_from: Path, notice: Notice = log_notice) -> list[str]:
        """Write every file that changes, and return one line about each; `notice` announces a long wait."""
        lines = []
        for path, updates in sorted(self._updates.items()):
            try:
                record(path, updates.values(), notice=notice)
            except BaselineError as error:
                self.failed = True
                lines.append(str(error))
            else:
                entries = "1 entry" if len(updates) == 1 else f"{len(updates)} entries"
                lines.append(f"recorded {entries} in {os.path.relpath(path, seen_from)}")
        if self._clashes:
            self.failed = True
            lines.append(
                f"baselines: two tests measured {self._clashes[0]} with different results; rename one of the metrics"
            )
        return lines
