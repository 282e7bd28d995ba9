"""Corrupted images on their way from the decoder to the model: never stored, only their features are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from pytest_clip_robust.corruptions import VERSION, corrupt, needs_depth
from pytest_clip_robust.corruptions.canvas import to_canvas
from pytest_clip_robust.corruptions.registry import check
from pytest_clip_robust.datasets.images.depth import Depths, decode_depth
from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.errors import DataError


@dataclass(frozen=True)
class CorruptedImages:
    """The images of a set under one kind of corruption, at one severity after the other: S severities x N images.

    depths: the set's own, or an estimator's; None suffices for kinds that need none.
    seed: another one gives other noise.

    Raises:
        ConfigError: there is no such kind or severity.
        DataError: the kind needs depth, and there is none.
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
                "give it a column or a folder of depth maps, or name a depth model in the profile's corruptions.depth"
            )

    @property
    def name(self) -> str:
        """Name the images and what is done to them, for people."""
        return f"{self.images.name}, {self.kind}"

    @cached_property
    def sources(self) -> ImageSet:
        """The S x N images before corruption."""
        return self.images.take(np.tile(np.arange(len(self.images)), len(self.severities)))

    @cached_property
    def digests(self) -> Sequence[str]:
        """S x N identities: of an image, its depth and camera, kind, severity and seed, and the kinds' version."""
        known = [self._identity(image) for image in range(len(self.images))]
        return [
            hashlib.sha256(json.dumps({**one, "severity": severity}, sort_keys=True).encode()).hexdigest()
            for severity in self.severities
            for one in known
        ]

    def __call__(self, image: Image.Image, position: int) -> Image.Image:
        """Return the decoded `image`, which is that at `position` of the sources, corrupted.

        Raises:
            DataError: its depth or camera is wrong, or it is too small.
        """
        row, which = divmod(position, len(self.images))
        canvas = to_canvas(image, depth=self._depth(which, image), intrinsics=self._camera(which))
        with _one_thread():
            corrupted = corrupt(
                canvas.rgb,
                self.kind,
                self.severities[row],
                seeds=[self._seed(which)],
                depth=canvas.depth,
                intrinsics=canvas.intrinsics,
            )
        return Image.fromarray(corrupted[0].permute(1, 2, 0).contiguous().numpy())

    @property
    def _needed(self) -> Depths | None:
        return self.depths if needs_depth(self.kind) else None

    def _depth(self, which: int, image: Image.Image) -> NDArray[np.float32] | None:
        if self._needed is None:
            return None
        try:
            content = self._needed.read(which)
        except OSError as error:
            raise DataError(f"its depth map cannot be read ({error.strerror or error})") from error
        depth, border = decode_depth(content), self.images.crop_border
        # What was cut from the image is cut from its depth; an estimator has seen the cut image.
        if border and depth.shape == (image.height + 2 * border, image.width + 2 * border):
            return depth[border:-border, border:-border]
        return depth

    def _camera(self, which: int) -> NDArray[np.float32] | None:
        if self._needed is None or self._needed.intrinsics is None:
            return None
        intrinsics: NDArray[np.float32] = self._needed.intrinsics[which].copy()
        intrinsics[:2, 2] -= self.images.crop_border
        return intrinsics

    def _seed(self, which: int) -> int:
        whole = f"{self.images.digests[which]}|{self.seed}"
        return int.from_bytes(hashlib.sha256(whole.encode()).digest()[:8], "big")

    def _identity(self, which: int) -> dict[str, object]:
        camera = self._camera(which)
        return {
            "version": VERSION,
            "image": self.images.digests[which],
            "kind": self.kind,
            "seed": self.seed,
            "depth": "" if self._needed is None else self._needed.digests[which],
            "camera": None if camera is None else camera.tolist(),
        }


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch to one thread, as worker processes do: at hundreds of small steps several wait for each other."""
    before = torch.get_num_threads()
    if before > 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if before > 1:
            torch.set_num_threads(before)
