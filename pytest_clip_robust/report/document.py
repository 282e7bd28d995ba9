"""report.json: everything a run found, for machines."""

from __future__ import annotations

import json
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pytest_clip_robust.config.run import RunConfig
from pytest_clip_robust.core.summary import RunSummary
from pytest_clip_robust.errors import ConfigError
from pytest_clip_robust.gates import Verdict
from pytest_clip_robust.gates.record import Record
from pytest_clip_robust.system.files import write_whole
from pytest_clip_robust.system.versions import installed_versions

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
    text = json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n"
    try:
        write_whole(path, text.encode())
    except OSError as error:
        raise ConfigError(f"--clip-report {path.parent}: cannot write report.json: {error}") from error


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), "platform": sys.platform} | installed_versions(PACKAGES)
