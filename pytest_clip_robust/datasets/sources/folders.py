"""Folders of image files: one folder per class, images of one class, and cue conflicts by file name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.images.cue_names import read_cues
from pytest_clip_robust.datasets.images.depth import SUFFIXES as DEPTH_SUFFIXES
from pytest_clip_robust.datasets.images.labels import ClassList, canonical, entry_classes
from pytest_clip_robust.datasets.sources.rows import DepthRows, FileReader, Label, Rows, file_rows, file_stamps
from pytest_clip_robust.datasets.sources.splits import is_split_name
from pytest_clip_robust.datasets.sources.walk import TEXT_SUFFIXES, Walk, refuse_unreadable
from pytest_clip_robust.errors import DataError, did_you_mean
from pytest_clip_robust.system.files import is_file, user_path
from pytest_clip_robust.system.text import printable

TABLES = ("metadata.csv", "labels.csv", "metadata.jsonl", "metadata.parquet")


def class_folders(entry: DataEntry, found: Walk, *, labelled: bool) -> Rows:
    """Read images laid out as CLASS/IMAGE; `found` is what is in the entry's folder.

    A class is the folder that its images are in; with `labelled`, an empty folder is a class without images.

    Raises:
        DataError: an image cannot be read or is not in a class folder, or it is not clear which folders are classes.
    """
    root = Path(entry.location)
    left_out = _left_out(entry, root, found)
    found = _without(found, left_out)
    refuse_unreadable(entry, found)
    _refuse_stray_images(entry, root, found)
    folders = list(dict.fromkeys(str(PurePosixPath(image).parent) for image in found.images))
    empty, rest = _folders_without_images(entry, found, folders) if labelled else ([], [])
    label_of = _class_labels(entry, [*folders, *empty], labelled=labelled)
    rows = file_rows(found.images, [str(root / image) for image in found.images], origin=str(root))
    return replace(
        rows,
        labels=[label_of[str(PurePosixPath(image).parent)] for image in found.images],
        names=tuple(sorted(set(label_of.values()))),
        depth=depth_files(entry, found.images),
        left_out=frozenset(map(canonical, entry.exclude)),
        remarks=(
            *_empty_remarks(entry, empty, rest),
            *_nested_remarks(entry, label_of),
            *_ignored_remarks(entry, found),
        ),
    )


def flat_folder(entry: DataEntry, found: Walk) -> Rows:
    """Read every image of a folder, at any depth, as one class.

    Raises:
        DataError: an image cannot be read.
    """
    root = Path(entry.location)
    refuse_unreadable(entry, found)
    rows = file_rows(found.images, [str(root / sample) for sample in found.images], origin=str(root))
    return replace(rows, labels=[entry.name] * len(rows), depth=depth_files(entry, found.images))


def kind_of_images(entry: DataEntry, images: Sequence[str]) -> str:
    """Return ``cue-conflict`` if all images are named SHAPE1-TEXTURE2, else ``imagefolder``.

    Names such as ``frame1-view2`` have the same form; but there, shapes and textures are not the same classes.

    Raises:
        DataError: all images are named so, but their folders could be other classes.
    """
    cues = [read_cues(image) for image in images]
    named = [one for one in cues if one is not None]
    if len(named) < len(images) or not {one.shape for one in named} & {one.texture for one in named}:
        return "imagefolder"
    for image, one in zip(images, named, strict=True):
        folder = PurePosixPath(image).parent.name
        if folder and folder.lower() != one.shape and not is_split_name(folder):
            raise DataError(
                f"data set {entry.name!r}: {printable(image)!r} could be of class {printable(folder)!r} or a cue "
                "conflict; add ?format=imagefolder or format=cue-conflict"
            )
    return "cue-conflict"


def cue_conflicts(entry: DataEntry, found: Walk) -> Rows:
    """Read images named SHAPE1-TEXTURE2, in one folder or in folders of any name.

    Raises:
        DataError: a file has another name, or an image cannot be read.
    """
    root = Path(entry.location)
    refuse_unreadable(entry, found)
    paths = [root / image for image in found.images]
    shapes: list[Label] = []
    textures: list[Label] = []
    for path in paths:
        cues = read_cues(path.name)
        if cues is None:
            raise DataError(
                f"data set {entry.name!r}: the name of {path} is not of the form SHAPE1-TEXTURE2, "
                "such as airplane1-bicycle2.png"
            )
        shapes.append(cues.shape)
        textures.append(cues.texture)
    rows = file_rows([path.name for path in paths], [str(path) for path in paths], origin=str(root))
    return replace(rows, labels=shapes, textures=textures)


def depth_files(entry: DataEntry, samples: Sequence[str]) -> DepthRows | None:
    """Return the depth map of every image from the folder that the entry names; None if it names none.

    Raises:
        DataError: an image has no depth map there, or has several.
    """
    if not entry.depth:
        return None
    folder = user_path(entry.depth)
    paths = []
    for sample in samples:
        places = [folder / Path(sample).with_suffix(suffix) for suffix in DEPTH_SUFFIXES]
        found = [place for place in places if is_file(place)]
        if not found:
            raise DataError(f"data set {entry.name!r}: no depth map {places[0]} for {sample!r}")
        if len(found) > 1:
            raise DataError(f"data set {entry.name!r}: {sample!r} has two depth maps, {found[0]} and {found[1].name}")
        paths.append(str(found[0]))
    return DepthRows(FileReader(paths), file_stamps(paths))


def _refuse_stray_images(entry: DataEntry, root: Path, found: Walk) -> None:
    stray = next((image for image in found.images if "/" not in image), None)
    if stray is None:
        return
    table = next((name for name in TABLES if name in found.others and not name.endswith(".parquet")), None)
    way_out = "lay images out as CLASS/IMAGE" + (f", or name the table with ?table={table}" if table else "")
    raise DataError(f"data set {entry.name!r}: {printable(str(root / stray))} is not in a class folder; {way_out}")


def _left_out(entry: DataEntry, root: Path, found: Walk) -> list[str]:
    """Return the folders that are not read: those of excluded classes, by path or name, and that of the depth maps.

    Raises:
        DataError: neither a folder nor a class of the entry's list has the name.
    """
    depth = user_path(entry.depth).absolute() if entry.depth else None
    folders = [depth.relative_to(root).as_posix()] if depth is not None and root in depth.parents else []
    for name in map(canonical, entry.exclude):
        named = [one for one in found.folders if name in {canonical(one), canonical(PurePosixPath(one).name)}]
        known = entry_classes(entry)
        if not named and (known is None or known.find(name) is None):
            near = did_you_mean(name, {PurePosixPath(one).name for one in found.folders})
            raise DataError(f"data set {entry.name!r}: exclude has {printable(name)!r}, but it has no such class{near}")
        folders += named
    return folders


def _without(found: Walk, folders: Sequence[str]) -> Walk:
    inside = tuple(f"{folder}/" for folder in folders)
    if not inside:
        return found
    kept = ([one for one in paths if not f"{one}/".startswith(inside)] for paths in _paths(found))
    return Walk(*kept)


def _paths(found: Walk) -> tuple[list[str], list[str], list[str], list[str]]:
    return found.images, found.others, found.dead, found.folders


def _folders_without_images(entry: DataEntry, found: Walk, folders: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the empty folders that are where class folders are, and the other outermost folders without images.

    Raises:
        DataError: such a folder has files, but none of them is an image or a text about images.
    """
    depths = {folder.count("/") for folder in folders}
    used = {str(parent) for path in found.images for parent in PurePosixPath(path).parents}
    empty: list[str] = []
    rest: list[str] = []
    for folder in found.folders:
        inside_one = folder.startswith(tuple(f"{one}/" for one in (*empty, *rest)))
        if folder in used or inside_one or folder.count("/") > max(depths, default=0):
            continue
        files = [path for path in found.others if path.startswith(f"{folder}/")]
        unknown = next((path for path in files if PurePosixPath(path).suffix.lower() not in TEXT_SUFFIXES), None)
        if unknown is not None:
            raise DataError(
                f"data set {entry.name!r}: folder {printable(folder)!r} has no image, only files such as "
                f"{printable(PurePosixPath(unknown).name)!r}: add its images, or leave it out with exclude"
            )
        has_folders = any(one.startswith(f"{folder}/") for one in found.folders)
        if not files and folder.count("/") in depths:
            empty.append(folder)
        elif files or not has_folders:
            rest.append(folder)
    return empty, rest


