"""Reading of text and JSON files with one-line errors, and atomic writing of files."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import Any

from pytest_clip_robust.errors import ClipRobustError, DataError
from pytest_clip_robust.system.text import one_line, printable


def user_path(text: str) -> Path:
    """Return the path with ``~`` and ``~USER`` replaced by the home folder; an unknown user is left as it is."""
    return Path(os.path.expanduser(text))  # noqa: PTH111 - Path.expanduser raises for an unknown user


def exists(path: Path) -> bool:
    """Return whether a file or folder exists; False also for a text that cannot be a path, such as a very long one."""
    return os.path.exists(path)  # noqa: PTH110 - Path.exists raises for such a text


def is_file(path: Path) -> bool:
    """Return whether a regular file exists, with the same exception."""
    return os.path.isfile(path)  # noqa: PTH113 - as above


def is_folder(path: Path) -> bool:
    """Return whether a folder exists, with the same exception."""
    return os.path.isdir(path)  # noqa: PTH112 - as above


def read_text(path: Path, where: str, *, error: type[ClipRobustError] = DataError) -> str:
    """Return the text of a UTF-8 file, without a byte order mark; `where` begins every message.

    Raises:
        ClipRobustError: an `error`, if the file does not exist or cannot be read.
    """
    if not exists(path):
        raise error(f"{where}: no file {printable(str(path))}")
    if not path.is_file():  # reading a pipe or a device might never end
        kind = "a folder" if path.is_dir() else "a pipe or a device"
        raise error(f"{where}: {printable(str(path))} is {kind}; expected a file")
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as cause:
        raise error(f"{where}: {printable(str(path))} cannot be read: {one_line(cause)}") from cause


def read_json(path: Path, kind: type, where: str, *, error: type[ClipRobustError] = DataError) -> Any:
    """Return the content of a JSON file, which must be of type `kind`, list or dict.

    Raises:
        ClipRobustError: an `error`, if the file cannot be read, is not JSON, or holds another type.
    """
    try:
        content = json.loads(read_text(path, where, error=error))
    except (ValueError, RecursionError) as cause:
        raise error(f"{where}: {printable(str(path))}: {one_line(cause)}; expected JSON") from None
    if not isinstance(content, kind):
        expected = "a list" if kind is list else "an object"
        raise error(f"{where}: {printable(str(path))} holds a {type(content).__name__}; expected {expected}")
    return content


def json_object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; {} if there is no such file, or if it holds anything else."""
    try:
        content: dict[str, Any] = read_json(path, dict, "")
    except DataError:
        return {}
    return content


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` to a temporary file next to `path`, then rename it; missing folders are created.

    A reader, or a run after a crash, finds the old file or the new file, never a part of it.

    Raises:
        OSError: the file cannot be written; the temporary file is removed.
    """
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
