"""Pictures of samples: each distinct one is in the page once, as long as the page stays small."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

SIDE, VIEW_SIDE = 96, 176
"""The longer side of a picture in pixels, and that of one on which matches are drawn."""

PAGE_LIMIT = 1_900_000
"""Bytes of a page with pictures; without them it can be longer."""

OVERHEAD = 400
"""Bytes of the markup around a picture, at most."""


class Picture(NamedTuple):
    """A WebP file, with its width and height in pixels."""

    content: bytes
    width: int
    height: int

    @property
    def url(self) -> str:
        """The picture as a ``data:`` URL.

        >>> Picture(b"RIFF", 96, 72).url
        'data:image/webp;base64,UklGRg=='
        """
        return f"data:image/webp;base64,{base64.b64encode(self.content).decode()}"

    @property
    def size(self) -> int:
        """The bytes of the page that it takes, at most."""
        return len(self.url) + OVERHEAD


class Shot(NamedTuple):
    """A picture that the page can show: a sample of a data set, as it is or under ``kind/severity`` of a corruption."""

    dataset: str
    sample: str
    corruption: str = ""


Pictures = Mapping[Shot, Picture]
"""Pictures, most wanted first."""


@dataclass(frozen=True, slots=True)
class Album:
    """The pictures of a page, by their ids, and the id of each shot's picture."""

    pictures: Mapping[str, Picture]
    names: Mapping[Shot, str]

    @property
    def size(self) -> int:
        """The bytes of the page that the pictures take, at most."""
        return sum(picture.size for picture in self.pictures.values())

    def name_of(self, dataset: str, sample: str, corruption: str = "") -> str:
        """Return the id of a sample's picture, or ``""``."""
        return self.names.get(Shot(dataset, sample, corruption), "")


EMPTY = Album({}, {})


def album_of(pictures: Pictures, *, room: int) -> Album:
    """Return the pictures that fit in `room` bytes of a page; equal ones are kept once.

    >>> one, other = Picture(b"1", 96, 96), Picture(b"2", 96, 96)
    >>> album = album_of({Shot("a", "x"): one, Shot("b", "y"): one, Shot("a", "z"): other}, room=500)
    >>> list(album.pictures), album.name_of("b", "y"), album.name_of("a", "z")
    (['picture-1'], 'picture-1', '')
    """
    kept: dict[Picture, str] = {}
    names: dict[Shot, str] = {}
    for key, picture in pictures.items():
        if picture not in kept:
            room -= picture.size
            if room < 0:
                break
            kept[picture] = f"picture-{len(kept) + 1}"
        names[key] = kept[picture]
    return Album({name: picture for picture, name in kept.items()}, names)
