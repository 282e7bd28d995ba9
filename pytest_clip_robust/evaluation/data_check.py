"""Check the data sets of a profile: which are there, which are missing, and how to get those."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from pytest_clip_robust.config.profile import Profile
from pytest_clip_robust.core.data_checks import CheckedSet, Presence
from pytest_clip_robust.datasets.captions.captions import load_caption_set
from pytest_clip_robust.datasets.captions.contrasts import load_contrast_set
from pytest_clip_robust.datasets.checking import check_entry, is_hub_name
from pytest_clip_robust.datasets.correspondence.keypoints import load_keypoint_set
from pytest_clip_robust.datasets.correspondence.views import load_view_set
from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.images.corrupted_folders import corrupted_kinds
from pytest_clip_robust.datasets.images.counting import count_images
from pytest_clip_robust.datasets.questions.questions import load_question_set
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.names import SEVERITIES

Described = tuple[str, int]
"""What is there, and the number of images, 0 if the published set's is not compared."""


def check_data(profile: Profile, *, cache: Path | None) -> Iterator[CheckedSet]:
    """Yield the check of every data set that has a role, in the order of the profile.

    Local copies are listed, and their labels and annotations compared with the list of classes; images of sets for
    classification are not read, those of other sets are, to identify them. What the hub has is not asked for.

    cache: a local folder for what `datasets` prepares and for digests, or None.
    """
    roles: dict[str, list[str]] = {}
    for role, names in profile.roles.items():
        for name in names:
            roles.setdefault(name, []).append(role)
    for name, of_set in roles.items():
        yield check_set(profile.data[name], tuple(of_set), cache=cache and cache / "data")


def check_set(entry: DataEntry, roles: tuple[str, ...], *, cache: Path | None) -> CheckedSet:
    """Return the check of one data set; see `check_data`."""
    presence, found = _look(entry, roles, cache)
    hint = "" if presence in {Presence.THERE, Presence.HUB} else _hint(entry)
    return CheckedSet(name=entry.name, roles=roles, presence=presence, found=found, hint=hint, licence=entry.licence)


def _look(entry: DataEntry, roles: tuple[str, ...], cache: Path | None) -> tuple[Presence, str]:
    if not entry.location:
        return Presence.MISSING, "no location"
    try:
        check_entry(entry)
    except DataError as error:
        return Presence.MISSING, _without_name(str(error), entry)
    if is_hub_name(entry):
        return Presence.HUB, f"{entry.location}, read from there when it is needed"
    try:
        described = dict.fromkeys(_describer(role)(entry, role, cache) for role in roles)
    except DataError as error:
        return Presence.DAMAGED, _without_name(str(error), entry)
    found = "; ".join(text for text, _ in described)
    sizes = {images for _, images in described if images}
    if entry.size and sizes and sizes != {entry.size}:
        return Presence.DIFFERS, f"{found}; the published set has {entry.size:,} images"
    return Presence.THERE, found


def _describer(role: str) -> Callable[[DataEntry, str, Path | None], Described]:
    return _DESCRIBERS.get(role, _images)


def _images(entry: DataEntry, role: str, cache: Path | None) -> Described:
    counted = count_images(entry, cache_dir=cache, prompted=role != "ood")
    text = f"{counted.images:,} images"
    if role != "ood":
        text += f", {counted.classes:,} classes"
        if counted.used < counted.classes:
            text += f" of which {counted.used:,} have images"
    if role == "factors":
        if not counted.factors:
            raise DataError(
                "no image has annotations of visual factors; name them with ?annotations=FILE, or use a table"
            )
        text += f", {counted.factors} factors"
    return text, counted.images


def _corrupted(entry: DataEntry, _role: str, _cache: Path | None) -> Described:
    kinds = corrupted_kinds(entry)
    partial = [kind for kind, severities in kinds.items() if tuple(severities) != SEVERITIES]
    text = f"{len(kinds)} kinds"
    if partial:
        text += f", {len(partial)} of them without all severities, such as {partial[0]}"
    return text, 0


def _captions(entry: DataEntry, _role: str, cache: Path | None) -> Described:
    found = load_caption_set(entry, cache_dir=cache)
    return f"{len(found.images):,} images, {len(found.captions):,} captions", len(found.images)


def _composition(entry: DataEntry, _role: str, cache: Path | None) -> Described:
    found = load_contrast_set(entry, cache_dir=cache)
    return f"{len(found.images):,} images, {len(found.texts):,} captions", len(found.images)


def _attacked(entry: DataEntry, _role: str, cache: Path | None) -> Described:
    found = load_contrast_set(entry, cache_dir=cache)
    return f"{len(found.images):,} images, {len(found.texts):,} names and words", len(found.images)


def _views(entry: DataEntry, _role: str, cache: Path | None) -> Described:
    found = load_view_set(entry, cache_dir=cache)
    return f"{len(found.images):,} views, {len(found.pairs):,} pairs", 0


def _keypoints(entry: DataEntry, _role: str, cache: Path | None) -> Described:
    found = load_keypoint_set(entry, cache_dir=cache)
    return f"{len(found.images):,} images, {len(found.pairs):,} pairs", 0


def _questions(entry: DataEntry, _role: str, cache: Path | None) -> Described:
    found = load_question_set(entry, cache_dir=cache)
    return f"{len(found.images):,} images, {len(found):,} questions", 0


_DESCRIBERS: Mapping[str, Callable[[DataEntry, str, Path | None], Described]] = {
    "corrupted": _corrupted,
    "captions": _captions,
    "attacked": _attacked,
    "composition": _composition,
    "views": _views,
    "keypoints": _keypoints,
    "questions": _questions,
}
"""Readers of the roles that are not for plain images."""


def _hint(entry: DataEntry) -> str:
    option = f"name it with --clip-data {entry.name}=/path"
    if not entry.hint:
        return option
    return entry.hint if "--clip-data" in entry.hint else f"{entry.hint}; {option}"


def _without_name(message: str, entry: DataEntry) -> str:
    """Return an error's message without the name of the set, which the table shows."""
    return message.removeprefix(f"data set {entry.name!r}").removeprefix(":").strip()
