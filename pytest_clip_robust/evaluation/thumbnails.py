"""Thumbnails: small pictures of samples for reports, read from the data sets of a profile."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from pytest_clip_robust.config.profile import Profile
from pytest_clip_robust.datasets.images.decoding import decode
from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.errors import ClipRobustError
from pytest_clip_robust.evaluation.library import Library

QUALITY = 60
NOT_IMAGES_WITH_LABELS = ("attacked", "captions", "composition", "views", "keypoints", "questions")


class Thumbnail(NamedTuple):
    """A WebP file, with its width and height in pixels."""

    content: bytes
    width: int
    height: int


def thumbnails(
    wanted: Iterable[tuple[str, str]], library: Library, profile: Profile, *, side: int
) -> dict[tuple[str, str], Thumbnail]:
    """Return pictures of samples, by data set and sample, in the order of `wanted`.

    What cannot be found or read has none: a picture is not a reason to fail a run.

    Args:
        wanted: data sets and names of samples.
        library: reads the data sets.
        profile: of the run; a data set can have several roles.
        side: the longer side of a picture, in pixels.
    """
    found = {}
    sets: dict[str, list[tuple[ImageSet, Mapping[str, int]]]] = {}
    for dataset, sample in wanted:
        if dataset not in sets:
            sets[dataset] = [(one, _places(one)) for one in _image_sets(dataset, library, profile)]
        picture = _first(sample, sets[dataset], side)
        if picture is not None:
            found[dataset, sample] = picture
    return found


def image_names(sample: str) -> list[str]:
    """Return the names that the image of a sample can have: its own, and what is before any ``#``, longest first.

    Samples that share an image, such as captions or questions, are named after it with ``#`` and more.

    >>> image_names("row 1: a#1.png#0: a caption")
    ['row 1: a#1.png#0: a caption', 'row 1: a#1.png', 'row 1: a']
    """
    parts = sample.split("#")
    return ["#".join(parts[:length]) for length in range(len(parts), 0, -1)]


def _first(sample: str, sets: list[tuple[ImageSet, Mapping[str, int]]], side: int) -> Thumbnail | None:
    for images, places in sets:
        for name in image_names(sample):
            if name in places:
                return _thumbnail(images, places[name], side)
    return None


def _thumbnail(images: ImageSet, place: int, side: int) -> Thumbnail | None:
    try:
        image = decode(images.read(place), crop_border=images.crop_border)
    except (ClipRobustError, OSError):
        return None
    image.thumbnail((side, side))
    file = io.BytesIO()
    image.save(file, "WEBP", quality=QUALITY)
    return Thumbnail(file.getvalue(), image.width, image.height)


def _image_sets(dataset: str, library: Library, profile: Profile) -> Iterator[ImageSet]:
    """Return the images of a data set for each of its roles; a role whose data cannot be read has none."""
    of_role = {
        "attacked": library.contrasts,
        "captions": library.captions,
        "composition": library.contrasts,
        "questions": library.questions,
    }
    roles = [role for role, names in profile.roles.items() if dataset in names]
    try:
        if any(role not in NOT_IMAGES_WITH_LABELS for role in roles):
            yield library.images(dataset)
        for role in roles:
            if role in of_role:
                yield of_role[role](dataset).images
    except (ClipRobustError, OSError):
        return


def _places(images: ImageSet) -> dict[str, int]:
    return {sample: place for place, sample in enumerate(images.samples)}
