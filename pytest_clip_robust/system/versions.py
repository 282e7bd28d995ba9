"""Versions of the packages that a result was computed with, and packages that a run may lack."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
from collections.abc import Iterable

from pytest_clip_robust import __version__
from pytest_clip_robust.errors import ConfigError


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of this package and of those `packages` that are installed, by name."""
    found = {"pytest-clip-robust": __version__}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def is_working_copy(package: str) -> bool:
    """Return whether a package is installed from a working copy, whose code changes without its version.

    A package whose record of its origin is damaged counts as one.
    """
    try:
        origin = importlib.metadata.distribution(package).read_text("direct_url.json")
        # Parsed, because pip and uv write it with different white space.
        return json.loads(origin or "{}").get("dir_info", {}).get("editable") is True
    except importlib.metadata.PackageNotFoundError:
        return False
    except (ValueError, AttributeError):
        return True


def require_package(package: str, purpose: str, *, extra: str) -> None:
    """Look for an optional package without importing it.

    purpose: what needs it, such as an option. extra: the extra of this project that installs it.

    Raises:
        ConfigError: it is not installed.
    """
    if importlib.util.find_spec(package) is None:
        raise ConfigError(
            f"{purpose} needs the package {package}, which is not installed: pip install 'pytest-clip-robust[{extra}]'"
        )
