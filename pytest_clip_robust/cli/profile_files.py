"""Profiles as files that a command edits: what can be edited, and how ``[tolerances]`` changes with all else kept."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import tomlkit

from pytest_clip_robust.config.shipped import shipped_profiles
from pytest_clip_robust.errors import ConfigError, shown
from pytest_clip_robust.system.files import is_file, read_text, write_whole

SECTION = "tolerances"
INSTALLED = {"site-packages", "dist-packages"}


def editable(source: str) -> Path:
    """Return the file of the profile `source`.

    Raises:
        ConfigError: there is no such file, or it is part of an installed package.
    """
    path, shipped = Path(source), shipped_profiles()
    if source in shipped and not is_file(path):
        raise ConfigError(f"profile {shown(source)} is built in; copy {shipped[source]} and give the copy's path")
    if not is_file(path):
        raise ConfigError(f"no profile {shown(source)}; give a TOML file")
    if INSTALLED & set(path.resolve().parts):
        raise ConfigError(f"profile {path} is part of an installed package; copy it and give the copy's path")
    return path


@contextmanager
def without_tolerances(path: Path) -> Iterator[Path]:
    """Yield a profile like `path` that has no tolerances; it is next to it, as paths in it are relative to its folder.

    Raises:
        ConfigError: the folder cannot be written.
    """
    document = tomlkit.parse(read_text(path, "profile", error=ConfigError))
    if not document.pop(SECTION, None):
        yield path
        return
    copy = path.with_name(f".{path.stem}.{uuid.uuid4().hex}.toml")
    write(copy, tomlkit.dumps(document))
    try:
        yield copy
    finally:
        copy.unlink(missing_ok=True)


def with_tolerances(text: str, tolerances: Mapping[str, float], *, drop: Iterable[str] = ()) -> str:
    """Return the profile `text` with `tolerances` in it and the keys of `drop` removed from its tolerances.

    Values of existing keys are replaced in their place, and other keys follow the last one of the section, sorted.
    Comments, and everything else, stay as they are. A missing section is added at the end.
    """
    document = tomlkit.parse(text)
    if SECTION not in document:
        if not tolerances:
            return text
        document[SECTION] = tomlkit.table()
    section = document[SECTION]
    for key in set(drop) - set(tolerances):
        section.pop(key, None)
    # Comments after the last key introduce the next section, so keys are added in front of them.
    body = section.value.body
    last = max((place for place, (key, _) in enumerate(body) if key is not None), default=-1)
    rest = body[last + 1 :]
    del body[last + 1 :]
    for key in sorted(tolerances):
        section[key] = tolerances[key]
    body.extend(rest)
    return tomlkit.dumps(document)


def write(path: Path, text: str) -> None:
    """Write a profile whole or not at all.

    Raises:
        ConfigError: the folder cannot be written.
    """
    try:
        write_whole(path, text.encode())
    except OSError as error:
        raise ConfigError(f"profile {path}: cannot be written: {error.strerror}") from error
