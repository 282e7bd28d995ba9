"""Export of one model's stored features as a feature pack."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from pytest_clip_robust.core.arrays import row_slices
from pytest_clip_robust.encoding.store.features import FeatureStore
from pytest_clip_robust.errors import ModelError, StoreError
from pytest_clip_robust.models.feature_pack import FORMAT, HEAD, MANIFEST, SHARDS, FeaturePack, Manifest
from pytest_clip_robust.models.outputs import float_array
from pytest_clip_robust.models.protocols import AnswersQuestions, Classifies, LoadedModel

# Places of matches are only drawn, and no number needs them.
KIND_NAMES = {"image": "images", "text": "texts", "views": "pairs of views", "keypoints": "pairs of keypoints"}
LINEAR = 1e-4
"""Relative difference up to which a head counts as linear."""


def export_pack(store: FeatureStore, model: LoadedModel, folder: Path) -> Manifest:
    """Write everything that `store` has of `model`, at its precision, to the new `folder`, whole or not at all.

    Raises:
        ModelError: the store has nothing of the model, the model is itself a pack or answers questions, or its head is
            not linear.
        StoreError: the folder exists, or cannot be written.
    """
    if isinstance(model.encoder, FeaturePack):
        raise ModelError(f"{model.spec.label} is a feature pack already; copy its folder")
    if isinstance(model.encoder, AnswersQuestions):
        raise ModelError(
            f"{model.spec.label} has stored answers and no features, so no pack can take its place; copy the cache "
            f"{store.root} to where its answers are needed"
        )
    if folder.exists():
        raise StoreError(f"{folder} exists; give a new folder, or remove it first")
    every = [key for key in store.keys(model.weights) if key.precision == model.arithmetic]
    keys = [key for key in every if key.kind in KIND_NAMES]
    if not keys:
        raise ModelError(
            f"{store.root} has no features of {model.spec.label} at {model.arithmetic}; run the suites with this cache "
            "first"
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {error.strerror or error}") from error
    try:
        packed = FeatureStore(str(unfinished / SHARDS))
        counts: Counter[str] = Counter()
        for key in keys:
            rows = store.all_rows(key)
            packed.write(key, rows.digests, rows.features)
            counts[KIND_NAMES[key.kind]] += len(rows.digests)
        if packed.rows_in_memory:
            raise StoreError(f"{folder} cannot be written completely: is the disk full?")
        image_key = next((key for key in keys if key.kind == "image"), None)
        if model.head is not None and image_key is not None:
            features = store.all_rows(image_key).features
            _write_head(model.head, unfinished / HEAD, features, label=model.spec.label)
        classes = [] if model.head is None else model.head.classes
        manifest: Manifest = {
            "format": FORMAT,
            "spec": str(model.spec),
            "weights": model.weights,
            "preprocess": model.preprocess,
            "text": model.text,
            "precision": model.precision,
            "arithmetic": model.arithmetic,
            "scale": model.scale,
            "bias": model.bias,
            "has_texts": model.has_texts,
            "class_list": classes if isinstance(classes, str) else "",
            "classes": [] if isinstance(classes, str) else list(classes),
            "rows": dict(sorted(counts.items())),
            "files": _digests(unfinished),
            "card": model.card.plain(),
        }
        (unfinished / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        unfinished.chmod(0o755)  # mkdtemp makes folders private
        unfinished.rename(folder)
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return manifest


def _write_head(head: Classifies, path: Path, features: NDArray[np.float32], *, label: str) -> None:
    """Write the matrix and the offset of a head, found by what it does.

    Raises:
        ModelError: the head is more than that, which is all that a pack can hold.
    """

    def classify(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        return float_array(head.classify(rows))

    width = features.shape[1]
    offset = classify(np.zeros((1, width), np.float32))[0]
    weight = np.concatenate([classify(np.eye(width, dtype=np.float32)[part]) - offset for part in row_slices(width)]).T
    tried = features[:256]
    expected = classify(tried)
    if np.abs(tried @ weight.T + offset - expected).max() > LINEAR * max(1.0, float(np.abs(expected).max())):
        raise ModelError(f"the head of {label} is not linear in its features, so a pack cannot hold it")
    save_file({"weight": np.ascontiguousarray(weight), "offset": np.ascontiguousarray(offset)}, path)


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
