"""Pairs of ScanNet frames in the layout of the test split for matching (Dai et al. 2017, Sarlin et al. 2020).

    intrinsics.npz                      K per scene, for images of the depth maps' size
    test.npz                            name: rows of room, sequence, frame, frame
    sceneRRRR_SS/color/N.jpg
    sceneRRRR_SS/depth/N.png            16 bit, millimetres, 640 x 480
    sceneRRRR_SS/pose/N.txt             camera to world

The images are larger than the depth maps, and are resized to their size.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.datasets.correspondence.layouts.files import existing_file
from pytest_clip_robust.datasets.correspondence.pictures import AdaptedReader, picture_sizes
from pytest_clip_robust.datasets.correspondence.poses import as_pose
from pytest_clip_robust.datasets.correspondence.view_set import DepthScale, PosedRows
from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.sources.rows import DepthRows, file_rows
from pytest_clip_robust.datasets.sources.splits import chosen_split
from pytest_clip_robust.datasets.sources.walk import visible
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.system.expansion import check_zip
from pytest_clip_robust.system.files import read_text

INTRINSICS = "intrinsics.npz"
LISTED = "name"
MILLIMETRE = 0.001

ASPECT_TOLERANCE = 0.02
"""Largest relative difference of the aspect ratios: ScanNet has images of 1296 x 968 and depth maps of 640 x 480."""


def is_scannet_pairs(root: Path) -> bool:
    """Return whether the folder has listings and cameras of this layout."""
    return (root / INTRINSICS).is_file() and bool(_listings(root))


def read_scannet_pairs(entry: DataEntry, root: Path) -> PosedRows:
    """Read the pairs of one listing, by default ``test``, and the views in it.

    Raises:
        DataError: a file is missing or has another form; the message names it.
    """
    where = f"data set {entry.name!r}"
    cameras = _arrays(existing_file(root / INTRINSICS, where), where)
    listings = _listings(root)
    listing = listings[chosen_split(entry, listings, ("test",))]
    rows = _arrays(listing, where).get(LISTED)
    if rows is None or rows.shape[1:] != (4,) or not len(rows) or not np.issubdtype(rows.dtype, np.number):
        raise DataError(f"{where}: {listing}: expected an array {LISTED!r} of rows of room, sequence, frame and frame")
    views: dict[tuple[str, int], int] = {}
    pairs = []
    for room, sequence, *frames in rows.astype(np.int64).tolist():
        scene = f"scene{room:04d}_{sequence:02d}"
        pairs.append([views.setdefault((scene, frame), len(views)) for frame in frames])
    folders = [(root / scene, frame) for scene, frame in views]
    depth_paths = [existing_file(folder / "depth" / f"{frame}.png", where) for folder, frame in folders]
    names = [f"{folder.name}/color/{frame}.jpg" for folder, frame in folders]
    pictures = file_rows(names, [str(existing_file(root / name, where)) for name in names], origin=f"{root}|as depth")
    depth = file_rows(names, list(map(str, depth_paths)), origin=str(root))
    sizes = picture_sizes(depth.read, names, f"{where}: depth of view")
    of_picture = picture_sizes(pictures.read, names, f"{where}: view")
    for name, (width, height), picture in zip(names, sizes, of_picture, strict=True):
        if abs(picture[0] * height / (picture[1] * width) - 1) > ASPECT_TOLERANCE:
            raise DataError(
                f"{where}: view {name!r}: its depth map has {width}x{height} pixels and its image "
                f"{picture[0]}x{picture[1]}, which is another shape"
            )
    return PosedRows(
        pictures=replace(pictures, read=AdaptedReader(pictures.read, sizes=sizes)),
        depth=DepthRows(depth.read, depth.stamps),
        depth_scale=DepthScale(scale=np.full(len(names), MILLIMETRE)),
        intrinsics=np.array([_camera(cameras, scene, root / INTRINSICS, where) for scene, _ in views]),
        poses=np.array([_pose(folder / "pose" / f"{frame}.txt", where) for folder, frame in folders]),
        scenes=[scene for scene, _ in views],
        pairs=np.array(pairs, np.int64),
    )


def _listings(root: Path) -> dict[str, Path]:
    return {path.stem: path for path in visible(root.glob("*.npz")) if path.name != INTRINSICS}


def _arrays(path: Path, where: str) -> dict[str, NDArray[Any]]:
    try:
        check_zip(path)
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, AttributeError, TypeError, BadZipFile, MemoryError) as error:
        raise DataError(f"{where}: {path} is not an .npz file of plain arrays ({error})") from error


def _camera(cameras: dict[str, NDArray[Any]], scene: str, path: Path, where: str) -> NDArray[np.float64]:
    if scene not in cameras:
        raise DataError(f"{where}: {path} has no camera for {scene}")
    if cameras[scene].shape != (3, 3) or not np.issubdtype(cameras[scene].dtype, np.number):
        raise DataError(f"{where}: {path}: the camera of {scene} is not an array of 3 x 3 numbers")
    return cameras[scene].astype(np.float64)


def _pose(path: Path, where: str) -> NDArray[np.float64]:
    return as_pose(read_text(path, where).split() or None, f"{where}: {path}")
