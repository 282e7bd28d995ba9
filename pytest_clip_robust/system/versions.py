"""Versions of the packages that a result was computed with."""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Iterable

from pytest_clip_robust import __version__


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of this package and of those `packages` that are installed, by name."""
    found = {"pytest-clip-robust": __version__}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found