def _class_labels(entry: DataEntry, folders: Sequence[str], *, labelled: bool) -> dict[str, str]:
    """Return the label of every class folder: its own name, or its path where the entry's list of classes has that.

    Raises:
        DataError: two folders of one name could be one class or two, or a class folder is in another one.
    """
    known = entry_classes(entry)
    if known is not None:
        return {folder: _listed_label(folder, known) for folder in folders}
    by_name: dict[str, dict[str, str]] = {}
    for folder in folders:
        by_name.setdefault(canonical(PurePosixPath(folder).name), {})[canonical(folder)] = folder
    same = next((list(paths.values()) for paths in by_name.values() if len(paths) > 1), None)
    if same is None:
        if labelled:
            _refuse_class_in_class(entry, folders)
        return {folder: canonical(PurePosixPath(folder).name) for folder in folders}
    if not labelled:
        return {folder: canonical(folder) for folder in folders}
    name = PurePosixPath(same[0]).name
    raise DataError(
        f"data set {entry.name!r}: folders {printable(same[0])!r} and {printable(same[1])!r} could be one class or "
        f"two; list the classes with classes=: {printable(name)!r} for one, {printable(same[0])!r} and so on for two"
    )


def _listed_label(folder: str, classes: ClassList) -> str:
    spellings = (folder, folder.replace("/", " "), PurePosixPath(folder).name)
    return next((one for one in spellings if classes.find(one) is not None), folder if "/" in folder else spellings[-1])


