"""The Session: what all models of a run share, and the only place that reads data and encodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.config.run import RunConfig, user_cache
from pytest_clip_robust.core.summary import RunSummary
from pytest_clip_robust.datasets.captions.captions import CaptionSet, load_caption_set
from pytest_clip_robust.datasets.captions.contrast_set import ContrastSet, MatchSet
from pytest_clip_robust.datasets.captions.contrasts import load_contrast_set
from pytest_clip_robust.datasets.captions.word_order import word_order_set
from pytest_clip_robust.datasets.correspondence.keypoint_set import KeypointSet
from pytest_clip_robust.datasets.correspondence.keypoints import load_keypoint_set
from pytest_clip_robust.datasets.correspondence.view_set import ViewSet
from pytest_clip_robust.datasets.correspondence.views import load_view_set
from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.datasets.images.loading import load_image_set
from pytest_clip_robust.encoding.dense.pairs import ViewErrors
from pytest_clip_robust.encoding.encoder import Encoder
from pytest_clip_robust.encoding.engines.base import AlteredImages
from pytest_clip_robust.encoding.engines.local import LocalEngine
from pytest_clip_robust.encoding.pixels.cache import PixelCache
from pytest_clip_robust.encoding.store.features import FeatureStore
from pytest_clip_robust.errors import ConfigError, did_you_mean
from pytest_clip_robust.models.loading import load_model, resolve_device
from pytest_clip_robust.models.protocols import KnowsItsContext, LoadedModel
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.prompts.corpus import Corpus, corpus
from pytest_clip_robust.prompts.templates import PromptSet, prompt_set
from pytest_clip_robust.scoring.pairs import tell_texts_apart
from pytest_clip_robust.system.notice import Notice
from pytest_clip_robust.system.progress import Advance, show_progress
from pytest_clip_robust.system.text import printable

_Set = TypeVar("_Set")


class Session:
    """What all models of a run share: the configuration, the data sets read so far and the feature store.

    `uncaptured` opens a way around pytest's output capture while something long runs. `lock_folder` is shared by the
    workers of a run, so that only one of them encodes the same prompts. `processes` encode on this machine.
    """

    def __init__(
        self,
        run: RunConfig,
        *,
        uncaptured: Callable[[], AbstractContextManager[None]],
        lock_folder: Path | None = None,
        processes: int = 1,
    ) -> None:
        self.run = run
        self.uncaptured = uncaptured
        self._notices: list[str] = []
        self._store = FeatureStore(f"{run.cache.rstrip('/')}/features", notice=self.notice)
        self._encoder = Encoder(
            self._store,
            _local_engine(run, processes, self.notice),
            rank=run.rank,
            lock_folder=lock_folder,
            progress=self.progress,
            notice=self.notice,
        )
        # What `datasets` prepares is memory-mapped, so it needs a local folder even where features lie in a bucket.
        self.data_cache = None if "://" in run.cache else Path(run.cache).expanduser().absolute() / "data"
        self._models: dict[str, dict[str, Any]] = {}
        self._image_sets: dict[str, ImageSet] = {}
        self._caption_sets: dict[str, CaptionSet] = {}
        self._contrast_sets: dict[str, ContrastSet | MatchSet] = {}
        self._view_sets: dict[str, ViewSet] = {}
        self._keypoint_sets: dict[str, KeypointSet] = {}
        self._text_only: dict[str, NDArray[np.float64] | None] = {}

    @cached_property
    def prompts(self) -> PromptSet:
        """The profile's prompt set."""
        return prompt_set(self.run.profile.prompts)

    @cached_property
    def compared_prompts(self) -> tuple[PromptSet, ...]:
        """The prompt sets that the profile compares; none, where it names none."""
        return tuple(prompt_set(source) for source in self.run.profile.compared_prompts)

    @cached_property
    def corpus(self) -> Corpus:
        """The labels from which negative ones are chosen."""
        return corpus(self.run.profile.negatives)

    def images(self, name: str) -> ImageSet:
        """Read a data set of the profile, once.

        Raises:
            ConfigError: the profile has no such set.
            DataError: the set cannot be read.
        """
        prompted = name not in self.run.profile.sets("ood")
        return self._once(self._image_sets, name, partial(load_image_set, prompted=prompted))

    def captions(self, name: str) -> CaptionSet:
        """Read a set of captioned images of the profile, once.

        Raises:
            ConfigError: the profile has no such set.
            DataError: the set cannot be read.
        """
        if name not in self._caption_sets:
            found = load_caption_set(self._entry(name), cache_dir=self.data_cache)
            for remark in found.remarks:
                self.notice(remark)
            self._caption_sets[name] = found
        return self._caption_sets[name]

    def contrasts(self, name: str) -> ContrastSet | MatchSet:
        """Read a set of hard pairs of the profile, once.

        Raises:
            ConfigError: the profile has no such set.
            DataError: the set cannot be read.
        """
        return self._once(self._contrast_sets, name, load_contrast_set)

    def views(self, name: str) -> ViewSet:
        """Read a set of posed views of the profile, once.

        Raises:
            ConfigError: the profile has no such set.
            DataError: the set cannot be read.
        """
        return self._once(self._view_sets, name, load_view_set)

    def keypoints(self, name: str) -> KeypointSet:
        """Read a set of pictures with keypoints of the profile, once.

        Raises:
            ConfigError: the profile has no such set.
            DataError: the set cannot be read.
        """
        return self._once(self._keypoint_sets, name, load_keypoint_set)

    def word_order(self, name: str) -> ContrastSet:
        """Set the first captions of a set's images against their words in other orders.

        Raises:
            ConfigError, DataError: as for `captions`, or no caption has another order.
        """
        return word_order_set(self.captions(name))

    def text_only(self, found: ContrastSet) -> NDArray[np.float64] | None:
        """Say of every item whether its captions alone give the true one away, for all models once.

        An item counts as its least sure false caption does.
        """
        if found.fingerprint not in self._text_only:
            true = [found.texts[i] for i in found.true_of[found.false_items].tolist()]
            false = [found.texts[i] for i in found.false_of.tolist()]
            told = tell_texts_apart(true, false, found.image_of[found.false_items])
            starts = np.searchsorted(found.false_items, np.arange(len(found.samples)))
            self._text_only[found.fingerprint] = None if told is None else np.minimum.reduceat(told, starts)
        return self._text_only[found.fingerprint]

    def count_truncated(self, loaded: LoadedModel, texts: Sequence[str], dataset: str) -> int:
        """Count the captions that are longer than the model's context, and say so once."""
        if not isinstance(loaded.encoder, KnowsItsContext):
            self.notice(f"{loaded.spec.label}: which captions it cuts is not known; its encoder has no method too_long")
            return 0
        cut = [text for text, long in zip(texts, loaded.encoder.too_long(list(texts)), strict=True) if long]
        if cut:
            self.notice(
                f"{loaded.spec.label}: {len(cut)} of {len(texts)} captions of {dataset!r} are longer than its context "
                f"and were cut, such as {printable(cut[0][:60])!r}"
            )
        return len(cut)

    def _once(self, sets: dict[str, _Set], name: str, load: Callable[..., _Set]) -> _Set:
        if name not in sets:
            sets[name] = load(self._entry(name), cache_dir=self.data_cache)
        return sets[name]

    def _entry(self, name: str) -> DataEntry:
        entries = self.run.profile.data
        if name not in entries:
            raise ConfigError(f"no data set {name!r} in this run{did_you_mean(name, entries)}")
        return entries[name]

    def encode_images(self, loaded: LoadedModel, images: ImageSet | AlteredImages) -> NDArray[np.float32]:
        """Return the (N, D) features of a set's images, in its order."""
        return self._encoder.images(loaded, images)

    def encode_texts(self, loaded: LoadedModel, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the (len(texts), D) features of `texts`."""
        return self._encoder.texts(loaded, texts)

    def match_views(self, loaded: LoadedModel, views: ViewSet, pairs: NDArray[np.int64]) -> list[ViewErrors]:
        """Return the errors of the matches of `pairs` of a set's views."""
        return self._encoder.view_pairs(loaded, views, pairs, size=self.run.profile.correspondence.size)

    def match_keypoints(
        self, loaded: LoadedModel, keypoints: KeypointSet, pairs: NDArray[np.int64]
    ) -> list[NDArray[np.float32]]:
        """Return the errors of the keypoints that `pairs` of a set's pictures share."""
        return self._encoder.keypoint_pairs(loaded, keypoints, pairs, size=self.run.profile.correspondence.size)

    @contextmanager
    def progress(self, things: str, whole: str, total: int, /) -> Iterator[Advance]:
        """Show long work around pytest's capture."""
        with self.uncaptured(), show_progress(things, whole, total, notice=self.notice) as advance:
            yield advance

    @cached_property
    def device(self) -> str:
        """The torch device that models run on.

        Raises:
            ConfigError: it is no device, or not one of this machine.
        """
        rank = self.run.rank
        return resolve_device(self.run.device, local_rank=None if rank is None else rank.local_rank)

    def load(self, spec: ModelSpec) -> LoadedModel:
        """Load a model, check it, and note its identity for the report.

        Raises:
            ModelError: it cannot be loaded, or fails its checks.
        """
        loaded = load_model(spec, device=self.device, precision=self.run.precision, compiled=self.run.compile)
        self._models[spec.label] = {
            "spec": str(spec),
            "weights": loaded.weights,
            "preprocess": loaded.preprocess,
            "text": loaded.text,
            "precision": loaded.precision,
            "device": loaded.device,
            "notes": list(loaded.notes),
        }
        return loaded

    def notice(self, text: str) -> None:
        """Say `text` once below the table."""
        if text not in self._notices:
            self._notices.append(text)

    def summary(self) -> RunSummary:
        """Say what was loaded and encoded so far, as plain data."""
        return RunSummary(
            models=dict(self._models),
            data=self._data_read(),
            notices=list(self._notices),
            images_encoded=self._encoder.counts["images"],
            texts_encoded=self._encoder.counts["texts"],
            left_to_others=self._encoder.left_to_others,
            rows_lost=self._store.rows_in_memory,
        )

    def _data_read(self) -> dict[str, dict[str, Any]]:
        """Say which sets were read, and how many texts or pairs those that have them have."""
        read = {name: _about(images, images.fingerprint) for name, images in self._image_sets.items()}
        texts: dict[str, int] = {name: len(found.captions) for name, found in self._caption_sets.items()}
        texts |= {name: len(found.texts) + texts.get(name, 0) for name, found in self._contrast_sets.items()}
        for name, found in (*self._caption_sets.items(), *self._contrast_sets.items()):
            read[name] = read.get(name, _about(found.images, found.fingerprint)) | {"texts": texts[name]}
        paired: list[tuple[str, ViewSet | KeypointSet]] = [*self._view_sets.items(), *self._keypoint_sets.items()]
        for name, one in paired:
            read[name] = read.get(name, _about(one.images, one.fingerprint)) | {"pairs": len(one.pairs)}
        return read


def _about(images: ImageSet, fingerprint: str) -> dict[str, Any]:
    return {"images": len(images), "fingerprint": fingerprint, "licence": images.licence}


def _local_engine(run: RunConfig, processes: int, notice: Notice) -> LocalEngine:
    # Pixels are memory-mapped, so they need a local folder even where features lie in a bucket.
    cache = user_cache() if "://" in run.cache else Path(run.cache).expanduser().absolute()
    pixels = PixelCache(cache / "pixels", limit=run.pixel_cache, notice=notice) if run.pixel_cache else None
    return LocalEngine(
        batch_size=run.batch_size, workers=run.workers, processes=processes, pixels=pixels, notice=notice
    )
