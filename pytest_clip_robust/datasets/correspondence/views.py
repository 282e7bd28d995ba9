"""Loading of view sets: posed RGB-D views in published layouts or as a table."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import Ints
from pytest_clip_robust.core.camera import check_camera_matrix
from pytest_clip_robust.core.digest import digest
from pytest_clip_robust.datasets.correspondence.layouts.blender import is_blender, read_blender
from pytest_clip_robust.datasets.correspondence.layouts.files import Layout, read_layout
from pytest_clip_robust.datasets.correspondence.layouts.navi import is_navi, read_navi
from pytest_clip_robust.datasets.correspondence.layouts.open3d import is_open3d, read_open3d
from pytest_clip_robust.datasets.correspondence.layouts.scannet_pairs import is_scannet_pairs, read_scannet_pairs
from pytest_clip_robust.datasets.correspondence.layouts.view_table import read_view_table
from pytest_clip_robust.datasets.correspondence.pairing import view_pairs
from pytest_clip_robust.datasets.correspondence.pictures import picture_sizes
from pytest_clip_robust.datasets.correspondence.poses import check_poses
from pytest_clip_robust.datasets.correspondence.view_set import PosedRows, ViewSet
from pytest_clip_robust.datasets.entry import DataEntry, refuse_choice
from pytest_clip_robust.datasets.images.depth import Depths, decode_depth
from pytest_clip_robust.datasets.images.digests import THREADS
from pytest_clip_robust.datasets.images.loading import depth_memory, unlabelled_image_set
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.system.text import printable

LAYOUTS: dict[str, Layout[PosedRows]] = {
    "blender": Layout(is_blender, read_blender),
    "navi": Layout(is_navi, read_navi),
    "open3d": Layout(is_open3d, read_open3d),
    "scannet-pairs": Layout(is_scannet_pairs, read_scannet_pairs),
}


def load_view_set(entry: DataEntry, *, cache_dir: Path | None = None) -> ViewSet:
    """Read the posed views that `entry` describes: every digest, pose and camera, without decoding an image.

    Views that are in no pair are left out.

    Raises:
        DataError: the set cannot be read, a pose or camera is invalid, a depth map does not have its image's size, or
            no two views can be compared; the message names the set, and the view.
    """
    refuse_choice(entry, "posed views")
    found = read_layout(entry, LAYOUTS, read_view_table, "posed views", cache_dir=cache_dir)
    found = replace(found, pictures=replace(found.pictures, samples=[printable(s) for s in found.pictures.samples]))
    try:
        check_poses(found.poses, found.pictures.samples)
    except DataError as error:
        raise DataError(f"data set {entry.name!r}: {error}") from error
    pairs = view_pairs(found.poses, found.scenes) if found.pairs is None else found.pairs
    if not len(pairs):
        raise DataError(f"data set {entry.name!r}: no scene has two views within 120 degrees of each other")
    used, places = np.unique(pairs, return_inverse=True)
    _check_sizes(entry, found, used)
    return _view_set(entry, found.take(used), places.reshape(-1, 2), cache_dir)


def square_around(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of the smallest square around an (H, W) mask, as centred as the image allows.

    A square larger than the image is cut off at its borders.

    Raises:
        DataError: the mask is empty.

    >>> square_around(np.array([[0, 0, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]], bool))
    (1, 0, 4, 3)
    """
    if not mask.any():
        raise DataError("its depth map has no positive value")
    spans = [np.flatnonzero(mask.any(axis=axis))[[0, -1]] + (0, 1) for axis in (0, 1)]
    side = int(max(end - start for start, end in spans))
    edges = []
    for (start, end), size in zip(spans, mask.shape[::-1], strict=True):
        first = int(np.clip((start + end - side) // 2, 0, max(0, size - side)))
        edges.append((first, min(first + side, size)))
    (left, right), (top, bottom) = edges
    return left, top, right, bottom


def _view_set(entry: DataEntry, found: PosedRows, pairs: Ints, cache_dir: Path | None) -> ViewSet:
    samples = found.pictures.samples
    depths = Depths(
        read=found.depth.read,
        stamps=found.depth.stamps,
        samples=samples,
        memory=depth_memory(cache_dir, found.pictures.origin),
        intrinsics=found.intrinsics.astype(np.float32),
    )
    views = ViewSet(
        images=unlabelled_image_set(entry, found.pictures, cache_dir=cache_dir),
        depths=depths,
        depth_scale=found.depth_scale,
        poses=found.poses,
        scenes=[printable(scene) for scene in found.scenes],
        pairs=pairs.astype(np.int64),
        fingerprint="",
        boxes=_boxes(entry, found) if found.around_object else None,
    )
    try:
        return replace(views, fingerprint=_fingerprint(views))
    except DataError as error:
        raise DataError(f"data set {entry.name!r}: depth of {error}") from error


def _check_sizes(entry: DataEntry, found: PosedRows, used: Ints) -> None:
    """Check that image, depth map and camera of the views `used` have the same size."""
    samples, places = found.pictures.samples, used.tolist()
    where = f"data set {entry.name!r}: view"
    sizes = picture_sizes(found.pictures.read, samples, where, only=places)
    of_depth = picture_sizes(found.depth.read, samples, f"data set {entry.name!r}: depth of view", only=places)
    for view, picture, depth in zip(places, sizes, of_depth, strict=True):
        sample = samples[view]
        if depth != picture:
            raise DataError(
                f"{where} {sample!r}: its depth map has {depth[0]}x{depth[1]} pixels and its image "
                f"{picture[0]}x{picture[1]}; expected the same"
            )
        try:
            check_camera_matrix(found.intrinsics[view].tolist(), picture[1], picture[0])
        except DataError as error:
            raise DataError(f"{where} {sample!r}: {error}") from error


def _boxes(entry: DataEntry, found: PosedRows) -> Ints:
    def box(view: int) -> tuple[int, int, int, int]:
        try:
            return square_around(decode_depth(found.depth.read(view)) > 0)
        except (DataError, OSError) as error:
            raise DataError(f"data set {entry.name!r}: view {found.pictures.samples[view]!r}: {error}") from error

    with ThreadPoolExecutor(THREADS) as pool:
        return np.array(list(pool.map(box, range(len(found.pictures)))), np.int64)


def _fingerprint(views: ViewSet) -> str:
    scale = views.depth_scale
    return digest(
        {
            "images": views.images.fingerprint,
            "depths": views.depths.digests,
            "depth_scale": [scale.scale.tolist(), scale.offset, scale.inverse, scale.along_ray],
            "intrinsics": views.intrinsics.tolist(),
            # The inverse of a pose can differ in its last bits between machines, so micrometres are enough.
            "poses": (views.poses.round(6) + 0.0).tolist(),
            "scenes": list(views.scenes),
            "pairs": views.pairs.tolist(),
            "boxes": None if views.boxes is None else views.boxes.tolist(),
        }
    )
