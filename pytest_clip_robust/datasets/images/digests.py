"""Content digests of images, remembered so that an unchanged set is read once, not once a run."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pytest_clip_robust.datasets.images.reader import ImageReader
from pytest_clip_robust.errors import ClipRobustError, DataError
from pytest_clip_robust.system.files import write_whole

THREADS = 8


def content_digests(
    read: ImageReader, stamps: Sequence[str | None], samples: Sequence[str], *, memory: Path | None
) -> list[str]:
    """Return the SHA-256 of each image's bytes, in hex.

    stamps: one string an image that changes whenever its bytes do (path, size and time of change), or None where
        nothing can be promised. memory: the file in which digests by stamp are kept; it is replaced whole, and one that
        is damaged or cannot be written is done without.

    Raises:
        DataError: an image cannot be read; the message names the sample.
    """
    known = _recall(memory)
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
        _remember(memory, {stamp: one for stamp, one in zip(stamps, digests, strict=True) if stamp is not None})
    return digests


def _recall(memory: Path | None) -> dict[str, str]:
    if memory is None:
        return {}
    try:
        content = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _remember(memory: Path, digest_of: dict[str, str]) -> None:
    # The digests are worth a second of reading, not the run.
    with contextlib.suppress(OSError):
        write_whole(memory, json.dumps(digest_of).encode())
