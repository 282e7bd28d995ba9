"""The Encoder: features from the store where it has them, and from the model otherwise.

`complete` is the heart of it: every kind of feature is looked up, encoded and stored by that one function.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.digest import digest
from pytest_clip_robust.datasets.correspondence.keypoint_set import KeypointSet
from pytest_clip_robust.datasets.correspondence.view_set import ViewSet
from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.encoding.dense.pairs import (
    PairMatching,
    ViewErrors,
    keypoint_errors,
    keypoint_matching,
    match_places,
    place_matching,
    view_errors,
    view_matching,
)
from pytest_clip_robust.encoding.engines.base import (
    AlteredImages,
    AnswerJob,
    DeferredEngine,
    EncodedBatch,
    Engine,
    ImageJob,
    LikelihoodJob,
    TextJob,
    part_of,
)
from pytest_clip_robust.encoding.rank_share import encode_share
from pytest_clip_robust.encoding.store.features import FeatureStore, StoreKey, Write
from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.feature_pack import FeaturePack
from pytest_clip_robust.models.protocols import EncodesDensely, LoadedModel
from pytest_clip_robust.system.lock import hold_lock
from pytest_clip_robust.system.notice import Notice, log_notice
from pytest_clip_robust.system.progress import Advance, ShowProgress, show_progress
from pytest_clip_robust.system.rank import Rank
from pytest_clip_robust.system.text import printable

FLUSH_ROWS = 2048
FLUSH_SECONDS = 30.0
"""A killed run loses at most this much work."""

PROMPT_LOCK_SECONDS = 600.0
"""How long to wait for another worker that encodes the same prompts; then both encode them, which only costs time."""

PROBE_TEXT = "a photo."
"""Encoded to learn the width of a model's features when a rank has no sample of its own."""

Encode = Callable[[Sequence[str]], Iterator[EncodedBatch]]
"""Encodes the samples with the given digests."""


