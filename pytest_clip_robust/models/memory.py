"""Whether a model fits into memory, by the sizes of its files, before they are read."""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Iterable
from pathlib import Path

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.system.machine import BYTES_PER_GIB, free_memory

LARGEST_HEADER = 10**8
"""The largest header of a safetensors file, in bytes, by its format."""
BYTES_OF_FP32 = 4


def check_memory(files: Iterable[Path], where: str, *, bytes_each: int = BYTES_OF_FP32) -> None:
    """Check that the parameters in `files` fit into the memory that is free, also within a container.

    The estimate is a lower bound: `bytes_each` for every parameter, or the size of a torch file, whose content is known
    only after it was read. So a model that fits is never refused; another may still be too large.

    Raises:
        ModelError: they do not fit.
    """
    free = free_memory()
    needed = sum(_bytes(file, bytes_each) for file in files) / BYTES_PER_GIB
    if free is not None and needed > free:
        raise ModelError(
            f"{where} is too large for this machine: its parameters need {needed:,.1f} GiB of memory, and "
            f"{free:,.1f} GiB are free; end other processes, or use a machine with more memory"
        )


def _bytes(file: Path, each: int) -> int:
    """Return a lower bound of the memory for the parameters in a file, in bytes."""
    size = os.stat(file).st_size  # noqa: PTH116 - it follows links, such as those of the hub's cache
    return _parameter_bytes(file, size, each) if file.suffix == ".safetensors" else size


def _parameter_bytes(file: Path, size: int, each: int) -> int:
    """Return the size of all parameters of a safetensors file, or the file's if its header is damaged."""
    try:
        with file.open("rb") as content:
            (length,) = struct.unpack("<Q", content.read(8))
            header = json.loads(content.read(min(length, LARGEST_HEADER)))
        shapes: list[list[int]] = [entry["shape"] for name, entry in header.items() if name != "__metadata__"]
        return each * sum(math.prod(shape) for shape in shapes)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, struct.error):
        return size  # reading the file will say what is wrong
