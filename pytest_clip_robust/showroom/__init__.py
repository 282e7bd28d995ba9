"""The showroom: the data set and the small models that ship with the package. Imports nothing heavy.

Before a file is read, its digest is compared with the manifest in its folder, so that a damaged installation is an
error.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pytest_clip_robust.errors import ClipRobustError, DataError, ModelError, did_you_mean

PREFIX = "showroom:"
MANIFEST = "manifest.json"
MODELS, LMMS, PACKS = "models", "lmms", "panel"
HERE = Path(__file__).parent
FIX = "install pytest-clip-robust again (pip install --force-reinstall --no-deps pytest-clip-robust)"


def data_file(name: str) -> Path:
    """Return the Parquet file of a subset, such as ``id``.

    Raises:
        DataError: no such subset exists, or its file is missing or damaged.
    """
    folder = HERE / "data"
    known = [file.removesuffix(".parquet") for file in _files(folder, DataError)]
    if name not in known:
        raise DataError(
            f"the showroom has no subset {name!r}{did_you_mean(name, known)}; the subsets are {', '.join(known)}"
        )
    return _verified(folder, f"{name}.parquet", DataError)


def model_names() -> list[str]:
    """Return the names of the CLIP models, such as ``showroom-clip``."""
    return _names(MODELS)


def lmm_names() -> list[str]:
    """Return the names of the large multimodal models, such as ``showroom-lmm``."""
    return _names(LMMS)


def model_folder(name: str) -> Path:
    """Return the folder of a CLIP model, in the form that open_clip reads with ``local-dir:``.

    Raises:
        ModelError: one of its files is missing or damaged.
    """
    return _verified_folder(MODELS, name)


def lmm_folder(name: str) -> Path:
    """Return the folder of a large multimodal model, in the form that transformers reads.

    Raises:
        ModelError: one of its files is missing or damaged.
    """
    return _verified_folder(LMMS, name)


def pack_names() -> list[str]:
    """Return the names of the feature packs, such as ``showroom-lite1``: models of the showroom's panel."""
    return _names(PACKS)


def pack_folder(name: str) -> Path:
    """Return the folder of a feature pack.

    Raises:
        ModelError: one of its files is missing or damaged.
    """
    return _verified_folder(PACKS, name)


def _names(kind: str) -> list[str]:
    return sorted(path.parent.name for path in (HERE / kind).glob(f"*/{MANIFEST}"))


def _verified_folder(kind: str, name: str) -> Path:
    folder = HERE / kind / name
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
        raise error(f"the showroom's {path} is damaged: its SHA-256 differs from the manifest; {FIX}")
    return path
