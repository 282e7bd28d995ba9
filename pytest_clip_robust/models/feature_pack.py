"""A model that is known only by its stored features: ``features:FOLDER``, which ``clip-robust features export`` writes.

A feature pack is a folder with a manifest, the shards of a feature store and, for a classifier, its head. It has every
feature that the exporting run needed, so that the same profile gives the same numbers without weights and without
images being decoded.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from pytest_clip_robust import showroom
from pytest_clip_robust.core.plain import read_value
from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.card.facts import ModelCard
from pytest_clip_robust.models.protocols import LoadedModel
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.system.files import is_file, is_folder, read_json, user_path
from pytest_clip_robust.system.text import one_line, printable

MANIFEST, SHARDS, HEAD = "pack.json", "features", "head.safetensors"
FORMAT = 1


class Manifest(TypedDict):
    """The content of a pack's manifest.

    spec, weights, preprocess, text, precision, arithmetic, scale, bias: those of the model that was exported.
    has_texts: whether it has a text encoder. class_list, classes: the classes of its head, by the name of a list or one
        by one; both are empty without a head. rows: numbers of features by kind.
    files: the SHA-256 of every other file of the pack, by its path in the folder. card: the model's, as plain data.
    """

    format: int
    spec: str
    weights: str
    preprocess: str
    text: str
    precision: str
    arithmetic: str
    scale: float
    bias: float
    has_texts: bool
    class_list: str
    classes: list[str]
    rows: dict[str, int]
    files: dict[str, str]
    card: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturePack:
    """The stored features of a model.

    location: the folder of a feature store that holds them all. source: the spec of the model.
    stored_arithmetic: what they were computed with, see `LoadedModel.arithmetic`.
    """

    location: str
    stored_arithmetic: str
    source: str
    scale: float
    bias: float
    has_texts: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierPack(FeaturePack):
    """The stored features of a classifier, with its head: logits are ``features @ weight.T + offset``.

    weight: (C, D). offset: (C,).
    """

    classes: str | list[str]
    weight: NDArray[np.float32]
    offset: NDArray[np.float32]

    def classify(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Turn (B, D) features into (B, C) logits."""
        logits: NDArray[np.float32] = features @ self.weight.T + self.offset
        return logits


def load_features(spec: ModelSpec, **_not_used: object) -> LoadedModel:
    """Read the pack that `spec` names, a folder or one of the showroom; every file is checked against its digest.

    Raises:
        ModelError: there is no pack, a file is missing, damaged or was added, or the pack is of another format.
    """
    folder = showroom.pack_folder(spec.name) if spec.name in showroom.pack_names() else user_path(spec.name)
    where = f"model {spec.label}"
    manifest = read_manifest(folder, where)
    _check_files(folder, manifest, where)
    common: dict[str, Any] = {
        "location": str(folder / SHARDS),
        "source": manifest["spec"],
        "stored_arithmetic": manifest["arithmetic"],
        "scale": manifest["scale"],
        "bias": manifest["bias"],
        "has_texts": manifest["has_texts"],
    }
    rows = ", ".join(f"{count:,} {kind}" for kind, count in manifest["rows"].items())
    return LoadedModel(
        spec=spec,
        encoder=_classifier(folder, manifest, common, where) if HEAD in manifest["files"] else FeaturePack(**common),
        weights=manifest["weights"],
        preprocess=manifest["preprocess"],
        text=manifest["text"],
        precision=manifest["precision"],
        device="none",
        card=_card(manifest, where),
        notes=(f"the stored features of {printable(manifest['spec'])} at {manifest['precision']}: {rows}",),
    )


def read_manifest(folder: Path, where: str) -> Manifest:
    """Return the manifest of a pack; `where` begins messages.

    Raises:
        ModelError: the folder has none, or one of another format.
    """
    if not is_folder(folder):
        raise ModelError(f"{where}: no folder {folder}; clip-robust features export writes one")
    if not is_file(folder / MANIFEST):
        raise ModelError(f"{where}: {folder} has no {MANIFEST}; expected a folder of clip-robust features export")
    content = read_json(folder / MANIFEST, dict, where, error=ModelError)
    if content.get("format") != FORMAT:
        raise ModelError(
            f"{where}: {folder} is a pack of format {content.get('format')!r}, and this version reads {FORMAT}: export "
            "it again"
        )
    manifest: Manifest = read_value(Manifest, content, where=f"{where}: {MANIFEST}", error=ModelError)
    if not (math.isfinite(manifest["bias"]) and 0 < manifest["scale"] < math.inf):
        raise ModelError(
            f"{where}: {MANIFEST} has scale {manifest['scale']} and bias {manifest['bias']}; export it again"
        )
    return manifest


def _check_files(folder: Path, manifest: Manifest, where: str) -> None:
    """Check that the folder has the manifest's files, unchanged, and no shard besides."""
    for name, expected in manifest["files"].items():
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ModelError(f"{where}: {MANIFEST} names {printable(name)!r}, which is outside of the folder: refused")
        if not is_file(path):
            raise ModelError(f"{where}: {printable(name)} is missing: copy the pack again")
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != expected:
            raise ModelError(f"{where}: {printable(name)} is not the file that was exported: copy the pack again")
    for path in sorted((folder / SHARDS).rglob("*")):
        name = path.relative_to(folder).as_posix()
        if is_file(path) and name not in manifest["files"]:
            raise ModelError(f"{where}: {printable(name)} does not belong to the pack: remove it, or export again")


def _card(manifest: Manifest, where: str) -> ModelCard:
    try:
        return ModelCard(**manifest["card"])
    except TypeError as error:
        raise ModelError(f"{where}: the card in {MANIFEST} is not one: {one_line(error)}; export it again") from error


def _classifier(folder: Path, manifest: Manifest, common: dict[str, Any], where: str) -> ClassifierPack:
    try:
        head = load_file(folder / HEAD)
        weight, offset = head["weight"], head["offset"]
    except (SafetensorError, OSError, KeyError) as error:
        raise ModelError(f"{where}: its {HEAD} cannot be read: {one_line(error)}") from error
    if weight.ndim != 2 or offset.shape != weight.shape[:1]:
        raise ModelError(f"{where}: a head of shape {weight.shape} with offsets {offset.shape}: export again")
    return ClassifierPack(**common, classes=manifest["class_list"] or manifest["classes"], weight=weight, offset=offset)
