"""Content digests of images, remembered so that an unchanged set is read once and not in every run."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pytest_clip_robust.datasets.images.reader import ImageReader
from pytest_clip_robust.errors import ClipRobustError, DataError
from pytest_clip_robust.system.files import json_object, write_whole

THREADS = 8
SHA256 = re.compile(r"[0-9a-f]{64}")


def content_digests(
    read: ImageReader, stamps: Sequence[str | None], samples: Sequence[str], *, memory: Path | None
) -> list[str]:
    """Return the SHA-256 of each image's bytes, in hex.

    stamps: per image a string that changes whenever its bytes change (path, size and time of change), or None if
        that cannot be promised.
    memory: the file in which digests by stamp are kept. It is replaced whole; the run goes on without it if it is
        damaged or cannot be written.

    Raises:
        DataError: an image cannot be read; the message names the sample.
    """
    known = _read_memory(memory)
    missing = [row for row, stamp in enumerate(stamps) if stamp is None or stamp not in known]

    def digest(row: int) -> str:
        try:
            return hashlib.sha256(read(row)).hexdigest()
        except (OSError, ClipRobustError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise DataError(f"image {samples[row]!r} cannot be read: {reason}") from error

    with ThreadPoolExecutor(THREADS) as pool:
        fresh = dict(zip(missing, pool.map(digest, missing), strict=True))
    digests = [fresh[row] if row in fresh else known[str(stamp)] for row, stamp in enumerate(stamps)]
    if fresh and memory is not None:
        _write_memory(memory, {stamp: one for stamp, one in zip(stamps, digests, strict=True) if stamp is not None})
    return digests


def _read_memory(memory: Path | None) -> dict[str, str]:
    content = {} if memory is None else json_object(memory)
    return {stamp: one for stamp, one in content.items() if isinstance(one, str) and SHA256.fullmatch(one)}


def _write_memory(memory: Path, digest_of: dict[str, str]) -> None:
    # Without the file the next run reads the images again; that is no reason to end this one.
    with contextlib.suppress(OSError):
        write_whole(memory, json.dumps(digest_of).encode())
