"""Files that are there whole or not at all."""

from __future__ import annotations

import uuid
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` beside `path`, in a folder that is made if need be, and put it in its place in one step.

    A reader, or whoever comes after a crash, finds the old file or the new one.

    Raises:
        OSError: the folder cannot be written; nothing is left of the attempt.
    """
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
