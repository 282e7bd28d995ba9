"""Data sets stored already corrupted, as ImageNet-C and ImageNet-3DCC are: KIND/SEVERITY/CLASS/IMAGE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.datasets.sources.splits import no_such_split
from pytest_clip_robust.datasets.sources.walk import is_tool_path
from pytest_clip_robust.errors import DataError, did_you_mean
from pytest_clip_robust.names import SEVERITIES
from pytest_clip_robust.system.files import is_folder, user_path


def corrupted_kinds(entry: DataEntry) -> dict[str, tuple[int, ...]]:
    """Return the severities of every kind in the entry's folder; kinds can be in groups (``blur/KIND``).

    Raises:
        DataError: the folder has no kind, or two of one name, or the entry names a split that the folder does not have.
    """
    return {kind: severities for kind, (_, severities) in _kinds(entry).items()}


def corrupted_entry(entry: DataEntry, kind: str, severity: int) -> DataEntry:
    """Return the entry of the images of one kind at one severity.

    Raises:
        DataError: the folder does not have that kind or severity.
    """
    kinds = _kinds(entry)
    folder, severities = kinds.get(kind, (Path(), ()))
    if severity not in severities:
        raise DataError(
            f"data set {entry.name!r}: no severity {severity} of {kind!r} in {entry.location}"
            f"{did_you_mean(kind, set(kinds) - {kind})}"
        )
    name = f"{entry.name}.{kind}.{severity}"
    return replace(entry, name=name, location=str(folder / str(severity)), format="imagefolder", split="")


def check_same_images(sets: Sequence[ImageSet]) -> None:
    """Check that the severities of one kind have the same images and classes, as they are compared image by image.

    Raises:
        DataError: one has an image or a class that another one does not have; the message names it.
    """
    first = sets[0]
    of_first = {_stem(sample): first.class_ids[label] for sample, label in _labelled(first)}
    for other in sets[1:]:
        if other.class_ids != first.class_ids:
            missing = min({*first.class_ids} ^ {*other.class_ids})
            raise DataError(
                f"data sets {first.name!r} and {other.name!r} do not have the same classes, such as {missing!r}: "
                "complete the copy, or leave the kind out"
            )
        of_other = {_stem(sample): other.class_ids[label] for sample, label in _labelled(other)}
        different = sorted(set(of_first.items()) ^ set(of_other.items()))
        if different or len(other) != len(first):
            example = f", such as {different[0][0]!r}" if different else ""
            raise DataError(
                f"data sets {first.name!r} and {other.name!r} do not have the same images{example}: "
                f"{len(first)} and {len(other)} images; complete the copy, or leave the kind out"
            )


def _labelled(images: ImageSet) -> list[tuple[str, int]]:
    return list(zip(images.samples, images.labels.tolist(), strict=True))


def _stem(sample: str) -> str:
    return str(PurePosixPath(sample).with_suffix(""))


def _kinds(entry: DataEntry) -> dict[str, tuple[Path, tuple[int, ...]]]:
    """Return the folder and the severities of every kind."""
    root = user_path(entry.location)
    if entry.split and root.name != entry.split:
        root /= entry.split
        if not is_folder(root):
            raise no_such_split(entry, f"{entry.location} has no such folder")
    kinds: dict[str, tuple[Path, tuple[int, ...]]] = {}
    for pattern in ("*", "*/*"):
        for folder in sorted(root.glob(pattern)):
            severities = tuple(severity for severity in SEVERITIES if is_folder(folder / str(severity)))
            if not severities or is_tool_path(folder.relative_to(root)):
                continue
            other, _ = kinds.setdefault(folder.name, (folder, severities))
            if other != folder:
                raise DataError(
                    f"data set {entry.name!r}: {other} and {folder} are both called {folder.name!r}; rename one"
                )
    if not kinds:
        raise DataError(
            f"data set {entry.name!r}: {entry.location or 'no folder'} has no folders KIND/SEVERITY/CLASS/IMAGE; "
            "give the folder that contains the kinds, such as fog/3/n01440764"
        )
    return kinds
