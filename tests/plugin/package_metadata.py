"""Reads what is said of the installed packages once per process: pytest reads all of it several times per run."""

from __future__ import annotations

import functools
import importlib.metadata


def read_package_metadata_once() -> None:
    """Make `importlib.metadata.distributions` remember what it found: tests install no packages."""
    find = importlib.metadata.distributions

    @functools.cache
    def found() -> list:
        packages = list(find())
        for package in packages:
            package.__class__ = remembering(type(package))
        return packages

    def distributions(**chosen):
        return find(**chosen) if chosen else iter(found())

    importlib.metadata.distributions = distributions


@functools.cache
def remembering(kind: type) -> type:
    """Return that class of packages, but whose entry points, files and metadata are parsed once."""
    parts = {}
    for name in ("entry_points", "files", "metadata"):
        parts[name] = functools.cached_property(getattr(kind, name).fget)
        parts[name].__set_name__(None, name)
    return type(kind.__name__, (kind,), parts)
