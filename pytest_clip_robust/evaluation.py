"""An EvaluatedModel answers a suite's questions about one model, encoding only what no one has encoded before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.config import RunConfig
from pytest_clip_robust.datasets.image_set import ImageSet
from pytest_clip_robust.datasets.loading import load_image_set
from pytest_clip_robust.encoding.classifier import zero_shot_logits, zero_shot_weights
from pytest_clip_robust.encoding.encoder import EncodeCounts, encode_images, encode_texts
from pytest_clip_robust.encoding.progress import Advance, show_progress
from pytest_clip_robust.encoding.store import FeatureStore
from pytest_clip_robust.errors import ConfigError, did_you_mean
from pytest_clip_robust.measurement import Predictions, Provenance
from pytest_clip_robust.models.encoder import LoadedModel
from pytest_clip_robust.models.loading import load_model, resolve_device
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.prompts.templates import PromptSet, prompt_set
from pytest_clip_robust.report.summary import RunSummary

PREDICTIONS_KEPT = 4
"""Logits of a few sets at a time: those of 50,000 images and 1,000 classes are 200 MB."""


class Workbench:
    """What all models of a run share: the configuration, the data sets read so far and the feature store.

    `uncaptured` opens a way around pytest's output capture while something long runs.
    """

    def __init__(self, run: RunConfig, *, uncaptured: Callable[[], AbstractContextManager[None]]) -> None:
        self.run = run
        self.uncaptured = uncaptured
        self.counts = EncodeCounts()
        self._notices: list[str] = []
        self._store = FeatureStore(f"{run.cache.rstrip('/')}/features", notice=self._notices.append)
        # What `datasets` prepares is memory-mapped, so it needs a local folder even where features lie in a bucket.
        self._data_cache = None if "://" in run.cache else Path(run.cache).expanduser().absolute() / "data"
        self._models: dict[str, dict[str, Any]] = {}
        self._image_sets: dict[str, ImageSet] = {}

    @cached_property
    def prompts(self) -> PromptSet:
        """The profile's prompt set."""
        return prompt_set(self.run.profile.prompts)

    def images(self, name: str) -> ImageSet:
        """Read a data set of the profile, once.

        Raises:
            ConfigError: the profile has no such set.
            DataError: the set cannot be read.
        """
        if name not in self._image_sets:
            entries = self.run.profile.data
            if name not in entries:
                raise ConfigError(f"no data set {name!r} in this run{did_you_mean(name, entries)}")
            self._image_sets[name] = load_image_set(entries[name], cache_dir=self._data_cache)
        return self._image_sets[name]

    def encode_images(self, loaded: LoadedModel, images: ImageSet) -> NDArray[np.float32]:
        """Return the (N, D) features of a set's images, in its order."""
        return encode_images(
            loaded,
            images,
            self._store,
            batch_size=self.run.batch_size,
            workers=self.run.workers,
            counts=self.counts,
            progress=self._progress,
            notice=self._notices.append,
        )

    def encode_texts(self, loaded: LoadedModel, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the (len(texts), D) features of `texts`."""
        return encode_texts(
            loaded, texts, self._store, counts=self.counts, progress=self._progress, notice=self._notices.append
        )

    @contextmanager
    def _progress(self, things: str, whole: str, total: int, /) -> Iterator[Advance]:
        with self.uncaptured(), show_progress(things, whole, total, notice=self._notices.append) as advance:
            yield advance

    def evaluate(self, spec: ModelSpec) -> EvaluatedModel:
        """Load a model and check it.

        Raises:
            ModelError: it cannot be loaded, or fails its checks.
        """
        loaded = load_model(spec, device=resolve_device(self.run.device), precision=self.run.precision)
        self._models[spec.label] = {
            "spec": str(spec),
            "weights": loaded.weights,
            "preprocess": loaded.preprocess,
            "text": loaded.text,
            "precision": loaded.precision,
            "device": loaded.device,
            "notes": list(loaded.notes),
        }
        return EvaluatedModel(loaded, self)

    def summary(self) -> RunSummary:
        """Say what was loaded and encoded so far, as plain data."""
        return RunSummary(
            models=dict(self._models),
            data={
                name: {"images": len(images), "fingerprint": images.fingerprint, "licence": images.licence}
                for name, images in self._image_sets.items()
            },
            notices=list(self._notices),
            images_encoded=self.counts.images,
            texts_encoded=self.counts.texts,
        )


class EvaluatedModel:
    """One model, ready to be asked. `spec`, `scale` and `bias` are the model's own."""

    def __init__(self, loaded: LoadedModel, workbench: Workbench) -> None:
        self.spec = loaded.spec
        self.scale = float(loaded.encoder.scale)
        self.bias = float(loaded.encoder.bias)
        self._loaded = loaded
        self._workbench = workbench
        self._predictions = lru_cache(maxsize=PREDICTIONS_KEPT)(self._predict)

    def zero_shot(self, dataset: str, *, prompts: PromptSet | None = None) -> Predictions:
        """Classify every image of `dataset` among its classes with `prompts`, by default the profile's.

        Raises:
            ClipRobustError: the set cannot be read or encoded.
        """
        return self._predictions(dataset, prompts or self._workbench.prompts)

    def image_features(self, dataset: str) -> NDArray[np.float32]:
        """Return the (N, D) features of a set's images, not normalised, in the set's order."""
        return self._workbench.encode_images(self._loaded, self._workbench.images(dataset))

    def text_features(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the (len(texts), D) features of `texts`, not normalised."""
        return self._workbench.encode_texts(self._loaded, texts)

    def _predict(self, dataset: str, prompts: PromptSet) -> Predictions:
        images = self._workbench.images(dataset)
        weights = zero_shot_weights(self.text_features(prompts.texts(images.class_names)), len(images.class_names))
        logits = zero_shot_logits(self.image_features(dataset), weights, scale=self.scale, bias=self.bias)
        return Predictions(
            dataset=dataset,
            logits=logits,
            labels=images.labels,
            class_names=images.class_names,
            class_ids=images.class_ids,
            samples=images.samples,
            annotations=images.annotations,
            provenance=Provenance(
                model=self.spec.label,
                weights=self._loaded.weights,
                preprocess=self._loaded.preprocess,
                precision=self._loaded.precision,
                data=images.fingerprint,
                prompts=prompts.digest,
            ),
        )
