"""What a model says of pairs of pictures: the part of an EvaluatedModel that answers the correspondence suite."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from itertools import count

import numpy as np

from pytest_clip_robust.core.arrays import Ints
from pytest_clip_robust.core.digest import combine_digests
from pytest_clip_robust.core.measurement import Provenance
from pytest_clip_robust.datasets.correspondence.poses import relative_angle
from pytest_clip_robust.encoding.dense.views import VERSION
from pytest_clip_robust.evaluation.session import Session
from pytest_clip_robust.models.protocols import LoadedModel
from pytest_clip_robust.scoring.matches import KeypointMatches, ViewMatches

SETS_KEPT = 16

ANGLE_DIGITS = 2
"""Degrees are rounded, so that views 30 degrees apart are in one bin whatever their poses were rounded to."""


class CorrespondenceEvaluation:
    """Answers for one model. Every question may raise a ClipRobustError, as those of an EvaluatedModel."""

    def __init__(self, loaded: LoadedModel, session: Session, *, origin: Callable[[str], Provenance]) -> None:
        """Answer for `loaded`; `origin` says where numbers come from that are about data of a fingerprint."""
        self._loaded, self._session, self._origin = loaded, session, origin
        self._plan = session.run.profile.correspondence
        self.views = lru_cache(maxsize=SETS_KEPT)(self._match_views)
        self.keypoints = lru_cache(maxsize=SETS_KEPT)(self._match_keypoints)

    def _match_views(self, dataset: str) -> ViewMatches:
        """Match pairs of views of a set by their features."""
        found = self._session.views(dataset)
        first, second = found.pairs.T
        angles = relative_angle(found.poses[first], found.poses[second]).round(ANGLE_DIGITS)
        bins = np.digitize(angles, self._plan.angles[:-1]).tolist()
        scenes = [found.scenes[view] for view in first.tolist()]
        chosen = choose_pairs(list(zip(scenes, bins, strict=True)), self._plan.pairs)
        pairs = found.pairs[chosen]
        errors = self._session.match_views(self._loaded, found, pairs)
        names = found.images.samples
        return ViewMatches(
            dataset=dataset,
            metres=[one.metres for one in errors],
            pixels=[one.pixels for one in errors],
            angles=angles[chosen],
            scenes=[scenes[pair] for pair in chosen.tolist()],
            edges=self._plan.angles,
            samples=[f"{names[one]} > {names[other]}" for one, other in pairs.tolist()],
            provenance=self._origin(self._known_by(found.fingerprint, pairs)),
        )

    def _match_keypoints(self, dataset: str) -> KeypointMatches:
        """Resize for the keypoints of a set's pictures in others of their class."""
        found = self._session.keypoints(dataset)
        chosen = choose_pairs(found.images.labels[found.pairs[:, 0]].tolist(), self._plan.pairs)
        pairs = found.pairs[chosen]
        errors = self._session.match_keypoints(self._loaded, found, pairs)
        return KeypointMatches(
            dataset=dataset,
            errors=np.concatenate(errors).astype(np.float64),
            pair_of=np.repeat(np.arange(len(pairs)), [len(one) for one in errors]),
            sources=pairs[:, 0],
            classes=found.images.labels[pairs[:, 0]],
            viewpoints=found.viewpoints[chosen],
            class_names=found.images.class_names,
            provenance=self._origin(self._known_by(found.fingerprint, pairs)),
        )

    def _known_by(self, fingerprint: str, pairs: Ints) -> str:
        return combine_digests(fingerprint, f"version {VERSION}, size {self._plan.size}, pairs {pairs.tolist()}")


def choose_pairs(groups: Sequence[Hashable], most: int) -> Ints:
    """Return the positions of `most` pairs, as many of every group as of every other; 0 takes all.

    Of a group come those that lie evenly in it: the first, then the middle, and so on, so that more pairs keep those
    that fewer had.

    >>> choose_pairs(["a", "a", "a", "b"], 3).tolist()
    [0, 1, 3]
    """
    if not 0 < most < len(groups):
        return np.arange(len(groups))
    members: dict[Hashable, list[int]] = {}
    for position, group in enumerate(groups):
        members.setdefault(group, []).append(position)
    turns = sorted(
        (turn, place, of_group[which])
        for place, of_group in enumerate(members.values())
        for turn, which in zip(count(), _evenly(len(of_group)), strict=False)
    )
    return np.array(sorted(position for _, _, position in turns[:most]), np.int64)


def _evenly(size: int) -> list[int]:
    """Return the positions below `size`, each as far from those before it as may be: van der Corput's sequence.

    >>> _evenly(5)
    [0, 2, 1, 3, 4]
    """
    places = [int(f"{i:b}"[::-1], 2) / 2 ** i.bit_length() * size for i in range(2 ** size.bit_length())]
    return list(dict.fromkeys(int(place) for place in places if int(place) < size))
