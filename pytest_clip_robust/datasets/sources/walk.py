"""Files below a folder, without those that systems and tools leave there."""

from __future__ import annotations

import glob
import os
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from PIL import Image

from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.sources.rows import IMAGE_SUFFIXES
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.system.files import is_file
from pytest_clip_robust.system.text import one_line, printable

TOOL_NAMES = frozenset(
    {
        "__macosx",
        "__pycache__",
        "@eadir",
        "@recycle",
        "@tmp",
        "#recycle",
        "#snapshot",
        "$recycle.bin",
        "system volume information",
        "lost+found",
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "network trash folder",
        "temporary items",
        "icon\r",
    }
)
"""Names in lower case of folders and files that file managers, archivers and network drives write."""

TOOL_STARTS = ("datasets--", "models--", "spaces--")
"""Beginnings of the names of folders in the cache of the Hub."""

TOOL_ENDINGS = ("@synoeastream", "@synoresource", "~")
TEXT_SUFFIXES = frozenset(
    {
        ".txt",
        ".md",
        ".rst",
        ".json",
        ".jsonl",
        ".csv",
        ".tsv",
        ".xml",
        ".yaml",
        ".yml",
        ".toml",
        ".html",
        ".htm",
        ".pdf",
    }
    | {".log", ".py", ".ipynb", ".sh", ".cfg", ".ini", ".license", ".bib", ".sha256", ".md5", ".gz", ".parquet", ".tar"}
)
"""Suffixes of files that are next to images in public data sets and are not images themselves."""

SIGNATURES = (  # of files without a suffix: JPEG, PNG, GIF, BMP and TIFF
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    b"BM",
    b"II*\0",
    b"MM\0*",
)


@dataclass(frozen=True, slots=True)
class Walk:
    """Content of a folder and all folders in it, as sorted POSIX paths relative to it.

    images: image files. others: all other files. dead: links to files that do not exist.
    folders: all folders.
    """

    images: list[str]
    others: list[str]
    dead: list[str]
    folders: list[str]


def is_tool_path(path: str | PurePath) -> bool:
    """Return whether a relative path is hidden, or is a tool's file or in a tool's folder.

    >>> is_tool_path("__MACOSX/cat/a.png"), is_tool_path("cat/._a.png"), is_tool_path("cat/a.png")
    (True, True, False)
    """
    return any(
        (part.startswith(".") and part.strip("."))
        or part in TOOL_NAMES
        or part.startswith(TOOL_STARTS)
        or part.endswith(TOOL_ENDINGS)
        for part in str(path).lower().split("/")
    )


def visible(paths: Iterable[Path]) -> list[Path]:
    """Return the paths, sorted, whose own names are not hidden and not those of tools."""
    return sorted(path for path in paths if not is_tool_path(path.name))


def walk(entry: DataEntry, root: Path) -> Walk:
    """Return the files below `root`; links are followed.

    Raises:
        DataError: a folder cannot be read, or is a link to a folder that contains it.
    """
    found = Walk([], [], [], [])
    for relative, one in _files_and_folders(entry, root):
        if one.is_dir():
            found.folders.append(relative)
        elif not one.is_file():
            found.dead.append(relative)
        elif _is_image(Path(one.path)):
            found.images.append(relative)
        else:
            found.others.append(relative)
    for paths in (found.images, found.others, found.dead, found.folders):
        paths.sort()
    return found


def refuse_unreadable(entry: DataEntry, found: Walk) -> None:
    """Refuse images that cannot be read, because leaving them out would change the numbers.

    Raises:
        DataError: an image is a link to a file that does not exist, or is in a format that Pillow cannot read.
    """
    dead = [path for path in found.dead if PurePath(path).suffix.lower() not in TEXT_SUFFIXES]
    if dead:
        counted = f"{len(dead)} of {len(dead) + len(found.images)}"
        raise DataError(
            f"data set {entry.name!r}: {counted} images are links to files that do not exist, such as "
            f"{printable(dead[0])!r}: restore the files, or remove the links"
        )
    unreadable = [path for path in found.images if not _pillow_reads(PurePath(path).suffix.lower())]
    if unreadable:
        raise DataError(
            f"data set {entry.name!r}: {len(unreadable)} of {len(found.images)} images are in a format that Pillow "
            f"cannot read here, such as {printable(unreadable[0])!r}: convert or remove them"
        )


def matching_files(path: Path) -> list[Path]:
    """Return the visible files that a path with wildcards matches, or the file itself."""
    if is_file(path):
        return [path]
    patterns = (os.path.join(glob.escape(str(path.parent)), path.name), str(path))  # noqa: PTH118 - a pattern
    found = next(filter(None, (glob.glob(one) for one in patterns)), [])  # noqa: PTH207 - accepts any pattern
    return visible(Path(one) for one in found if is_file(Path(one)))


def check_inside(folder: Path, name: str, where: str, *, absolute: bool = False) -> None:
    """Check that a file that a listing names is in `folder` or below; `where` begins the message.

    absolute: accept whole paths as well, which a user writes who means them. Links inside of the folder are followed.

    Raises:
        DataError: the name leads out of the folder.
    """
    if absolute and os.path.isabs(name):  # noqa: PTH117 - as it stands in the listing
        return
    above, place = os.path.abspath(folder), os.path.abspath(folder / name)  # noqa: PTH100 - links are not followed
    if os.path.commonpath([above, place]) != above:
        raise DataError(
            f"{where}: {printable(name)} leads out of {printable(str(folder))}: give the folder that holds all files"
        )


def spelled_file(path: Path) -> Path | None:
    """Return `path` as the file system spells it in Unicode, composed or not; None if there is no such file."""
    spellings = (str(path), *(unicodedata.normalize(form, str(path)) for form in ("NFC", "NFD")))
    return next((Path(one) for one in spellings if is_file(Path(one))), None)


def _files_and_folders(entry: DataEntry, root: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield everything below `root` that is visible, with its relative path."""
    stack: list[tuple[str, str, tuple[str, ...]]] = [(str(root), "", ())]
    while stack:
        folder, prefix, above = stack.pop()
        real = os.path.realpath(folder)
        if real in above:
            raise DataError(
                f"data set {entry.name!r}: {folder} is a link to a folder that contains it: remove the link"
            )
        try:
            found = list(os.scandir(folder))
        except OSError as error:
            raise DataError(f"data set {entry.name!r}: folder {folder} cannot be read: {one_line(error)}") from error
        for one in found:
            if not is_tool_path(one.name):
                yield f"{prefix}{one.name}", one
                if one.is_dir():
                    stack.append((one.path, f"{prefix}{one.name}/", (*above, real)))


def _is_image(path: Path) -> bool:
    if path.suffix:
        return path.suffix.lower() in IMAGE_SUFFIXES
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError:
        return False
    return start.startswith(SIGNATURES) or (start[:4] == b"RIFF" and start[8:12] == b"WEBP")


def _pillow_reads(suffix: str) -> bool:
    return suffix not in IMAGE_SUFFIXES or Image.registered_extensions().get(suffix) in Image.OPEN
