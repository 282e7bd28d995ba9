"""What a model says of corrupted images: the part of an EvaluatedModel that answers the corruption suite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.config.sections import CorruptionSettings
from pytest_clip_robust.core.digest import combine_digests
from pytest_clip_robust.core.predictions import Predictions
from pytest_clip_robust.corruptions import VERSION, needs_depth
from pytest_clip_robust.corruptions.depth_maps import estimated_depths
from pytest_clip_robust.corruptions.estimation import DepthEstimator
from pytest_clip_robust.corruptions.images import CorruptedImages
from pytest_clip_robust.datasets.images.corrupted_folders import corrupted_entry, corrupted_kinds
from pytest_clip_robust.datasets.images.depth import Depths
from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.datasets.images.loading import load_image_set
from pytest_clip_robust.errors import ConfigError
from pytest_clip_robust.evaluation.session import Session
from pytest_clip_robust.models.protocols import LoadedModel
from pytest_clip_robust.scoring import ood_scores
from pytest_clip_robust.scoring.confidence import Confidences, softmax_confidences
from pytest_clip_robust.scoring.decisions import CorruptedAnswers, Decisions, decide
from pytest_clip_robust.scoring.ood_scores import Scores

SCORE = "mcm"
"""The score that OOD images are told from corrupted ones by."""

KINDS_KEPT = 64


class Predict(Protocol):
    """Turns images and their (N, D) features into Predictions, with the profile's prompts."""

    def __call__(self, images: ImageSet, features: NDArray[np.float32], /) -> Predictions:
        """Classify the images among their classes."""


class ZeroShot(Protocol):
    """Classifies a set of the profile."""

    def __call__(self, dataset: str, /) -> Predictions:
        """Classify every image of the set among its classes."""


@dataclass(frozen=True, slots=True)
class UnderCorruption:
    """What a model says of a set under one kind of corruption at one severity.

    reliability and scores are None unless the profile's corruptions.also asks for calibration and ood.
    """

    decisions: Decisions
    answers: NDArray[np.int64]
    reliability: Confidences | None
    scores: Scores | None


class CorruptedEvaluation:
    """Answers for one model. Every question may raise a ClipRobustError, as those of an EvaluatedModel."""

    def __init__(self, loaded: LoadedModel, session: Session, *, predict: Predict, zero_shot: ZeroShot) -> None:
        self._loaded, self._session = loaded, session
        self._predict, self._zero_shot = predict, zero_shot
        self._bench = CorruptionBench(session)
        self._under = lru_cache(maxsize=KINDS_KEPT)(self._ask)

    def kinds(self, dataset: str) -> tuple[str, ...]:
        """Name the kinds of corruption that `dataset` is measured under."""
        return self._bench.kinds(dataset)

    def at(self, dataset: str, kind: str, severity: int) -> UnderCorruption:
        """Classify the images of `dataset` corrupted by `kind` at `severity`, one of those that the profile asks for.

        Raises:
            ConfigError: it does not ask for it, or the set has not been corrupted so.
        """
        found = self._under(dataset, kind)
        if severity not in found:
            raise ConfigError(f"{dataset!r} is not measured at severity {severity} of {kind!r}, but at {list(found)}")
        return found[severity]

    def answers(self, dataset: str, kind: str) -> CorruptedAnswers:
        """Give the answers at all severities, beside those to the same images uncorrupted where there are any."""
        found = self._under(dataset, kind)
        decided = [one.decisions for one in found.values()]
        return CorruptedAnswers(
            dataset=dataset,
            kind=kind,
            severities=tuple(found),
            answers=np.stack([one.answers for one in found.values()]),
            labels=decided[0].labels,
            clean=self._clean_answers(dataset, decided[0]),
            samples=decided[0].samples,
            provenance=decided[0].provenance.merged_with(*(one.provenance for one in decided[1:])),
        )

    def _ask(self, dataset: str, kind: str) -> dict[int, UnderCorruption]:
        """Encode all severities in one go, so that making and encoding images overlap."""
        encoded = self._bench.encode(self._loaded, dataset, kind)
        found = {}
        for severity, (images, features) in zip(self._bench.severities(dataset, kind), encoded, strict=True):
            predictions = self._predict(images, features)
            known_by = combine_digests(images.fingerprint, f"{kind}/{severity}", self._bench.identity(dataset))
            origin = replace(predictions.provenance, data=known_by)
            found[severity] = self._judge(replace(predictions, dataset=dataset, provenance=origin))
        return found

    def _judge(self, predictions: Predictions) -> UnderCorruption:
        also = self._bench.plan.also
        scores = None
        if "ood" in also:
            scores = Scores(
                dataset=predictions.dataset,
                score=SCORE,
                values=ood_scores.OF_LOGITS[SCORE](predictions.logits, predictions.scale),
                samples=predictions.samples,
                provenance=predictions.provenance,
            )
        return UnderCorruption(
            decisions=decide(predictions),
            answers=_answers(predictions.logits),
            reliability=softmax_confidences(predictions) if "calibration" in also else None,
            scores=scores,
        )

    def _clean_answers(self, dataset: str, corrupted: Decisions) -> NDArray[np.int64] | None:
        """Answer the uncorrupted images: the set's own, or those of the same names in the ID set."""
        if dataset in self._session.run.profile.sets("corruptions"):
            images = self._bench.images(dataset)
            return _answers(self._predict(images, self._session.encode_images(self._loaded, images)).logits)
        for name in self._session.run.profile.sets("id"):
            known = self._zero_shot(name)
            rows = same_images(corrupted.samples, known.samples)
            if rows is not None and np.array_equal(known.labels[rows], corrupted.labels):
                return _answers(known.logits[rows])
        return None