class Encoder:
    """Returns features of images, texts and pairs of pictures; each sample is encoded once and then stored.

    Features depend on engine, batch size and worker count by rounding only: in fp32 the cosine distance to features
    that were encoded one sample at a time is below 1e-6.

    counts: how many ``"images"``, ``"texts"`` and ``"pairs"`` a model encoded, and how many ``"answers"`` it gave; what
        comes from the store does not count.
    left_to_others: how many samples were left to other ranks. Their features are random placeholders.

    Every method raises a StoreError if the store cannot be read. Samples that were encoded before an error are stored.
    """

    def __init__(
        self,
        store: FeatureStore,
        engine: Engine | None = None,
        *,
        rank: Rank | None = None,
        lock_folder: Path | None = None,
        progress: ShowProgress | None = None,
        notice: Notice = log_notice,
    ) -> None:
        """Encode with `engine`, by default a LocalEngine, what `store` lacks.

        rank: encode only the share of this rank. lock_folder: shared by the workers of a run, so that only one of them
        encodes the same prompts.
        """
        self._store, self._rank, self._lock_folder, self._notice = store, rank, lock_folder, notice
        self._engine = engine or DeferredEngine(self._local_engine)
        self._progress = progress or partial(show_progress, notice=notice)
        self.counts: Counter[str] = Counter()
        self.left_to_others = 0

    def images(self, model: LoadedModel, images: ImageSet | AlteredImages) -> NDArray[np.float32]:
        """Return the (N, D) features of a set's images in its order, not normalised.

        Only images that the store lacks are read. Altered images are made between decoder and model; their features are
        stored, their pixels are not.

        Raises:
            DataError: an image cannot be read.
            ModelError: the model's features are unusable, or a feature pack lacks some.
            NotApplicableError: the model is known by its answers only.
        """
        sources, alter = _parted(images)
        position_of = {digest: position for position, digest in enumerate(images.digests)}

        def encode(missing: Sequence[str]) -> Iterator[EncodedBatch]:
            positions = {digest: position_of[digest] for digest in missing}
            return self._engine.encode(ImageJob(model=model, images=sources, positions=positions, alter=alter))

        key = image_key(model, sources)
        if isinstance(model.encoder, FeaturePack):
            return read_pack(model.encoder, key, images.digests, f"images of {images.name!r}", name=_name(model))
        _ = model.image_encoder  # raises before anything is read
        return complete(
            self._store,
            key,
            images.digests,
            self._own_share("images", encode, width=partial(self._width, model)),
            show=partial(self._progress, "images", images.name),
            name=_name(model),
        )

    def texts(self, model: LoadedModel, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the (N, D) features of `texts` in their order, not normalised; equal texts are encoded once.

        Raises:
            ModelError: the model's features are unusable, or a feature pack lacks some.
            NotApplicableError: the model has no text encoder.
        """
        digests = [_text_digest(text) for text in texts]
        text_of = dict(zip(digests, texts, strict=True))

        def encode(missing: Sequence[str]) -> Iterator[EncodedBatch]:
            job = TextJob(model=model, texts={digest: text_of[digest] for digest in missing})
            return self._engine.encode(job)

        key = text_key(model)
        if isinstance(model.encoder, FeaturePack) and model.has_texts:
            return read_pack(model.encoder, key, digests, "texts", name=_name(model))
        _ = model.text_encoder  # raises before anything is encoded
        return complete(
            self._store,
            key,
            digests,
            self._own_share("texts", encode, width=partial(self._width, model)),
            show=partial(self._progress, "texts", _name(model)),
            name=_name(model),
            lock=self._prompt_lock(key),
        )

    def view_pairs(
        self, model: LoadedModel, views: ViewSet, pairs: NDArray[np.int64], *, size: int
    ) -> list[ViewErrors]:
        """Return the errors of the matches from the first to the second view of each of P `pairs` (P, 2).

        size: pixels of the longer side of a picture, as the model sees it.

        Raises:
            DataError: a picture or its depth cannot be read, or a view has fewer than two points of known depth.
            ModelError: the model has no dense features, or they are unusable.
        """
        return view_errors(self._rows(model, view_matching(model, views, pairs, size=size)))

    def view_places(
        self, model: LoadedModel, views: ViewSet, pairs: NDArray[np.int64], *, size: int
    ) -> list[NDArray[np.float32]]:
        """Return some matches of each of P `pairs` (P, 2) with their places, to draw them; see `match_places`.

        Nothing is returned for a feature pack, which has no features to match.

        Raises:
            DataError: as for `view_pairs`.
            ModelError: as for `view_pairs`.
        """
        if isinstance(model.encoder, FeaturePack):
            return []
        return match_places(self._rows(model, place_matching(model, views, pairs, size=size)))

    def keypoint_pairs(
        self, model: LoadedModel, keypoints: KeypointSet, pairs: NDArray[np.int64], *, size: int
    ) -> list[NDArray[np.float32]]:
        """Return the errors of the keypoints that the pictures of each of P `pairs` (P, 2) share.

        An error is the distance from the point found to the true one, over the longer side of the target's box.
        size: pixels of the longer side of a picture, as the model sees it.

        Raises:
            DataError: a picture cannot be read.
            ModelError: the model has no dense features, or they are unusable.
        """
        matching = keypoint_matching(model, keypoints, pairs, size=size)
        return keypoint_errors(self._rows(model, matching))

    def likelihoods(
        self, model: LoadedModel, images: ImageSet | AlteredImages, question: str, candidates: Sequence[str]
    ) -> NDArray[np.float32]:
        """Return (N, C) log-probabilities of C candidates as the answer to a question about each image of a set.

        Raises:
            DataError: an image cannot be read, or question and candidates cannot be asked.
            ModelError: the model fails.
            NotApplicableError: the model does not answer questions.
        """
        _ = model.multimodal  # raises before anything is read
        sources, alter = _parted(images)
        position_of = {digest: position for position, digest in enumerate(images.digests)}

        def encode(missing: Sequence[str]) -> Iterator[EncodedBatch]:
            job = LikelihoodJob(
                model=model,
                images=sources,
                positions={digest: position_of[digest] for digest in missing},
                question=question,
                candidates=tuple(candidates),
                alter=alter,
            )
            return self._engine.encode(job)

        asked = [question, list(candidates), sources.crop_border]
        return complete(
            self._store,
            _asked_key("likelihoods", model, asked),
            images.digests,
            self._own_share("answers", encode, width=lambda: len(candidates)),
            show=partial(self._progress, "answers", images.name),
            name=_name(model),
        )

    def answers(
        self, model: LoadedModel, images: ImageSet | AlteredImages, asked: Sequence[tuple[int, str]], *, limit: int
    ) -> list[str]:
        """Return the greedy answers to M questions about images of a set, each of at most `limit` tokens.

        asked: the position of the image, and the question. Equal questions about an image are answered once.

        Raises:
            DataError: an image cannot be read, or a question cannot be asked.
            ModelError: the model fails.
            NotApplicableError: the model does not answer questions.
        """
        answering = model.multimodal
        sources, alter = _parted(images)
        digests = [digest([images.digests[position], question]) for position, question in asked]
        asked_by = dict(zip(digests, asked, strict=True))

        def encode(missing: Sequence[str]) -> Iterator[EncodedBatch]:
            about = {one: asked_by[one] for one in missing}
            return self._engine.encode(AnswerJob(model=model, images=sources, asked=about, limit=limit, alter=alter))

        rows = complete(
            self._store,
            _asked_key("answers", model, ["greedy", limit, sources.crop_border]),
            digests,
            self._own_share("answers", encode, width=lambda: limit),
            show=partial(self._progress, "answers", images.name),
            name=_name(model),
        )
        return [answering.text([int(token) for token in row if token >= 0]) for row in rows]

    def _rows(self, model: LoadedModel, matching: PairMatching) -> NDArray[np.float32]:
        if isinstance(model.encoder, FeaturePack):
            pairs = f"pairs of {matching.name!r}"
            return read_pack(model.encoder, matching.key, matching.digests, pairs, name=_name(model))
        if not isinstance(model.encoder, EncodesDensely):
            _ = model.image_encoder  # raises before anything is read

        def encode(missing: Sequence[str]) -> Iterator[EncodedBatch]:
            return self._engine.encode(part_of(matching.job, missing))

        return complete(
            self._store,
            matching.key,
            matching.digests,
            self._own_share("pairs", encode, width=lambda: matching.width),
            show=partial(self._progress, "pairs", matching.name),
            name=model.spec.label,
        )

    def _own_share(self, kind: str, encode: Encode, *, width: Callable[[], int]) -> Encode:
        """Return `encode` limited to the share of this rank, if there are ranks, and counted as `kind`."""

        def encode_missing(missing: Sequence[str]) -> Iterator[EncodedBatch]:
            share = encode(missing) if self._rank is None else encode_share(self._rank, missing, encode, width=width)
            for batch in share:
                if batch.keep:
                    self.counts[kind] += len(batch.digests)
                else:
                    self.left_to_others += len(batch.digests)
                yield batch

        return encode_missing

    def _prompt_lock(self, key: StoreKey) -> AbstractContextManager[None] | None:
        if self._lock_folder is None:
            return None
        file = self._lock_folder / f"{key.folder}.lock"
        activity = "encodes the same prompts"
        return hold_lock(file, activity=activity, limit=PROMPT_LOCK_SECONDS, required=False, notice=self._notice)

    def _local_engine(self) -> Engine:
        from pytest_clip_robust.encoding.engines.local import LocalEngine  # noqa: PLC0415 - imports torch

        return LocalEngine(notice=self._notice)

    def _width(self, model: LoadedModel) -> int:
        if not model.has_texts:
            from pytest_clip_robust.encoding.engines.local import image_width  # noqa: PLC0415 - imports torch

            return image_width(model)
        (probe,) = self._engine.encode(TextJob(model=model, texts={PROBE_TEXT: PROBE_TEXT}))
        return len(probe.features[0])


def image_key(model: LoadedModel, images: ImageSet) -> StoreKey:
    """Return the key of the features of a set's images; the border that is cropped is part of the transform."""
    border = f"+crop{images.crop_border}" if images.crop_border else ""
    return StoreKey(
        kind="image", weights=model.weights, transform=f"{model.preprocess}{border}", precision=model.arithmetic
    )


def text_key(model: LoadedModel) -> StoreKey:
    """Return the key of the features of texts."""
    return StoreKey(kind="text", weights=model.weights, transform=model.text, precision=model.arithmetic)


def _asked_key(kind: Literal["likelihoods", "answers"], model: LoadedModel, asked: Sequence[object]) -> StoreKey:
    """Return the key of answers; weights, processor and chat template are in the model's one digest."""
    return StoreKey(kind=kind, weights=model.weights, transform=digest(asked), precision=model.arithmetic)


def _parted(images: ImageSet | AlteredImages) -> tuple[ImageSet, AlteredImages | None]:
    """Return the images that are read, and what alters them."""
    return (images, None) if isinstance(images, ImageSet) else (images.sources, images)


def read_pack(pack: FeaturePack, key: StoreKey, digests: Sequence[str], what: str, *, name: str) -> NDArray[np.float32]:
    """Return the (N, D) rows of N `digests` of a feature pack; `what` and `name` are for messages.

    Raises:
        ModelError: the pack does not have all of them.
    """
    features, found = FeatureStore(pack.location).read(key, digests)
    if not found.all():
        raise ModelError(
            f"{name} has no features of {int((~found).sum())} of {len(found)} {what}: run {pack.source} with this "
            "profile, and export its features again"
        )
    return features


def complete(
    store: FeatureStore,
    key: StoreKey,
    digests: Sequence[str],
    encode_missing: Callable[[Sequence[str]], Iterable[EncodedBatch]],
    *,
    show: Callable[[int], AbstractContextManager[Advance]],
    name: str,
    lock: AbstractContextManager[object] | None = None,
) -> NDArray[np.float32]:
    """Return the (N, D) rows of N `digests`; rows that the store lacks are encoded and stored.

    show: opens a progress display for a number of samples. name: the model's, for messages.
    lock: held while rows are encoded; rows that another process stored in the meantime are not encoded again.
    """
    distinct = list(dict.fromkeys(digests))
    features, found = store.read(key, distinct)
    if lock is not None and not found.all():
        with lock:
            return complete(store, key, digests, encode_missing, show=show, name=name)
    missing = [digest for digest, known in zip(distinct, found, strict=True) if not known]
    if missing:
        row_of = {digest: row for row, digest in enumerate(distinct)}
        with show(len(missing)) as advance, _writer(store, key) as write:
            for batch, new, keep in encode_missing(missing):
                features = _with_width(features, new, where=f"{name}: {store.location(key)}")
                rows = [row_of[digest] for digest in batch]
                features[rows], found[rows] = new, True
                if keep:
                    write(batch, new)
                    advance(len(batch))
        if not found.all():
            raise ModelError(
                f"{name}: the engine returned no features for {len(found) - found.sum()} of {len(missing)} samples"
            )
    if len(distinct) == len(digests):
        return features
    row_of = {digest: row for row, digest in enumerate(distinct)}
    return features[[row_of[digest] for digest in digests]]


def _with_width(features: NDArray[np.float32], new: NDArray[np.float32], *, where: str) -> NDArray[np.float32]:
    """Return `features`, or an array as wide as `new` if nothing was stored and the width was unknown."""
    stored, width = features.shape[1], new.shape[1]
    if stored not in {0, width}:
        raise ModelError(
            f"{where} holds features with {stored} dimensions, and the model returned {width}: "
            "its identity must change when the model does"
        )
    return features if stored else np.empty((len(features), width), np.float32)


@contextmanager
def _writer(store: FeatureStore, key: StoreKey) -> Iterator[Write]:
    """Collect batches into larger shards; after an error, everything encoded so far is still written."""
    digests: list[str] = []
    features: list[NDArray[np.float32]] = []
    flushed = time.monotonic()
    with store.writing(key) as store_rows:

        def flush() -> None:
            nonlocal flushed
            if digests:
                store_rows(digests, np.concatenate(features))
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
