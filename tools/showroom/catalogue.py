"""Catalogue of 3D models: Sweet Home 3D's furniture libraries, grouped into classes and split by instance."""

from __future__ import annotations

import hashlib
import re
import tomllib
import zipfile
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path

LICENCES = {
    "BlendSwap-CC-0": "CC0 1.0",
    "BlendSwap-CC-BY": "CC BY 3.0",
    "KatorLegaz": "CC BY 3.0",
    "Reallusion": "CC BY 3.0",
    "Scopia": "CC BY 3.0",
}
SPLITS = ("train", "validation", "test")
NEAR_DUPLICATE = 0.03
"""Two models with the same name and library are variants of one object if their file sizes differ by less than this."""

_ENTRY = re.compile(r"([A-Za-z]+)#(\d+)\s*[=:]\s*(.*)")


@dataclass(frozen=True, slots=True)
class Model:
    """One 3D model: `key` is its path in `archive` without the suffix, `size` its (width, height, depth) in metres.

    rotation: the nine numbers of a matrix that turns it upright and to the front; empty if it needs no rotation.
    """

    key: str
    archive: Path
    name: str
    category: str
    creator: str
    licence: str
    size: tuple[float, float, float]
    file_bytes: int
    rotation: tuple[float, ...] = ()


def read_catalogue(folder: Path) -> list[Model]:
    """Read every furniture library (``*.sh3f``) in `folder`, ordered by key.

    Raises:
        FileNotFoundError: the folder contains no library.
    """
    archives = sorted(folder.glob("*.sh3f"))
    if not archives:
        raise FileNotFoundError(f"no *.sh3f in {folder}; unpack Debian's sweethome3d-furniture there")
    return sorted((model for archive in archives for model in _read_library(archive)), key=lambda model: model.key)


def group(models: list[Model]) -> tuple[dict[str, list[Model]], dict[str, list[Model]]]:
    """Return the models of each class and of each near-OOD kind, as defined in ``classes.toml``."""
    plan = tomllib.loads(Path(__file__).with_name("classes.toml").read_text(encoding="utf-8"))
    left_out = set(plan["left_out"]["models"])
    class_of = {name: label for label, names in plan["classes"].items() for name in names}
    near = set(plan["near_ood"]["kinds"])
    classes: dict[str, list[Model]] = {label: [] for label in plan["classes"]}
    kinds: dict[str, list[Model]] = defaultdict(list)
    for model in models:
        label = class_of.get(f"{model.name}@{model.category}") or class_of.get(model.name)
        if model.key in left_out:
            continue
        if label:
            classes[label].append(model)
        elif model.name in near:
            kinds[model.name.lower()].append(model)
    return {label: _distinct(found) for label, found in classes.items()}, dict(sorted(kinds.items()))


def split(models: list[Model]) -> dict[str, list[Model]]:
    """Return a class's models divided into train (about 60 %), validation (15 %) and test (25 %).

    Near-duplicates stay in one split. Models are ordered by a digest of their keys, so that a new model rarely moves
    others to another split.
    """
    families = sorted(_families(models), key=lambda family: hashlib.sha256(family[0].key.encode()).hexdigest())
    wanted = {"test": max(1, round(0.25 * len(models))), "validation": max(1, round(0.15 * len(models)))}
    parts: dict[str, list[Model]] = {name: [] for name in SPLITS}
    for family in families:
        part = next((name for name, size in wanted.items() if len(parts[name]) < size), "train")
        parts[part] += family
    return parts


def _read_library(archive: Path) -> list[Model]:
    with zipfile.ZipFile(archive) as library:
        text = library.read("PluginFurnitureCatalog.properties").decode("latin-1")
        sizes = {info.filename: info.file_size for info in library.infolist()}
    entries: dict[str, dict[str, str]] = defaultdict(dict)
    for line in text.splitlines():
        found = _ENTRY.match(line.strip())
        if found:
            entries[found[2]][found[1]] = found[3]
    return [
        Model(
            key=entry["model"].lstrip("/").removesuffix(".obj"),
            archive=archive,
            name=entry["name"],
            category=entry["category"],
            creator=entry["creator"].encode("latin-1").decode("unicode_escape"),
            licence=LICENCES[archive.stem],
            size=tuple(float(entry[side]) / 100 for side in ("width", "height", "depth")),
            file_bytes=sizes[entry["model"].lstrip("/")],
            rotation=tuple(map(float, entry.get("modelRotation", "").split())),
        )
        for entry in entries.values()
        if entry.get("model", "").endswith(".obj")
    ]


def _distinct(models: list[Model]) -> list[Model]:
    seen: dict[object, Model] = {}
    for model in models:
        seen.setdefault((model.file_bytes, model.size), model)
    return list(seen.values())


def _families(models: list[Model]) -> list[list[Model]]:
    families: list[list[Model]] = []
    for model in models:
        for family in families:
            first = family[0]
            near = abs(first.file_bytes - model.file_bytes) <= NEAR_DUPLICATE * model.file_bytes
            if (first.name, first.archive) == (model.name, model.archive) and near:
                family.append(model)
                break
        else:
            families.append([model])
    return families


@cache
def open_archive(archive: Path) -> zipfile.ZipFile:
    """Return an open library; each is opened once."""
    return zipfile.ZipFile(archive)