def _answers(logits: NDArray[np.float32]) -> NDArray[np.int64]:
    answers: NDArray[np.int64] = logits.argmax(axis=1)
    return answers


class CorruptionBench:
    """Corrupts sets of the profile on the fly, or finds them corrupted already, and encodes them."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._profile = session.run.profile
        self.images = lru_cache(maxsize=None)(self._choose)
        self._depths = lru_cache(maxsize=None)(self._find_depths)

    @property
    def plan(self) -> CorruptionSettings:
        """What the profile says of corruptions."""
        return self._profile.corruptions

    def kinds(self, dataset: str) -> tuple[str, ...]:
        """Name the kinds that a set is measured under: the plan's, or those that it has been corrupted by."""
        return tuple(corrupted_kinds(self._profile.data[dataset])) if self._ready(dataset) else self.plan.kinds

    def severities(self, dataset: str, kind: str) -> tuple[int, ...]:
        """Return the severities that the plan asks for and the set has."""
        if not self._ready(dataset):
            return self.plan.severities
        there = corrupted_kinds(self._profile.data[dataset]).get(kind, ())
        return tuple(severity for severity in self.plan.severities if severity in there)

    def identity(self, dataset: str) -> str:
        """Say what corrupted images depend on beside themselves, kind and severity."""
        if self._ready(dataset):
            return "corrupted before"
        depth = self.plan.depth if self.images(dataset).depths is None else "its own"
        return f"version {VERSION}, seed {self.plan.seed}, depth {depth}"

    def encode(self, loaded: LoadedModel, dataset: str, kind: str) -> list[tuple[ImageSet, NDArray[np.float32]]]:
        """Return, for each severity, the images and the (N, D) features of their corrupted selves.

        Raises:
            DataError: images or depth cannot be read, or do not fit.
        """
        if self._ready(dataset):
            cells = [self._cell(dataset, kind, severity) for severity in self.severities(dataset, kind)]
            return [(cell, self._session.encode_images(loaded, cell)) for cell in cells]
        corrupted = self.corrupted(dataset, kind)
        features = self._session.encode_images(loaded, corrupted)
        return [(self.images(dataset), part) for part in np.split(features, len(corrupted.severities))]

    def corrupted(self, dataset: str, kind: str) -> CorruptedImages:
        """Return the plan's images of a set under one kind, to be made when they are read."""
        return CorruptedImages(
            self.images(dataset),
            kind,
            self.plan.severities,
            seed=self.plan.seed,
            depths=self._depths(dataset) if needs_depth(kind) else None,
        )

    def _ready(self, dataset: str) -> bool:
        return dataset in self._profile.sets("corrupted")

    def _cell(self, dataset: str, kind: str, severity: int) -> ImageSet:
        entry = corrupted_entry(self._profile.data[dataset], kind, severity)
        return _spread(load_image_set(entry, cache_dir=self._session.data_cache), self.plan.images)

    def _choose(self, dataset: str) -> ImageSet:
        return _spread(self._session.images(dataset), self.plan.images)

    def _find_depths(self, dataset: str) -> Depths | None:
        images = self.images(dataset)
        if images.depths is not None or not self.plan.depth:
            return images.depths
        return estimated_depths(images, self._estimator, self._maps, progress=self._session.progress)

    @cached_property
    def _estimator(self) -> DepthEstimator:
        return DepthEstimator(self.plan.depth, device=self._session.device)

    @cached_property
    def _maps(self) -> Path:
        cache = self._session.data_cache
        return Path(mkdtemp(prefix="clip-robust-depth-")) if cache is None else cache.parent / "depth"


def _spread(images: ImageSet, count: int) -> ImageSet:
    """Take `count` images, as many of every class as of every other, chosen by their names; 0 takes all.

    By name and not by content, so that the same photographs are taken from a clean and from a corrupted copy.
    """
    if not 0 < count < len(images):
        return images
    order = np.array(sorted(range(len(images)), key=lambda i: (Path(images.samples[i]).stem, i)))
    rank = np.empty(len(images), np.int64)
    for label in np.unique(images.labels):
        of_class = order[images.labels[order] == label]
        rank[of_class] = np.arange(len(of_class))
    first = sorted(range(len(images)), key=lambda i: (rank[i], images.labels[i]))[:count]
    return images.take(np.array(sorted(first)))


def same_images(samples: Sequence[str], among: Sequence[str]) -> list[int] | None:
    """Find the images called `samples` among others: by path, else by file name; suffixes may differ.

    None where one is not there, or a name is not unique.

    >>> same_images(["dog/7.jpg"], ["cat/7.png", "dog/7.png"]), same_images(["n1/v_3.JPEG"], ["v_3.JPEG"])
    ([1], [0])
    """
    for key in (lambda sample: Path(sample).with_suffix(""), lambda sample: Path(sample).stem):
        place = {key(sample): row for row, sample in enumerate(among)}
        rows = [place.get(key(sample)) for sample in samples]
        if None not in rows and len(place) == len(among):
            return [row for row in rows if row is not None]
    return None
