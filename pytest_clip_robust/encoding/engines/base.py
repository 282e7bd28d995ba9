"""Engines: the interface between the feature store and the code that runs the model.

An engine is one method. To run models elsewhere, such as on a cluster, write another class with it. A job names all
inputs; batches can come in any order and of any size. A new kind of job does not change the protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pytest_clip_robust.datasets.correspondence.keypoint_set import KeypointSet
from pytest_clip_robust.datasets.correspondence.view_set import ViewSet
from pytest_clip_robust.datasets.images.decoding import Alter
from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.models.protocols import LoadedModel


class AlteredImages(Protocol):
    """Images that are altered between decoder and model, such as corrupted ones; only their features are stored."""

    @property
    def name(self) -> str:
        """Name of the data set and the alteration, for messages."""

    @property
    def sources(self) -> ImageSet:
        """The N images before the alteration."""

    @property
    def digests(self) -> Sequence[str]:
        """N SHA-256 hex digests that identify the altered images in the feature store."""

    def __call__(self, image: Image.Image, position: int, /) -> Image.Image:
        """Return the altered version of the decoded `image`, which is at `position` of the sources.

        Raises:
            DataError: the image cannot be altered.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageJob:
    """Images to be encoded by `model`.

    images: the set to read from. positions: the position in `images` of each sample, by digest, without repeats.
    alter: applied to each decoded image, or None.
    """

    model: LoadedModel
    images: ImageSet
    positions: Mapping[str, int]
    alter: Alter | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextJob:
    """Texts to be encoded by `model`, by digest."""

    model: LoadedModel
    texts: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LikelihoodJob:
    """One question about images, with the likelihoods of C candidates: a row has their (C,) log-probabilities.

    images, positions, alter: as in `ImageJob`.
    """

    model: LoadedModel
    images: ImageSet
    positions: Mapping[str, int]
    question: str
    candidates: tuple[str, ...]
    alter: Alter | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerJob:
    """Questions about images, to be answered in free text: a row has the tokens of an answer, and `NO_TOKEN` behind it.

    images, alter: as in `ImageJob`. asked: the position of the image and the question, by digest.
    limit: tokens of an answer at most; it is the length of a row.
    """

    model: LoadedModel
    images: ImageSet
    asked: Mapping[str, tuple[int, str]]
    limit: int
    alter: Alter | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PairJob:
    """Pairs of pictures, to be matched by the dense features of `model`: a row has the errors of a pair's matches.

    pictures: the set. pairs: positions of both pictures, by digest. size: pixels of a picture's longer side, as the
    model sees it. places: whether a row has the places of some matches of two views instead, to draw them.
    """

    model: LoadedModel
    pictures: ViewSet | KeypointSet
    pairs: Mapping[str, tuple[int, int]]
    size: int
    places: bool = False


NO_TOKEN = -1.0
"""What fills the row of an answer behind its tokens, whose numbers are 0 and more."""

Job = ImageJob | TextJob | LikelihoodJob | AnswerJob | PairJob
AnyJob = TypeVar("AnyJob", bound=Job)

_SAMPLES = {
    ImageJob: "positions",
    TextJob: "texts",
    LikelihoodJob: "positions",
    AnswerJob: "asked",
    PairJob: "pairs",
}
"""The attribute of each kind of job that has an entry per sample."""


def samples_of(job: Job) -> Mapping[str, Any]:
    """Return what a job asks for each sample, by digest."""
    found: Mapping[str, Any] = getattr(job, _SAMPLES[type(job)])
    return found


def part_of(job: AnyJob, digests: Iterable[str]) -> AnyJob:
    """Return the job for some of its samples."""
    samples = samples_of(job)
    some: Any = {_SAMPLES[type(job)]: {digest: samples[digest] for digest in digests}}
    return replace(job, **some)


class EncodedBatch(NamedTuple):
    """The `digests` of B samples and their (B, D) float32 `features`, not normalised.

    keep: False for placeholders of features that another rank encodes; they are neither stored nor counted.
    """

    digests: Sequence[str]
    features: NDArray[np.float32]
    keep: bool = True


class Engine(Protocol):
    """Encodes samples that the store lacks."""

    def encode(self, job: Job, /) -> Iterator[EncodedBatch]:
        """Yield the features of every sample of `job`, each once. Yielded batches are stored, also if an error follows.

        Raises:
            DataError: an image cannot be read.
            ModelError: the model fails, or its features are unusable.
            ConfigError: the machine lacks what the engine's settings require.
        """


class DeferredEngine:
    """Makes its engine when the first job comes: a run that finds everything in the store does not import torch."""

    def __init__(self, make: Callable[[], Engine]) -> None:
        self._make = make

    @cached_property
    def _engine(self) -> Engine:
        return self._make()

    def encode(self, job: Job, /) -> Iterator[EncodedBatch]:
        """See `Engine`."""
        return self._engine.encode(job)
