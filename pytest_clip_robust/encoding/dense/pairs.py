"""Pairs of pictures, matched by a model's dense features: the errors of the matches are stored, not the features."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.datasets.correspondence.keypoint_set import KeypointSet
from pytest_clip_robust.datasets.correspondence.view_set import ViewSet
from pytest_clip_robust.encoding.dense.rows import DRAWN, MATCHES, PADDING, VERSION
from pytest_clip_robust.encoding.engines.base import PairJob
from pytest_clip_robust.encoding.store.features import StoreKey
from pytest_clip_robust.models.protocols import LoadedModel


@dataclass(frozen=True, slots=True)
class ViewErrors:
    """The errors of the matches of one pair, the most distinctive match first: (N,) metres and (N,) resized pixels."""

    metres: NDArray[np.float32]
    pixels: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairMatching:
    """The matching of the pairs of one set by one model; its result has one row per pair.

    job: all distinct pairs. key, digests: identify the rows in the feature store. width: numbers per row.
    """

    job: PairJob
    key: StoreKey
    digests: Sequence[str]
    width: int

    @property
    def name(self) -> str:
        """The set's name, for messages."""
        return self.job.pictures.name


def view_matching(model: LoadedModel, views: ViewSet, pairs: NDArray[np.int64], *, size: int) -> PairMatching:
    """Return how `model` matches `pairs` (P, 2) of views; `view_errors` decodes the rows."""
    digests, pair_of = _pair_digests(pairs, partial(_view_identity, views))
    return PairMatching(
        job=PairJob(model=model, pictures=views, pairs=pair_of, size=size),
        key=_key("views", model, size, MATCHES),
        digests=digests,
        width=2 * MATCHES,
    )


def place_matching(model: LoadedModel, views: ViewSet, pairs: NDArray[np.int64], *, size: int) -> PairMatching:
    """Return where `model` finds its matches of `pairs` (P, 2) of views; `match_places` decodes the rows."""
    digests, pair_of = _pair_digests(pairs, partial(_view_identity, views))
    return PairMatching(
        job=PairJob(model=model, pictures=views, pairs=pair_of, size=size, places=True),
        key=_key("places", model, size, MATCHES, DRAWN),
        digests=digests,
        width=5 * DRAWN,
    )


def match_places(rows: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Return the (N, 5) matches of each row of a `place_matching`, the most distinctive first.

    Columns: x and y in the first picture, x and y in the second, as shares of its width and height, or those of the
    box that is used; and the error in metres.
    """
    return [row.reshape(-1, 5)[row.reshape(-1, 5)[:, 0] != PADDING] for row in rows]


def view_errors(rows: NDArray[np.float32]) -> list[ViewErrors]:
    """Return the errors that `rows` of a `view_matching` hold."""
    return [ViewErrors(*(part[part != PADDING] for part in row.reshape(2, -1))) for row in rows]


def keypoint_matching(
    model: LoadedModel, keypoints: KeypointSet, pairs: NDArray[np.int64], *, size: int
) -> PairMatching:
    """Return how `model` finds the keypoints that the pictures of `pairs` (P, 2) share; see `keypoint_errors`."""
    most = keypoints.points.shape[1]
    digests, pair_of = _pair_digests(pairs, partial(_keypoint_identity, keypoints))
    return PairMatching(
        job=PairJob(model=model, pictures=keypoints, pairs=pair_of, size=size),
        key=_key("keypoints", model, size, most),
        digests=digests,
        width=most,
    )


def keypoint_errors(rows: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Return, for each row of a `keypoint_matching`, the errors of the shared keypoints.

    An error is the distance to the true point over the longer side of the target's box.
    """
    return [row[row != PADDING] for row in rows]


def _key(kind: Literal["views", "places", "keypoints"], model: LoadedModel, *settings: int) -> StoreKey:
    return StoreKey(
        kind=kind,
        weights=model.weights,
        transform=f"{model.preprocess}+{'-'.join(map(str, [VERSION, *settings]))}",
        precision=model.arithmetic,
    )


def _pair_digests(
    pairs: NDArray[np.int64], identity: Callable[[int], object]
) -> tuple[list[str], dict[str, tuple[int, int]]]:
    """Return the digest of each pair, and the pair of each digest; `identity` is everything known about a picture."""
    known = {position: json.dumps(identity(position), sort_keys=True) for position in np.unique(pairs).tolist()}
    digests = [hashlib.sha256(f"{known[one]}|{known[other]}".encode()).hexdigest() for one, other in pairs.tolist()]
    return digests, {digest: (one, other) for digest, (one, other) in zip(digests, pairs.tolist(), strict=True)}


def _view_identity(views: ViewSet, position: int) -> object:
    scale = views.depth_scale
    return [
        views.images.digests[position],
        views.depths.digests[position],
        [float(scale.scale[position]), scale.offset, scale.inverse, scale.along_ray],
        views.intrinsics[position].tolist(),
        views.poses[position].tolist(),
        None if views.boxes is None else views.boxes[position].tolist(),
    ]


def _keypoint_identity(keypoints: KeypointSet, position: int) -> object:
    return [
        keypoints.images.digests[position],
        [[None if np.isnan(x) else float(x) for x in point] for point in keypoints.points[position]],
        keypoints.boxes[position].tolist(),
    ]
