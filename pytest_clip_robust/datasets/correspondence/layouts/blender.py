"""Renderings by Blender in the layout of NeRF's synthetic scenes (Mildenhall et al. 2020).

    [SCENE/]transforms[_SPLIT].json     camera_angle_x; frames of file_path and transform_matrix
    [SCENE/]FILE_PATH.png               RGBA
    [SCENE/]FILE_PATH_depth_NNNN.png    8 bit: 8 * (1 - v / 255) along the ray; 0 or transparent: unknown

Scenes have no unit: one unit of their files counts as a metre. Eight bits resolve depth in steps of 0.03.
"""

from __future__ import annotations

import io
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pytest_clip_robust.datasets.correspondence.layouts.files import existing_file
from pytest_clip_robust.datasets.correspondence.pictures import AdaptedReader, Size, opened, picture_size, picture_sizes
from pytest_clip_robust.datasets.correspondence.poses import OPENGL_AXES, as_pose
from pytest_clip_robust.datasets.correspondence.view_set import DepthScale, PosedRows
from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.images.reader import ImageReader
from pytest_clip_robust.datasets.sources.rows import DepthRows, file_rows
from pytest_clip_robust.datasets.sources.splits import chosen_split
from pytest_clip_robust.datasets.sources.walk import check_inside, visible
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.system.files import is_file, is_folder, read_json
from pytest_clip_robust.system.text import printable

FARTHEST = 8.0
TRANSFORMS = re.compile(r"transforms(?:_(\w+))?\.json")
DEPTH = re.compile(r"(.+)_depth(?:_\d+)?\.png")
WHOLE = ""
"""The split of a scene without splits."""

EIGHT_BIT = frozenset({"L", "LA", "RGB", "RGBA"})


@dataclass(frozen=True, slots=True)
class OpaqueReader:
    """Reads grey 8-bit maps with any number of channels as one channel, 0 for transparent pixels."""

    read: ImageReader

    def __call__(self, index: int, /) -> bytes:
        """Return the file of map `index`."""
        with opened(io.BytesIO(self.read(index))) as image:
            if image.mode not in EIGHT_BIT:
                raise DataError(f"its depth map is an image of mode {image.mode}; expected 8 bit")
            layers = np.asarray(image.convert("RGBA"))
        buffer = io.BytesIO()
        Image.fromarray(np.where(layers[..., 3] > 0, layers[..., 0], 0).astype(np.uint8)).save(buffer, "BMP")
        return buffer.getvalue()

    def size(self, index: int) -> Size:
        """Return the width and height of map `index`."""
        return picture_size(self.read, index)


@dataclass(frozen=True, slots=True)
class _Frame:
    """One view: its files, its pose (camera to world, Blender's axes), and its horizontal field of view in radians."""

    picture: Path
    depth: Path
    pose: NDArray[np.float64]
    angle: float
    scene: str


def is_blender(root: Path) -> bool:
    """Return whether the folder is such a scene, or contains folders that are."""
    return bool(_scenes(root))


def read_blender(entry: DataEntry, root: Path) -> PosedRows:
    """Read the views of every scene in one split, by default ``transforms.json`` or the split ``test``.

    Raises:
        DataError: a file is missing or has another form; the message names it.
    """
    scenes = _scenes(root)
    if not scenes:
        raise DataError(f"data set {entry.name!r}: no transforms.json in {root} or in a folder of it")
    frames = [frame for scene in scenes for frame in _frames(entry, scene)]
    if not frames:
        raise DataError(f"data set {entry.name!r}: no frames are listed in {root}")
    names = [os.path.relpath(frame.picture, root) for frame in frames]
    pictures = file_rows(names, [str(frame.picture) for frame in frames], origin=f"{root}|on white")
    depth = file_rows(names, [str(frame.depth) for frame in frames], origin=str(root))
    read = AdaptedReader(pictures.read)
    sizes = picture_sizes(read, names, f"data set {entry.name!r}: view")
    return PosedRows(
        pictures=replace(pictures, read=read),
        depth=DepthRows(OpaqueReader(depth.read), depth.stamps),
        depth_scale=DepthScale(scale=np.full(len(frames), -FARTHEST / 255), offset=FARTHEST, along_ray=True),
        intrinsics=np.array([_intrinsics(frame.angle, *size) for frame, size in zip(frames, sizes, strict=True)]),
        poses=np.array([frame.pose for frame in frames]) @ OPENGL_AXES,
        scenes=[frame.scene for frame in frames],
    )


def _scenes(root: Path) -> list[Path]:
    places = [root, *(path for path in visible(root.iterdir()) if is_folder(path))]
    found = [place for place in places if _splits(place)]
    return found[:1] if found[:1] == [root] else found


def _splits(scene: Path) -> dict[str, Path]:
    files = [(TRANSFORMS.fullmatch(path.name), path) for path in visible(scene.glob("transforms*.json"))]
    return {match.group(1) or WHOLE: path for match, path in files if match}


def _frames(entry: DataEntry, scene: Path) -> Iterator[_Frame]:
    splits = _splits(scene)
    path = splits[chosen_split(entry, splits, (WHOLE, "test"))]
    where = f"data set {entry.name!r}"
    content = read_json(path, dict, where)
    angle, frames = content.get("camera_angle_x"), content.get("frames")
    if not isinstance(angle, float | int) or not 0 < angle < math.pi:
        raise DataError(f"{where}: {path}: camera_angle_x={angle!r}; expected radians between 0 and pi")
    if not isinstance(frames, list):
        raise DataError(f"{where}: {path} has no list of frames")
    maps: dict[Path, dict[str, Path]] = {}
    for number, frame in enumerate(frames):
        place = f"{where}: {path}, frame {number}"
        picture = _picture(frame, scene, place)
        folder = picture.parent
        if folder not in maps:
            maps[folder] = _depth_maps(folder, place)
        if picture.stem not in maps[folder]:
            raise DataError(f"{place}: no depth map {printable(picture.stem)}_depth_0001.png in {folder}")
        pose = as_pose(frame.get("transform_matrix"), place)
        yield _Frame(picture, maps[folder][picture.stem], pose, float(angle), scene.name)


def _picture(frame: Any, scene: Path, where: str) -> Path:
    file = frame.get("file_path") if isinstance(frame, dict) else None
    if not isinstance(file, str) or not file:
        raise DataError(f"{where}: file_path={file!r}; expected the name of an image file")
    check_inside(scene.parent, str(scene / file), where)  # scenes can share a folder of pictures next to them
    named = scene / file
    return named if is_file(named) else existing_file(named.with_name(f"{named.name}.png"), where)


def _depth_maps(folder: Path, where: str) -> dict[str, Path]:
    """Return the depth maps of a folder by the stems of their pictures."""
    maps: dict[str, Path] = {}
    for path in visible(folder.iterdir()):
        name = DEPTH.fullmatch(path.name)
        if name is None:
            continue
        other = maps.setdefault(name.group(1), path)
        if other != path:
            both = f"{printable(other.name)} and {printable(path.name)}"
            raise DataError(f"{where}: {folder} has two depth maps of one picture, {both}; remove one")
    return maps


def _intrinsics(angle: float, width: int, height: int) -> list[list[float]]:
    focal = width / 2 / math.tan(angle / 2)
    return [[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]]
