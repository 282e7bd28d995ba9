"""The showroom: the data set and the small models that ship inside the package. Imports nothing heavy.

Every file is checked against the manifest beside it before it is read: a damaged installation is named, never
half-read.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pytest_clip_robust.errors import ClipRobustError, DataError, ModelError, did_you_mean

PREFIX = "showroom:"
MANIFEST = "manifest.json"
HERE = Path(__file__).parent
FIX = "install pytest-clip-robust again (pip install --force-reinstall --no-deps pytest-clip-robust)"


def data_file(name: str) -> Path:
    """Return the Parquet file of a subset, such as ``id``.

    Raises:
        DataError: there is no such subset, or its file is missing or damaged.
    """
    folder = HERE / "data"
    known = [file.removesuffix(".parquet") for file in _files(folder, DataError)]
    if name not in known:
        raise DataError(f"the showroom has no subset {name!r}{did_you_mean(name, known)}; it has {', '.join(known)}")
    return _verified(folder, f"{name}.parquet", DataError)


def model_names() -> list[str]:
    """List the models that can be named without a path, such as ``showroom-clip``."""
    return sorted(path.parent.name for path in (HERE / "models").glob(f"*/{MANIFEST}"))


def model_folder(name: str) -> Path:
    """Return the folder of a model in open_clip's ``local-dir:`` form.

    Raises:
        ModelError: a file of it is missing or damaged.
    """
    folder = HERE / "models" / name
    for file in _files(folder, ModelError):
        _verified(folder, file, ModelError)
    return folder


def _files(folder: Path, error: type[ClipRobustError]) -> dict[str, dict[str, Any]]:
    path = folder / MANIFEST
    try:
        files: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise error(f"the showroom's {path} is missing or damaged; {FIX}") from problem
    return files


def _verified(folder: Path, name: str, error: type[ClipRobustError]) -> Path:
    path, expected = folder / name, _files(folder, error)[name]["sha256"]
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise error(f"the showroom's {path} cannot be read ({problem.strerror}); {FIX}") from problem
    if hashlib.sha256(content).hexdigest() != expected:
        raise error(f"the showroom's {path} is damaged: its SHA-256 is not that of the manifest; {FIX}")
    return path
