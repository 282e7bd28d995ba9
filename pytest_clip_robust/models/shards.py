"""Parameters in several files: shards with an index, as transformers and accelerate write them, or shards alone."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.system.files import is_file, read_json
from pytest_clip_robust.system.text import printable

INDEX_SUFFIX = ".index.json"
SHARD = re.compile(r"(.+)-(\d+)-of-(\d+)(\.\w+)")
"""The name of a shard, such as ``model-00001-of-00003.safetensors``."""


def shards_of(path: Path, where: str) -> tuple[Path, ...]:
    """Return the files that hold the parameters of a checkpoint: those of its index or set, or the file itself.

    Raises:
        ModelError: the index cannot be read, or names files that are not in its folder; or a shard of the set is
            missing.
    """
    if path.name.endswith(INDEX_SUFFIX) and is_file(path):
        names = sorted(set(named_shards(path, where).values()))
    elif shard := SHARD.fullmatch(path.name):
        stem, number, count, suffix = shard.groups()
        names = [f"{stem}-{i:0{len(number)}}-of-{count}{suffix}" for i in range(1, int(count) + 1)]
    else:
        return (path,)
    missing = [name for name in names if not is_file(path.parent / name)]
    if missing:
        raise ModelError(f"{where} lacks {len(missing)} of its {len(names)} shards, first {printable(missing[0])}")
    return tuple(path.parent / name for name in names)


def named_shards(index: Path, where: str) -> dict[str, str]:
    """Return the names of all parameters with the names of their files, as an index states them.

    Raises:
        ModelError: it cannot be read, or states something else.
    """
    files = read_json(index, dict, where, error=ModelError).get("weight_map")
    if not isinstance(files, dict) or not files or not all(isinstance(name, str) for name in files.values()):
        raise ModelError(f"{where} has no 'weight_map' from parameters to files; expected an index of shards")
    if strange := [name for name in files.values() if Path(name).name != name]:
        raise ModelError(f"{where} names {printable(strange[0])!r}; expected names of files in its own folder")
    return files


def without_shards(names: Iterable[str]) -> list[str]:
    """Return the names of files with one name for each set of shards: that of its index, or of its first shard.

    >>> without_shards(["a-1-of-2.bin", "a-2-of-2.bin", "b.bin", "c-1-of-1.bin", "c.bin.index.json"])
    ['a-1-of-2.bin', 'b.bin', 'c.bin.index.json']
    """
    names = list(names)
    indexed = {name.removesuffix(INDEX_SUFFIX) for name in names if name.endswith(INDEX_SUFFIX)}
    found: dict[tuple[str, bool], str] = {}
    for name in sorted(names):
        shard = SHARD.fullmatch(name)
        whole = f"{shard[1]}{shard[4]}" if shard else name
        if not shard or whole not in indexed:
            found.setdefault((whole, bool(shard)), name)
    return sorted(found.values())
