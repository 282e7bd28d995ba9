"""Thumbnails: small pictures of samples for reports, read from the data sets of a profile."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
from PIL import Image

from pytest_clip_robust.config.profile import Profile
from pytest_clip_robust.core.arrays import Ints
from pytest_clip_robust.corruptions.images import CorruptedImages
from pytest_clip_robust.datasets.images.corrupted_folders import corrupted_entry
from pytest_clip_robust.datasets.images.decoding import decode
from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.datasets.images.loading import load_image_set
from pytest_clip_robust.errors import ClipRobustError
from pytest_clip_robust.evaluation.library import Library

QUALITY = 60
NOT_IMAGES_WITH_LABELS = ("attacked", "captions", "composition", "corrupted", "views", "keypoints", "questions")


class Thumbnail(NamedTuple):
    """A WebP file, with its width and height in pixels."""

    content: bytes
    width: int
    height: int


def thumbnails(
    wanted: Iterable[tuple[tuple[str, str, str], int]], library: Library, profile: Profile
) -> dict[tuple[str, str, str], Thumbnail]:
    """Return pictures of samples, by data set, sample and corruption, in the order of `wanted`.

    What cannot be found or read has none: a picture is not a reason to fail a run.

    Args:
        wanted: data set, name of the sample and corruption, with the longer side in pixels. The corruption is
            ``kind/severity``, or ``""`` for none. Of a view that is cropped to a box, the picture is that box.
        library: reads the data sets.
        profile: of the run; a data set can have several roles.
    """
    found = {}
    sets: dict[tuple[str, str], list[_Source]] = {}
    for (dataset, sample, corruption), side in wanted:
        if (dataset, corruption) not in sets:
            sets[dataset, corruption] = list(_sources(dataset, corruption, library, profile))
        picture = _first(sample, sets[dataset, corruption], side)
        if picture is not None:
            found[dataset, sample, corruption] = picture
    return found


def image_names(sample: str) -> list[str]:
    """Return the names that the image of a sample can have: its own, and what is before any ``#``, longest first.

    Samples that share an image, such as captions or questions, are named after it with ``#`` and more.

    >>> image_names("row 1: a#1.png#0: a caption")
    ['row 1: a#1.png#0: a caption', 'row 1: a#1.png', 'row 1: a']
    """
    parts = sample.split("#")
    return ["#".join(parts[:length]) for length in range(len(parts), 0, -1)]


@dataclass(frozen=True)
class _Source:
    """A set that a sample can be in, and how the picture of the image at a position is made of the decoded image."""

    images: ImageSet
    alter: Callable[[Image.Image, int], Image.Image] = lambda image, _: image

    @cached_property
    def places(self) -> dict[str, int]:
        return {sample: place for place, sample in enumerate(self.images.samples)}


def _first(sample: str, sources: Iterable[_Source], side: int) -> Thumbnail | None:
    for source in sources:
        for name in image_names(sample):
            if name in source.places:
                return _thumbnail(source, source.places[name], side)
    return None


def _thumbnail(source: _Source, place: int, side: int) -> Thumbnail | None:
    try:
        image = source.alter(decode(source.images.read(place), crop_border=source.images.crop_border), place)
    except Exception:  # noqa: BLE001 - codecs and video encoders raise any exception, and it is only a picture
        return None
    image.thumbnail((side, side))
    file = io.BytesIO()
    image.save(file, "WEBP", quality=QUALITY)
    return Thumbnail(file.getvalue(), image.width, image.height)


def _sources(dataset: str, corruption: str, library: Library, profile: Profile) -> Iterator[_Source]:
    """Return the images of a data set for each of its roles; a role whose data cannot be read has none."""
    roles = [role for role, names in profile.roles.items() if dataset in names]
    try:
        if corruption:
            yield _corrupted(dataset, corruption, library, profile, made="corrupted" not in roles)
            return
        if any(role not in NOT_IMAGES_WITH_LABELS for role in roles):
            yield _Source(library.images(dataset))
        for role, read in (
            ("attacked", library.contrasts),
            ("captions", library.captions),
            ("composition", library.contrasts),
            ("questions", library.questions),
        ):
            if role in roles:
                yield _Source(read(dataset).images)
        if "views" in roles:
            views = library.views(dataset)
            boxes = views.boxes
            yield _Source(views.images) if boxes is None else _Source(views.images, partial(_cropped, boxes=boxes))
    except (ClipRobustError, OSError):
        return


def _corrupted(dataset: str, corruption: str, library: Library, profile: Profile, *, made: bool) -> _Source:
    """Return the images of a set under a corruption: `made` by the run, or read."""
    kind, _, severity = corruption.rpartition("/")
    if not made:
        entry = corrupted_entry(profile.data[dataset], kind, int(severity))
        return _Source(load_image_set(entry, cache_dir=library.cache))
    images = library.images(dataset)

    def alter(image: Image.Image, place: int) -> Image.Image:
        one = images.take(np.array([place]))
        return CorruptedImages(one, kind, (int(severity),), seed=profile.corruptions.seed, depths=one.depths)(image, 0)

    return _Source(images, alter)


def _cropped(image: Image.Image, place: int, *, boxes: Ints) -> Image.Image:
    left, top, right, bottom = boxes[place].tolist()
    return image.crop((left, top, right, bottom))
