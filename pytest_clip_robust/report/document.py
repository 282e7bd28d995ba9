"""report.json: everything a run measured and judged, for machines."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict

from pytest_clip_robust.core.finding import FindingRecord, FindingResult, finding_record
from pytest_clip_robust.core.plain import read_value
from pytest_clip_robust.core.summary import RunSummary
from pytest_clip_robust.errors import ReportError, shown
from pytest_clip_robust.gates import Conclusion, Verdict
from pytest_clip_robust.gates.record import Record
from pytest_clip_robust.system.files import read_json, write_whole
from pytest_clip_robust.system.versions import installed_versions

SCHEMA = 7
"""7: a change has the `plot` of the baseline, a gate has `pairs`, and a panel has `findings`."""

PACKAGES = ("torch", "open_clip_torch", "timm", "transformers", "datasets", "numpy", "scipy", "pytest")


class Encoded(TypedDict):
    """The numbers of images and texts that the run encoded, and of answers that it was given; others were stored."""

    images: int
    texts: int
    answers: int


class NotApplicableTests(TypedDict):
    """Tests that do not apply to a model, which `reason` names."""

    reason: str
    tests: int


class Document(TypedDict):
    """The content of report.json.

    created: ISO 8601, in UTC. alpha, correction, headline_share: the level of the decision on all gates; see
    `gates.families`. reference: a model spec, or ``""``. conclusions: the result of each model.
    models, data: what was loaded, by name, with digests. verdicts: how many gates got each. gates: sorted by test.
    findings: those on the panel of a run with ``--clip-panel``, in the order of the study; empty for other runs.
    """

    schema: int
    created: str
    exit_status: int
    versions: dict[str, str]
    profile: str
    precision: str
    alpha: float
    correction: str
    headline_share: float
    reference: str
    conclusions: list[Conclusion]
    models: dict[str, dict[str, Any]]
    data: dict[str, dict[str, Any]]
    encoded: Encoded
    not_applicable: list[NotApplicableTests]
    notices: list[str]
    verdicts: dict[str, int]
    gates: list[Record]
    findings: list[FindingRecord]


def build_document(
    records: list[Record],
    summary: RunSummary,
    *,
    profile: str,
    precision: str,
    alpha: float,
    correction: str,
    headline_share: float,
    conclusions: list[Conclusion],
    reference: str,
    exit_status: int,
    not_applicable: Mapping[str, int],
    findings: Iterable[FindingResult] = (),
) -> Document:
    """Return the document of a run; two documents differ only where the runs do, and in `created`."""
    return {
        "schema": SCHEMA,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "exit_status": exit_status,
        "versions": package_versions(),
        "profile": profile,
        "precision": precision,
        "alpha": alpha,
        "correction": correction,
        "headline_share": headline_share,
        "reference": reference,
        "conclusions": conclusions,
        "models": summary["models"],
        "data": summary["data"],
        "encoded": {
            "images": summary["images_encoded"],
            "texts": summary["texts_encoded"],
            "answers": summary["answers_given"],
        },
        "not_applicable": [{"reason": reason, "tests": tests} for reason, tests in sorted(not_applicable.items())],
        "notices": summary["notices"],
        "verdicts": {str(v): sum(record["verdict"] == v for record in records) for v in Verdict},
        "gates": sorted(records, key=lambda record: (record["test"], record["measurement"])),
        "findings": [finding_record(one) for one in findings],
    }


def write_document(document: Document, path: Path) -> None:
    """Write `document` whole or not at all.

    Raises:
        ReportError: the folder cannot be written.
    """
    text = json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n"
    try:
        write_whole(path, text.encode())
    except OSError as error:
        raise ReportError(f"--clip-report {path.parent}: cannot write report.json: {error}") from error


def find_report(path: Path) -> Path:
    """Return the report.json that a path names: the file itself, or that in a folder of ``--clip-report``."""
    return path / "report.json" if path.is_dir() else path


def read_report(path: Path) -> Document:
    """Return the content of a report.json.

    Raises:
        ReportError: the file cannot be read, is of another schema, or a value in it is missing or of the wrong type.
    """
    content = read_json(path, dict, "report", error=ReportError)
    if content.get("schema") != SCHEMA:
        raise ReportError(
            f"report {path} has schema {shown(content.get('schema'))}, and this version reads {SCHEMA}; "
            "run again with --clip-report"
        )
    try:
        document: Document = read_value(Document, content, where="", error=ReportError)
    except ReportError as error:
        raise ReportError(f"report {path}: {error}") from None
    return document


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide results, and the platform."""
    return {"python": platform.python_version(), "platform": sys.platform} | installed_versions(PACKAGES)
