"""Features of images and texts: from the store where it has them, from the model where not, each sample once."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.datasets.image_set import ImageSet
from pytest_clip_robust.encoding.batches import BatchEncoder
from pytest_clip_robust.encoding.images import read_pixels
from pytest_clip_robust.encoding.notice import Notice, log_notice
from pytest_clip_robust.encoding.progress import Advance, ShowProgress, show_progress
from pytest_clip_robust.encoding.store import FeatureStore, StoreKey
from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.encoder import LoadedModel
from pytest_clip_robust.text import printable

if TYPE_CHECKING:
    from pytest_clip_robust.encoding.corruption import CorruptedImages

FLUSH_ROWS = 2048
FLUSH_SECONDS = 30.0
"""A killed run loses at most this much work."""

TEXTS_ON_ACCELERATOR, TEXTS_ON_CPU = 256, 16
IMAGES_ON_ACCELERATOR, IMAGES_ON_CPU = 64, 16

EncodedBatch = tuple[Sequence[str], NDArray[np.float32]]
"""The digests of B samples and their (B, D) features."""


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
    batch_size: int | None = None,
    workers: int = 2,
    counts: EncodeCounts | None = None,
    progress: ShowProgress | None = None,
    notice: Notice = log_notice,
) -> NDArray[np.float32]:
    """Return the (N, D) features of a set's images in its order, not normalised.

    By default a batch has 64 images on an accelerator and 16 on a CPU, where larger ones only move memory.

    Only images that the store lacks are read; corrupted ones are made on the way to the model, and their features
    alone are kept. Features do not depend on `batch_size` and `workers` beyond rounding: in fp32 their cosine distance
    to those of one image at a time is below 1e-6.

    Raises:
        DataError: an image cannot be read; what was encoded before is in the store.
        ModelError: the model's features are unusable.
        StoreError: the store cannot be read.
    """
    size = batch_size or (IMAGES_ON_CPU if model.device == "cpu" else IMAGES_ON_ACCELERATOR)
    alter = None if isinstance(images, ImageSet) else images
    sources = images if isinstance(images, ImageSet) else images.sources
    digests = images.digests
    key = image_key(model, sources)
    position_of = {digest: position for position, digest in enumerate(digests)}
    encode = BatchEncoder(model.encoder.encode_image, who=_name(model), notice=notice)

    def encode_missing(missing: Sequence[str]) -> Iterator[EncodedBatch]:
        for batch in read_pixels(
            sources,
            [position_of[digest] for digest in missing],
            model.encoder.preprocess,
            batch_size=size,
            workers=workers,
            pin_memory=model.device.startswith("cuda"),
            alter=alter,
            notice=notice,
        ):
            features = encode(batch.pixels, [sources.samples[position] for position in batch.positions])
            if counts is not None:
                counts.images += len(features)
            yield [digests[position] for position in batch.positions], features

    show = partial(progress or partial(show_progress, notice=notice), "images", images.name)
    return _complete(store, key, digests, encode_missing, show=show, who=_name(model))


def encode_texts(
    model: LoadedModel,
    texts: Sequence[str],
    store: FeatureStore,
    *,
    batch_size: int | None = None,
    counts: EncodeCounts | None = None,
    progress: ShowProgress | None = None,
    notice: Notice = log_notice,
) -> NDArray[np.float32]:
    """Return the (N, D) features of `texts` in their order, not normalised; equal texts are encoded once.

    Texts of about equal length share a batch, whatever class they belong to, so that tokenizers that pad to the longest
    pad little. By default a batch has 256 texts on an accelerator, which needs much work at once, and 16 on a CPU,
    whose caches hold no more. The order changes features by rounding only, as in `encode_images`.

    Raises:
        ModelError: the model's features are unusable.
        StoreError: the store cannot be read.
    """
    size = batch_size or (TEXTS_ON_CPU if model.device == "cpu" else TEXTS_ON_ACCELERATOR)
    text_of = {_text_digest(text): text for text in texts}
    encode = BatchEncoder(model.encoder.encode_text, who=_name(model), notice=notice)

    def encode_missing(digests: Sequence[str]) -> Iterator[EncodedBatch]:
        by_length = sorted(digests, key=lambda digest: (len(text_of[digest]), text_of[digest]))
        for start in range(0, len(by_length), size):
            batch = by_length[start : start + size]
            inputs = [text_of[digest] for digest in batch]
            features = encode(inputs, [printable(text) for text in inputs])
            if counts is not None:
                counts.texts += len(features)
            yield batch, features

    digests = [_text_digest(text) for text in texts]
    show = partial(progress or partial(show_progress, notice=notice), "texts", _name(model))
    return _complete(store, text_key(model), digests, encode_missing, show=show, who=_name(model))


def image_key(model: LoadedModel, images: ImageSet) -> StoreKey:
    """Return the key of a set's features; a border that is cut off is part of the transform."""
    border = f"+crop{images.crop_border}" if images.crop_border else ""
    return StoreKey(
        kind="image", weights=model.weights, transform=f"{model.preprocess}{border}", precision=model.precision
    )


def text_key(model: LoadedModel) -> StoreKey:
    """Return the key of the features of texts."""
    return StoreKey(kind="text", weights=model.weights, transform=model.text, precision=model.precision)


def _complete(
    store: FeatureStore,
    key: StoreKey,
    digests: Sequence[str],
    encode_missing: Callable[[Sequence[str]], Iterable[EncodedBatch]],
    *,
    show: Callable[[int], AbstractContextManager[Advance]],
    who: str,
) -> NDArray[np.float32]:
    """Return the features of `digests`; what the store lacks is encoded, and stored on the way."""
    distinct = list(dict.fromkeys(digests))
    features, found = store.read(key, distinct)
    missing = [digest for digest, known in zip(distinct, found, strict=True) if not known]
    if missing:
        row_of = {digest: row for row, digest in enumerate(distinct)}
        with show(len(missing)) as advance, _writer(store, key) as write:
            for batch, new in encode_missing(missing):
                features = _room_for(new, features, where=f"{who}: {store.location(key)}")
                rows = [row_of[digest] for digest in batch]
                features[rows], found[rows] = new, True
                write(batch, new)
                advance(len(batch))
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
