"""Cache of estimated depth maps: one PNG file per image and depth model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_clip_robust.datasets.images.decoding import decode
from pytest_clip_robust.datasets.images.depth import Depths
from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.system.files import write_whole
from pytest_clip_robust.system.progress import ShowProgress, show_progress

if TYPE_CHECKING:
    from pytest_clip_robust.corruptions.estimation import DepthEstimator


@dataclass(frozen=True, slots=True)
class _MapFiles:
    paths: Sequence[Path]

    def __call__(self, index: int, /) -> bytes:
        return self.paths[index].read_bytes()


def estimated_depths(
    images: ImageSet, estimator: DepthEstimator, folder: Path, *, progress: ShowProgress = show_progress
) -> Depths:
    """Return the depth of every image; maps that `folder` lacks are estimated and stored there.

    Raises:
        DataError: an image cannot be read, or a depth map cannot be written.
    """
    border = f"-crop{images.crop_border}" if images.crop_border else ""
    place = folder / estimator.identity[:32]
    paths = [place / f"{digest}{border}.png" for digest in images.digests]
    missing = {path: position for position, path in enumerate(paths) if not path.is_file()}
    if missing:
        with progress("depth maps", images.name, len(missing)) as advance:
            for path, position in missing.items():
                _estimate(images, position, estimator, path)
                advance(1)
    # Identified by image and model instead of content: the same image and model give the same map.
    return Depths(
        read=_MapFiles(paths),
        stamps=[None] * len(paths),
        samples=images.samples,
        source=f"estimated {estimator.identity}",
    )


def _estimate(images: ImageSet, position: int, estimator: DepthEstimator, path: Path) -> None:
    try:
        image = decode(images.read(position), crop_border=images.crop_border)
        write_whole(path, estimator.estimate([image])[0])
    except OSError as error:
        raise DataError(
            f"{images.name}: the depth of {images.samples[position]!r} cannot be stored in {path.parent} "
            f"({error.strerror or error}): give another --clip-cache"
        ) from error
    except DataError as error:
        raise DataError(f"{images.name}: image {images.samples[position]!r}: {error}") from error
