"""Pictures of samples: each distinct one is in the page once, as long as the page stays small."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

SIDE = 96
"""The longer side of a picture, in pixels."""

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


Pictures = Mapping[tuple[str, str], Picture]
"""Pictures by data set and sample, most wanted first."""


@dataclass(frozen=True, slots=True)
class Album:
    """The pictures of a page, by their ids, and the id of each sample's picture."""

    pictures: Mapping[str, Picture]
    names: Mapping[tuple[str, str], str]

    @property
    def size(self) -> int:
        """The bytes of the page that the pictures take, at most."""
        return sum(picture.size for picture in self.pictures.values())

    def name_of(self, dataset: str, sample: str) -> str:
        """Return the id of a sample's picture, or ``""``."""
        return self.names.get((dataset, sample), "")


EMPTY = Album({}, {})


def album_of(pictures: Pictures, *, room: int) -> Album:
    """Return the pictures that fit in `room` bytes of a page; equal ones are kept once.

    >>> one, other = Picture(b"1", 96, 96), Picture(b"2", 96, 96)
    >>> album = album_of({("a", "x"): one, ("b", "y"): one, ("a", "z"): other}, room=500)
    >>> list(album.pictures), album.name_of("b", "y"), album.name_of("a", "z")
    (['picture-1'], 'picture-1', '')
    """
    kept: dict[Picture, str] = {}
    names: dict[tuple[str, str], str] = {}
    for key, picture in pictures.items():
        if picture not in kept:
            room -= picture.size
            if room < 0:
                break
            kept[picture] = f"picture-{len(kept) + 1}"
        names[key] = kept[picture]
    return Album({name: picture for picture, name in kept.items()}, names)
