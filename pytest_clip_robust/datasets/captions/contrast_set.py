"""Sets of hard pairs: true against false captions (ContrastSet), two images against two captions (MatchSet)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pytest_clip_robust.core.arrays import Ints
from pytest_clip_robust.datasets.images.image_set import ImageSet, SetOfImages


@dataclass(frozen=True, slots=True, kw_only=True)
class ContrastSet(SetOfImages):
    """I items: an image, a true caption, and one or more false captions that the true one must beat.

    texts: M distinct captions. image_of, true_of: (I,) positions in images and texts.
    false_items, false_of: (F,) the items of the false captions, ascending, and the positions of the captions in texts.
    kinds: I names for the change that makes the captions false. samples: I names of items.
    groups: (I,) the number of each item's group, from 0, by the name of a score that counts whole groups, such as
        ``whatsup_pair``; empty for most sets.
    """

    images: ImageSet
    texts: Sequence[str]
    image_of: Ints
    true_of: Ints
    false_items: Ints
    false_of: Ints
    kinds: Sequence[str]
    samples: Sequence[str]
    fingerprint: str
    groups: Mapping[str, Ints] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchSet(SetOfImages):
    """I items of two images and two captions; the first of each belong together, and so do the second.

    texts: M distinct captions. image_of, text_of: (I, 2) positions in images and texts.
    kinds: I names for the difference. samples: I names of items.
    """

    images: ImageSet
    texts: Sequence[str]
    image_of: Ints
    text_of: Ints
    kinds: Sequence[str]
    samples: Sequence[str]
    fingerprint: str
