"""Sets that are corrupted already, as ImageNet-C and ImageNet-3DCC lie on disk: KIND/SEVERITY/CLASS/IMAGE."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.errors import DataError, did_you_mean
from pytest_clip_robust.names import SEVERITIES


def corrupted_kinds(entry: DataEntry) -> dict[str, tuple[int, ...]]:
    """Return the severities of every kind that lies in the entry's folder, or in groups of kinds there (``blur/``).

    Raises:
        DataError: the folder has none.
    """
    root = Path(entry.location).expanduser()
    kinds = {
        folder.name: severities
        for pattern in ("*", "*/*")
        for folder in sorted(root.glob(pattern))
        if (severities := tuple(s for s in SEVERITIES if (folder / str(s)).is_dir()))
    }
    if not kinds:
        raise DataError(
            f"data set {entry.name!r}: {entry.location or 'no folder'} holds no KIND/SEVERITY/CLASS/IMAGE; "
            "give the folder that has the kinds, such as fog/3/n01440764"
        )
    return kinds


def corrupted_entry(entry: DataEntry, kind: str, severity: int) -> DataEntry:
    """Return the entry of the images of one kind at one severity.

    Raises:
        DataError: the folder has not that kind or severity.
    """
    kinds = corrupted_kinds(entry)
    if severity not in kinds.get(kind, ()):
        raise DataError(
            f"data set {entry.name!r}: no severity {severity} of {kind!r} in {entry.location}"
            f"{did_you_mean(kind, set(kinds) - {kind})}"
        )
    root = Path(entry.location).expanduser()
    folder = next(place for pattern in ("*", "*/*") for place in sorted(root.glob(pattern)) if place.name == kind)
    return replace(
        entry, name=f"{entry.name}.{kind}.{severity}", location=str(folder / str(severity)), format="imagefolder"
    )
