"""Writes the baselines that a run recorded, once, from the one process that saw every test's report."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pytest_clip_robust.errors import BaselineError
from pytest_clip_robust.gates.baseline_files import Update, record, unpack


class Recorder:
    """Gathers updates while tests report, and writes them when all is over; `failed` tells whether any got lost."""

    def __init__(self) -> None:
        self.failed = False
        self._updates: dict[Path, dict[str, Update]] = {}
        self._clashes: list[str] = []

    def take(self, parcels: Iterable[dict[str, Any]]) -> None:
        """Gather the updates of a test's report."""
        for update in map(unpack, parcels):
            known = self._updates.setdefault(update.path, {})
            if known.get(update.key, update).entry != update.entry:
                self._clashes.append(f"{update.key} in {update.path.name}")
            known[update.key] = update

    def write(self, *, seen_from: Path) -> list[str]:
        """Write every file that changes, and say so in a line each."""
        lines = []
        for path, updates in sorted(self._updates.items()):
            try:
                record(path, updates.values())
            except BaselineError as error:
                self.failed = True
                lines.append(str(error))
            else:
                entries = "1 entry" if len(updates) == 1 else f"{len(updates)} entries"
                lines.append(f"recorded {entries} in {os.path.relpath(path, seen_from)}")
        if self._clashes:
            self.failed = True
            lines.append(f"baselines: two tests measured {self._clashes[0]} differently; give one another metric id")
        return lines
