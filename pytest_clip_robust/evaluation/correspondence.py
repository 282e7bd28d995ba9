"""Dense matches of one model between views and between keypoints."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import lru_cache
from itertools import count

import numpy as np

from pytest_clip_robust.core.arrays import Ints
from pytest_clip_robust.core.digest import combine_digests
from pytest_clip_robust.datasets.correspondence.poses import relative_angle
from pytest_clip_robust.encoding.dense.rows import VERSION
from pytest_clip_robust.evaluation.features import ModelFeatures
from pytest_clip_robust.evaluation.session import Session
from pytest_clip_robust.scoring.matches import KeypointMatches, ViewMatches

SETS_KEPT = 16

ANGLE_DIGITS = 2
"""Degrees are rounded, so that views 30 degrees apart are in one bin in spite of the rounding of their poses."""


class Correspondence:
    """Errors of the matches on the posed views and keypoints of the profile."""

    def __init__(self, features: ModelFeatures, session: Session) -> None:
        self._features, self._session = features, session
        self._settings = session.profile.correspondence
        self._views = lru_cache(maxsize=SETS_KEPT)(self._match_views)
        self._keypoints = lru_cache(maxsize=SETS_KEPT)(self._match_keypoints)

    def views(self, dataset: str) -> ViewMatches:
        """Return the errors of matches between pairs of a set's views.

        Raises:
            ModelError: the model has no dense features.
        """
        return self._views(dataset)

    def keypoints(self, dataset: str) -> KeypointMatches:
        """Return the errors of a set's keypoints, searched in other images of the same class.

        Raises:
            ModelError: the model has no dense features.
        """
        return self._keypoints(dataset)

    def _match_views(self, dataset: str) -> ViewMatches:
        found = self._session.library.views(dataset)
        first, second = found.pairs.T
        angles = relative_angle(found.poses[first], found.poses[second]).round(ANGLE_DIGITS)
        bins = np.digitize(angles, self._settings.angles[:-1]).tolist()
        scenes = [found.scenes[view] for view in first.tolist()]
        chosen = choose_pairs(list(zip(scenes, bins, strict=True)), self._settings.pairs)
        pairs = found.pairs[chosen]
        errors = self._session.encoder.view_pairs(self._features.loaded, found, pairs, size=self._settings.size)
        names = found.images.samples
        return ViewMatches(
            dataset=dataset,
            metres=[one.metres for one in errors],
            pixels=[one.pixels for one in errors],
            angles=angles[chosen],
            scenes=[scenes[pair] for pair in chosen.tolist()],
            edges=self._settings.angles,
            samples=[f"{names[one]} > {names[other]}" for one, other in pairs.tolist()],
            images=[(names[one], names[other]) for one, other in pairs.tolist()],
            places=lambda positions: self._session.encoder.view_places(
                self._features.loaded, found, pairs[positions], size=self._settings.size
            ),
            provenance=self._features.provenance(self._identity(found.fingerprint, pairs)),
        )

    def _match_keypoints(self, dataset: str) -> KeypointMatches:
        found = self._session.library.keypoints(dataset)
        chosen = choose_pairs(found.images.labels[found.pairs[:, 0]].tolist(), self._settings.pairs)
        pairs = found.pairs[chosen]
        errors = self._session.encoder.keypoint_pairs(self._features.loaded, found, pairs, size=self._settings.size)
        return KeypointMatches(
            dataset=dataset,
            errors=np.concatenate(errors).astype(np.float64),
            pair_of=np.repeat(np.arange(len(pairs)), [len(one) for one in errors]),
            sources=pairs[:, 0],
            classes=found.images.labels[pairs[:, 0]],
            viewpoints=found.viewpoints[chosen],
            class_names=found.images.class_names,
            provenance=self._features.provenance(self._identity(found.fingerprint, pairs)),
        )

    def _identity(self, fingerprint: str, pairs: Ints) -> str:
        return combine_digests(fingerprint, f"version {VERSION}, size {self._settings.size}, pairs {pairs.tolist()}")


def choose_pairs(groups: Sequence[Hashable], most: int) -> Ints:
    """Return the positions of `most` pairs, spread evenly over groups; 0 returns all.

    Within a group they are spread evenly as well: the first, then the middle, and so on. A larger `most` only adds
    pairs.

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
    """Return the positions below `size` in the order of van der Corput's sequence, each far from those before it.

    >>> _evenly(5)
    [0, 2, 1, 3, 4]
    """
    places = [int(f"{i:b}"[::-1], 2) / 2 ** i.bit_length() * size for i in range(2 ** size.bit_length())]
    return list(dict.fromkeys(int(place) for place in places if int(place) < size))
