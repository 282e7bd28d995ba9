"""Data sets stored already corrupted, as ImageNet-C and ImageNet-3DCC are: KIND/SEVERITY/CLASS/IMAGE."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.errors import DataError, did_you_mean
from pytest_clip_robust.names import SEVERITIES


def corrupted_kinds(entry: DataEntry) -> dict[str, tuple[int, ...]]:
    """Return the severities of every kind in the entry's folder; kinds can be in groups (``blur/KIND``).

    Raises:
        DataError: the folder has no kind.
    """
    root = Path(entry.location).expanduser()
    kinds: dict[str, tuple[int, ...]] = {
        folder.name: severities
        for pattern in ("*", "*/*")
        for folder in sorted(root.glob(pattern))
        if (severities := tuple(s for s in SEVERITIES if (folder / str(s)).is_dir()))
    }
    if not kinds:
        raise DataError(
            f"data set {entry.name!r}: {entry.location or 'no folder'} has no folders KIND/SEVERITY/CLASS/IMAGE; "
            "give the folder that contains the kinds, such as fog/3/n01440764"
        )
    return kinds


def corrupted_entry(entry: DataEntry, kind: str, severity: int) -> DataEntry:
    """Return the entry of the images of one kind at one severity.

    Raises:
        DataError: the folder does not have that kind or severity.
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
