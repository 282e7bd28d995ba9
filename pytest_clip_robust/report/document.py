"""report.json: everything a run found, for machines."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pytest_clip_robust import __version__
from pytest_clip_robust.config import RunConfig
from pytest_clip_robust.errors import ConfigError
from pytest_clip_robust.gates import Verdict
from pytest_clip_robust.gates.record import Record
from pytest_clip_robust.report.summary import RunSummary

SCHEMA = 2
PACKAGES = ("torch", "open_clip_torch", "timm", "transformers", "datasets", "numpy", "scipy", "pytest")


def build_document(run: RunConfig, records: list[Record], summary: RunSummary, *, exitstatus: int) -> dict[str, Any]:
    """Put a run together; `gates` are sorted by test, so that two reports differ only where the runs do."""
    return {
        "schema": SCHEMA,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "exit_status": exitstatus,
        "versions": _versions(),
        "profile": run.profile.name,
        "precision": run.precision,
        "alpha": run.alpha,
        "reference": "" if run.reference is None else run.reference.label,
        "models": summary["models"],
        "data": summary["data"],
        "encoded": {"images": summary["images_encoded"], "texts": summary["texts_encoded"]},
        "notices": summary["notices"],
        "verdicts": {str(v): sum(record["verdict"] == v for record in records) for v in Verdict},
        "gates": sorted(records, key=lambda record: (record["test"], record["measurement"])),
    }


def write_document(document: dict[str, Any], path: Path) -> None:
    """Write `document` whole or not at all.

    Raises:
        ConfigError: the folder cannot be written.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise ConfigError(f"--clip-report {path.parent}: cannot write report.json: {error}") from error


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "platform": sys.platform, "pytest-clip-robust": __version__}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
