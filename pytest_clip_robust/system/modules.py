"""Parts of other libraries that are read without importing the rest, which takes seconds."""

from __future__ import annotations

import csv
import sys
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType


def package_file(package: str, path: str) -> Path:
    """Return a file of an installed package.

    Raises:
        FileNotFoundError: the package is not installed, or has no such file.

    >>> package_file("json", "scanner.py").name
    'scanner.py'
    """
    found = find_spec(package)
    file = None if found is None or found.origin is None else Path(found.origin).parent / path
    if file is None or not file.is_file():
        raise FileNotFoundError(f"{package} has no file {path!r}: install it again")
    return file


def module_alone(package: str, name: str) -> ModuleType:
    """Return a module that imports nothing of its package, such as one of constants, without importing the package.

    Raises:
        FileNotFoundError: the package is not installed, or has no such module.

    >>> module_alone("json", "scanner").__name__
    'json.scanner'
    """
    whole = f"{package}.{name}"
    if whole in sys.modules:
        return sys.modules[whole]
    spec = spec_from_file_location(whole, package_file(package, f"{name}.py"))
    assert spec is not None  # noqa: S101 - it is None for files of other kinds only
    assert spec.loader is not None  # noqa: S101 - as above
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def synsets(name: str) -> list[str]:
    """Return the WordNet ids of a list of ImageNet's classes in timm, in its order, such as ``imagenet``."""
    return package_file("timm", f"data/_info/{name}_synsets.txt").read_text(encoding="utf-8").split()


@cache
def lemmas() -> dict[str, str]:
    """Return WordNet's names of its synsets, by id: several, separated by commas."""
    with package_file("timm", "data/_info/imagenet_synset_to_lemma.txt").open(encoding="utf-8", newline="") as file:
        return dict(csv.reader(file, delimiter="\t"))
