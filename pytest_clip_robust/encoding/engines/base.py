"""The seam between what is stored and what encodes it: jobs in, batches of features out.

An engine is one method. Whoever runs models elsewhere (on a cluster, on other machines) writes another class with it;
jobs name all that it needs, batches may come in any order and of any size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.models.protocols import LoadedModel

if TYPE_CHECKING:
    from pytest_clip_robust.corruptions.images import CorruptedImages


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageJob:
    """Some of a set's images, to be encoded by `model`.

    digests: which ones, a part of ``images.digests`` without repeats.
    """

    model: LoadedModel
    images: ImageSet | CorruptedImages
    digests: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextJob:
    """Texts by digest, to be encoded by `model`."""

    model: LoadedModel
    texts: Mapping[str, str]


class EncodedBatch(NamedTuple):
    """The `digests` of B samples and their (B, D) float32 `features`, not normalised.

    keep: False for stand-ins of features that another process encodes; they are neither stored nor counted.
    """

    digests: Sequence[str]
    features: NDArray[np.float32]
    keep: bool = True


class Engine(Protocol):
    """Encodes what a store lacks."""

    def encode(self, job: ImageJob | TextJob, /) -> Iterator[EncodedBatch]:
        """Yield the features of every sample of `job`, each once.

        What was yielded is kept, whatever happens afterwards.

        Raises:
            DataError: an image cannot be read.
            ModelError: the model fails, or its features are unusable.
            ConfigError: the machine does not give what the engine's settings ask for.
        """
