"""Features of images and texts: from the store where it has them, from the model where not, each sample once."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.encoding.engines.base import EncodedBatch, Engine, ImageJob, TextJob
from pytest_clip_robust.encoding.engines.local import LocalEngine
from pytest_clip_robust.encoding.store.features import FeatureStore, StoreKey
from pytest_clip_robust.encoding.store.lock import turn
from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.protocols import LoadedModel
from pytest_clip_robust.system.notice import Notice, log_notice
from pytest_clip_robust.system.progress import Advance, ShowProgress, show_progress
from pytest_clip_robust.system.text import printable

if TYPE_CHECKING:
    from pytest_clip_robust.corruptions.images import CorruptedImages

FLUSH_ROWS = 2048
FLUSH_SECONDS = 30.0
"""A killed run loses at most this much work."""


@dataclass(slots=True)
class EncodeCounts:
    """How many samples went through a model; what the store had is not counted."""

    images: int = 0
    texts: int = 0


def encode_images(
    model: LoadedModel,
    images: ImageSet | CorruptedImages,
    store: FeatureStore,
    *,
    engine: Engine | None = None,
    counts: EncodeCounts | None = None,
    progress: ShowProgress | None = None,
    notice: Notice = log_notice,
) -> NDArray[np.float32]:
    """Return the (N, D) features of a set's images in its order, not normalised.

    Only images that the store lacks are read; corrupted ones are made on the way to the model, and their features
    alone are kept. Features do not depend on the engine and its settings beyond rounding: in fp32 their cosine distance
    to those of one image at a time is below 1e-6.

    Raises:
        DataError: an image cannot be read; what was encoded before is in the store.
        ModelError: the model's features are unusable.
        StoreError: the store cannot be read.
    """
    engine = engine or LocalEngine(notice=notice)
    key = image_key(model, images if isinstance(images, ImageSet) else images.sources)

    def encode_missing(missing: Sequence[str]) -> Iterator[EncodedBatch]:
        for batch in engine.encode(ImageJob(model=model, images=images, digests=missing)):
            if counts is not None and batch.keep:
                counts.images += len(batch.digests)
            yield batch

    show = partial(progress or partial(show_progress, notice=notice), "images", images.name)
    return complete(store, key, images.digests, encode_missing, show=show, who=_name(model))


def encode_texts(
    model: LoadedModel,
    texts: Sequence[str],
    store: FeatureStore,
    *,
    engine: Engine | None = None,
    counts: EncodeCounts | None = None,
    progress: ShowProgress | None = None,
    notice: Notice = log_notice,
    turns: Path | None = None,
) -> NDArray[np.float32]:
    """Return the (N, D) features of `texts` in their order, not normalised; equal texts are encoded once.

    Texts of all classes go to the engine in one job. It changes features by rounding only, as in `encode_images`.
    `turns` is a folder that processes share which must not encode the same prompts at the same time.

    Raises:
        ModelError: the model's features are unusable.
        StoreError: the store cannot be read.
    """
    engine = engine or LocalEngine(notice=notice)
    digests = [_text_digest(text) for text in texts]
    text_of = dict(zip(digests, texts, strict=True))

    def encode_missing(missing: Sequence[str]) -> Iterator[EncodedBatch]:
        for batch in engine.encode(TextJob(model=model, texts={digest: text_of[digest] for digest in missing})):
            if counts is not None and batch.keep:
                counts.texts += len(batch.digests)
            yield batch

    show = partial(progress or partial(show_progress, notice=notice), "texts", _name(model))
    key = text_key(model)
    mine = None if turns is None else turn(turns / f"{key.folder}.lock")
    return complete(store, key, digests, encode_missing, show=show, who=_name(model), mine=mine)


def image_key(model: LoadedModel, images: ImageSet) -> StoreKey:
    """Return the key of a set's features; a border that is cut off is part of the transform."""
    border = f"+crop{images.crop_border}" if images.crop_border else ""
    return StoreKey(
        kind="image", weights=model.weights, transform=f"{model.preprocess}{border}", precision=model.precision
    )


def text_key(model: LoadedModel) -> StoreKey:
    """Return the key of the features of texts."""
    return StoreKey(kind="text", weights=model.weights, transform=model.text, precision=model.precision)


def complete(
    store: FeatureStore,
    key: StoreKey,
    digests: Sequence[str],
    encode_missing: Callable[[Sequence[str]], Iterable[EncodedBatch]],
    *,
    show: Callable[[int], AbstractContextManager[Advance]],
    who: str,
    mine: AbstractContextManager[None] | None = None,
) -> NDArray[np.float32]:
    """Return the (N, D) rows of N `digests`; what the store lacks is encoded, and stored on the way.

    show: opens a display of the progress of so many samples. who: names the model in messages. mine: is entered before
        anything is encoded; meanwhile another process may have done it.
    """
    distinct = list(dict.fromkeys(digests))
    features, found = store.read(key, distinct)
    if mine is not None and not found.all():
        with mine:
            return complete(store, key, digests, encode_missing, show=show, who=who)
    missing = [digest for digest, known in zip(distinct, found, strict=True) if not known]
    if missing:
        row_of = {digest: row for row, digest in enumerate(distinct)}
        with show(len(missing)) as advance, _writer(store, key) as write:
            for batch, new, keep in encode_missing(missing):
                features = _room_for(new, features, where=f"{who}: {store.location(key)}")
                rows = [row_of[digest] for digest in batch]
                features[rows], found[rows] = new, True
                if keep:
                    write(batch, new)
                    advance(len(batch))
        if not found.all():
            raise ModelError(
                f"{who}: the engine left {len(found) - found.sum()} of {len(missing)} samples without features"
            )
    if len(distinct) == len(digests):
        return features
    row_of = {digest: row for row, digest in enumerate(distinct)}
    return features[[row_of[digest] for digest in digests]]


def _room_for(new: NDArray[np.float32], features: NDArray[np.float32], *, where: str) -> NDArray[np.float32]:
    """Return `features`, or an array of the width of `new` while nothing was stored that could tell it."""
    stored, width = features.shape[1], new.shape[1]
    if stored not in {0, width}:
        raise ModelError(
            f"{where} holds features of {stored} numbers, the model gives {width}: "
            "its identity must change when the model does"
        )
    return features if stored else np.empty((len(features), width), np.float32)


@contextmanager
def _writer(store: FeatureStore, key: StoreKey) -> Iterator[Callable[[Sequence[str], NDArray[np.float32]], None]]:
    """Collect batches into shards of a fair size; whatever ends the work, what was encoded is written."""
    digests: list[str] = []
    features: list[NDArray[np.float32]] = []
    flushed = time.monotonic()

    def flush() -> None:
        nonlocal flushed
        if digests:
            store.write(key, digests, np.concatenate(features))
        digests.clear()
        features.clear()
        flushed = time.monotonic()

    def write(batch: Sequence[str], new: NDArray[np.float32]) -> None:
        digests.extend(batch)
        features.append(new)
        if len(digests) >= FLUSH_ROWS or time.monotonic() - flushed >= FLUSH_SECONDS:
            flush()

    try:
        yield write
    finally:
        flush()


def _name(model: LoadedModel) -> str:
    return printable(str(model.spec))


def _text_digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
