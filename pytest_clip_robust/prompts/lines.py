"""Read small text files with one template or label per line."""

from __future__ import annotations

from pathlib import Path

from pytest_clip_robust.errors import ConfigError
from pytest_clip_robust.system.files import read_text

LARGEST = 64 * 2**20
"""The largest file that is read, in bytes: all nouns of WordNet have less than 2 MiB."""


def read_lines(path: Path, where: str) -> list[str]:
    """Return the lines of an existing UTF-8 file, stripped and without empty ones; `where` begins every message.

    Raises:
        ConfigError: it is not a regular file, is too large, or cannot be read.
    """
    if path.stat().st_size > LARGEST:
        raise ConfigError(
            f"{where}: {path} has {path.stat().st_size / 2**20:,.0f} MiB; expected a text file of at most "
            f"{LARGEST // 2**20} MiB"
        )
    lines = read_text(path, where, error=ConfigError).splitlines()
    return [line.strip() for line in lines if line.strip()]