def _refuse_class_in_class(entry: DataEntry, folders: Sequence[str]) -> None:
    known = set(folders)
    for folder in folders:
        outer = next((str(parent) for parent in PurePosixPath(folder).parents if str(parent) in known), None)
        if outer is not None:
            raise DataError(
                f"data set {entry.name!r}: folder {printable(outer)!r} has images and a folder of images "
                f"{printable(folder)!r}: move one of them, exclude one, or list the classes with classes="
            )


def _empty_remarks(entry: DataEntry, empty: Sequence[str], rest: Sequence[str]) -> Iterable[str]:
    if empty:
        counted = "" if entry.classes else "; they count as classes without images, and exclude leaves them out"
        yield (
            f"data set {entry.name!r}: class folders without images: {len(empty)}, such as "
            f"{printable(empty[0])!r}{counted}"
        )
    if rest:
        yield (
            f"data set {entry.name!r}: folders without images that are not classes: {len(rest)}, such as "
            f"{printable(rest[0])!r}"
        )


def _nested_remarks(entry: DataEntry, label_of: Mapping[str, str]) -> Iterable[str]:
    first: dict[str, str] = {}
    for folder, label in label_of.items():
        other = first.setdefault(label, folder)
        if canonical(other) != canonical(folder):
            both = f"{printable(other)!r} and {printable(folder)!r} are both read as class {printable(label)!r}"
            yield f"data set {entry.name!r}: folders {both}; give the location of one of them if they are splits"
            return
    parents = {str(PurePosixPath(folder).parent) for folder in label_of}
    if len(parents) > 1 and not entry.classes and not all(_is_index_letter(folder) for folder in label_of):
        nested = next(folder for folder in label_of if "/" in folder)
        yield (
            f"data set {entry.name!r}: classes are named by their innermost folders, such as "
            f"{printable(PurePosixPath(nested).name)!r} for {printable(nested)!r}; classes=FILE gives other names"
        )


def _is_index_letter(folder: str) -> bool:
    """Return whether a class folder is below the first letter of its name, as in SUN397: ``a/abbey``."""
    letter, _, name = folder.rpartition("/")
    return len(letter) == 1 and name[:1].lower() == letter.lower()


def _ignored_remarks(entry: DataEntry, found: Walk) -> Iterable[str]:
    unknown = [path for path in found.others if PurePosixPath(path).suffix.lower() not in TEXT_SUFFIXES]
    if unknown:
        yield (
            f"data set {entry.name!r}: {len(unknown)} files are not read as images, such as {printable(unknown[0])!r}"
        )
