"""Corrupted data sets of a profile, made on the fly or read from folders."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.config.sections import CorruptionSettings
from pytest_clip_robust.corruptions.depth_maps import estimated_depths
from pytest_clip_robust.corruptions.images import CorruptedImages
from pytest_clip_robust.corruptions.kinds import VERSION, needs_depth
from pytest_clip_robust.datasets.images.choice import take_evenly
from pytest_clip_robust.datasets.images.corrupted_folders import check_same_images, corrupted_entry, corrupted_kinds
from pytest_clip_robust.datasets.images.depth import Depths
from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.datasets.images.loading import load_image_set
from pytest_clip_robust.evaluation.session import Session
from pytest_clip_robust.models.protocols import LoadedModel

if TYPE_CHECKING:
    from pytest_clip_robust.corruptions.estimation import DepthEstimator


class CorruptedSets:
    """The data sets of the profile with the roles ``corruptions`` and ``corrupted``."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._profile = session.profile
        self.images = lru_cache(maxsize=None)(self._choose)
        self._depths = lru_cache(maxsize=None)(self._find_depths)

    @property
    def settings(self) -> CorruptionSettings:
        """The profile's section on corruptions."""
        return self._profile.corruptions

    def made_on_the_fly(self, dataset: str) -> bool:
        """Return whether the run corrupts the set's images, rather than reading corrupted ones."""
        return dataset not in self._profile.sets("corrupted")

    def kinds(self, dataset: str) -> tuple[str, ...]:
        """Return the kinds that a set is measured under: those of the profile, or of its folders."""
        if self.made_on_the_fly(dataset):
            return self.settings.kinds
        return tuple(corrupted_kinds(self._profile.data[dataset]))

    def severities(self, dataset: str, kind: str) -> tuple[int, ...]:
        """Return the severities that the profile names and the set has."""
        if self.made_on_the_fly(dataset):
            return self.settings.severities
        present = corrupted_kinds(self._profile.data[dataset]).get(kind, ())
        return tuple(severity for severity in self.settings.severities if severity in present)

    def identity(self, dataset: str) -> str:
        """Return what corrupted images depend on, in addition to the image, the kind and the severity."""
        if not self.made_on_the_fly(dataset):
            return "corrupted before"
        depth = self.settings.depth if self.images(dataset).depths is None else "its own"
        return f"version {VERSION}, seed {self.settings.seed}, depth {depth}"

    def encode(self, loaded: LoadedModel, dataset: str, kind: str) -> list[tuple[ImageSet, NDArray[np.float32]]]:
        """Return, for each severity, the images and the (N, D) features of their corrupted versions.

        Raises:
            DataError: images or depth cannot be read, or do not fit.
        """
        encode = self._session.encoder.images
        if not self.made_on_the_fly(dataset):
            return [(images, encode(loaded, images)) for images in self.read(dataset, kind)]
        corrupted = self.made(dataset, kind)
        features = encode(loaded, corrupted)
        return [(self.images(dataset), part) for part in np.split(features, len(corrupted.severities))]

    def made(self, dataset: str, kind: str) -> CorruptedImages:
        """Return the images of a set that the run corrupts, under one kind at all severities.

        Raises:
            DataError: images or depth cannot be read, or do not fit.
        """
        return CorruptedImages(
            self.images(dataset),
            kind,
            self.settings.severities,
            seed=self.settings.seed,
            depths=self._depths(dataset) if needs_depth(kind) else None,
        )

    def read(self, dataset: str, kind: str) -> list[ImageSet]:
        """Return the images of each severity of a set that was corrupted before.

        Raises:
            DataError: images cannot be read, or the severities do not have the same ones.
        """
        read = [self._read(dataset, kind, severity) for severity in self.severities(dataset, kind)]
        check_same_images(read)
        for remark in read[0].remarks:
            self._session.notice(remark)
        return read

    def _read(self, dataset: str, kind: str, severity: int) -> ImageSet:
        entry = corrupted_entry(self._profile.data[dataset], kind, severity)
        return take_evenly(load_image_set(entry, cache_dir=self._session.library.cache), self.settings.images)

    def _choose(self, dataset: str) -> ImageSet:
        return take_evenly(self._session.library.images(dataset), self.settings.images)

    def _find_depths(self, dataset: str) -> Depths | None:
        images = self.images(dataset)
        if images.depths is not None or not self.settings.depth:
            return images.depths
        return estimated_depths(images, self._estimator, self._depth_folder, progress=self._session.progress)

    @cached_property
    def _estimator(self) -> DepthEstimator:
        from pytest_clip_robust.corruptions.estimation import DepthEstimator  # noqa: PLC0415 - imports torch

        return DepthEstimator(self.settings.depth, device=self._session.device)

    @cached_property
    def _depth_folder(self) -> Path:
        cache = self._session.cache
        return Path(mkdtemp(prefix="clip-robust-depth-")) if cache is None else cache / "depth"


def same_images(samples: Sequence[str], among: Sequence[str]) -> list[int] | None:
    """Return the positions of the images `samples` in `among`, matched by path or else by file name, without suffixes.

    None if one is missing, or a name is not unique.

    >>> same_images(["dog/7.jpg"], ["cat/7.png", "dog/7.png"]), same_images(["n1/v_3.JPEG"], ["v_3.JPEG"])
    ([1], [0])
    """
    for key in (lambda sample: Path(sample).with_suffix(""), lambda sample: Path(sample).stem):
        position = {key(sample): row for row, sample in enumerate(among)}
        rows = [position.get(key(sample)) for sample in samples]
        if None not in rows and len(position) == len(among):
            return [row for row in rows if row is not None]
    return None
