"""What a run corrupts: which images of which sets, by which kinds, with which depth."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.corruption_plan import CorruptionPlan
from pytest_clip_robust.corruptions import VERSION, needs_depth
from pytest_clip_robust.corruptions.estimation import DepthEstimator
from pytest_clip_robust.datasets.corrupted_folders import corrupted_entry, corrupted_kinds
from pytest_clip_robust.datasets.depth import Depths
from pytest_clip_robust.datasets.image_set import ImageSet
from pytest_clip_robust.datasets.loading import load_image_set
from pytest_clip_robust.encoding.corruption import CorruptedImages
from pytest_clip_robust.encoding.depth import estimated_depths
from pytest_clip_robust.models.encoder import LoadedModel
from pytest_clip_robust.workbench import Workbench


class CorruptionBench:
    """Corrupts sets of the profile on the fly, or finds them corrupted already, and encodes them."""

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._profile = workbench.run.profile
        self.images = lru_cache(maxsize=None)(self._choose)
        self._depths = lru_cache(maxsize=None)(self._find_depths)

    @property
    def plan(self) -> CorruptionPlan:
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
            return [(cell, self._workbench.encode_images(loaded, cell)) for cell in cells]
        corrupted = self.corrupted(dataset, kind)
        features = self._workbench.encode_images(loaded, corrupted)
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
        return _spread(load_image_set(entry, cache_dir=self._workbench.data_cache), self.plan.images)

    def _choose(self, dataset: str) -> ImageSet:
        return _spread(self._workbench.images(dataset), self.plan.images)

    def _find_depths(self, dataset: str) -> Depths | None:
        images = self.images(dataset)
        if images.depths is not None or not self.plan.depth:
            return images.depths
        return estimated_depths(images, self._estimator, self._maps, progress=self._workbench.progress)

    @cached_property
    def _estimator(self) -> DepthEstimator:
        return DepthEstimator(self.plan.depth, device=self._workbench.device)

    @cached_property
    def _maps(self) -> Path:
        cache = self._workbench.data_cache
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
