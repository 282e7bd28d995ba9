"""Corrupted images of a data set, made between decoder and model; only their features are stored."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pytest_clip_robust.core.digest import digest
from pytest_clip_robust.corruptions.kinds import VERSION, check, needs_depth
from pytest_clip_robust.datasets.images.depth import Depths, decode_depth
from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.errors import DataError


@dataclass(frozen=True)
class CorruptedImages:
    """The N images of a set under one kind of corruption at S severities, ordered by severity: S x N images.

    seed: of the random noise and directions. depths: of the set or of an estimator; None for kinds without depth.

    Raises:
        ConfigError: there is no such kind or severity.
        DataError: the kind needs depth, and `depths` is None.
    """

    images: ImageSet
    kind: str
    severities: tuple[int, ...]
    seed: int = 0
    depths: Depths | None = None

    def __post_init__(self) -> None:
        for severity in self.severities:
            check(self.kind, severity)
        if needs_depth(self.kind) and self.depths is None:
            raise DataError(
                f"{self.images.name}: {self.kind} needs depth, and the set has none: "
                "give it a depth column or depth maps, or name a depth model in the profile's corruptions.depth"
            )

    @property
    def name(self) -> str:
        """Name of the set and the kind of corruption, for messages."""
        return f"{self.images.name}, {self.kind}"

    @cached_property
    def sources(self) -> ImageSet:
        """The S x N images before the corruption."""
        return self.images.take(np.tile(np.arange(len(self.images)), len(self.severities)))

    @cached_property
    def digests(self) -> Sequence[str]:
        """S x N digests of image, depth, camera, kind, severity, seed and the version of the kinds."""
        known = [self._identity(image) for image in range(len(self.images))]
        return [digest({**one, "severity": severity}) for severity in self.severities for one in known]

    def __call__(self, image: Image.Image, position: int) -> Image.Image:
        """Return the corrupted version of the decoded `image`, which is at `position` of the sources.

        Raises:
            DataError: its depth or intrinsics are wrong, or it is too small.
        """
        from pytest_clip_robust.corruptions.pictures import corrupt_picture  # noqa: PLC0415 - imports torch

        row, index = divmod(position, len(self.images))
        return corrupt_picture(
            image,
            self.kind,
            self.severities[row],
            seed=self._seed(index),
            depth=self._depth(index, image),
            intrinsics=self._camera(index),
        )

    @property
    def _needed(self) -> Depths | None:
        return self.depths if needs_depth(self.kind) else None

    def _depth(self, index: int, image: Image.Image) -> NDArray[np.float32] | None:
        if self._needed is None:
            return None
        try:
            content = self._needed.read(index)
        except OSError as error:
            raise DataError(f"its depth map cannot be read ({error.strerror or error})") from error
        depth, border = decode_depth(content), self.images.crop_border
        # Crop the depth like the image; an estimator has seen the cropped image already.
        if border and depth.shape == (image.height + 2 * border, image.width + 2 * border):
            return depth[border:-border, border:-border]
        return depth

    def _camera(self, index: int) -> NDArray[np.float32] | None:
        if self._needed is None or self._needed.intrinsics is None:
            return None
        intrinsics: NDArray[np.float32] = self._needed.intrinsics[index].copy()
        intrinsics[:2, 2] -= self.images.crop_border
        return intrinsics

    def _seed(self, index: int) -> int:
        whole = f"{self.images.digests[index]}|{self.seed}"
        return int.from_bytes(hashlib.sha256(whole.encode()).digest()[:8], "big")

    def _identity(self, index: int) -> dict[str, object]:
        camera = self._camera(index)
        return {
            "version": VERSION,
            "image": self.images.digests[index],
            "kind": self.kind,
            "seed": self.seed,
            "depth": "" if self._needed is None else self._needed.digests[index],
            "camera": None if camera is None else camera.tolist(),
        }
