"""Catalogue: data sets that are known by name. Imports nothing heavy."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

from pytest_clip_robust.datasets.entry import DataEntry, entry_from_table

FILE = Path(__file__).with_name("catalog.toml")


@cache
def catalog() -> Mapping[str, DataEntry]:
    """Return the named data sets of ``catalog.toml``."""
    tables = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return MappingProxyType({name: entry_from_table(name, table) for name, table in tables.items()})
