"""Photographs of objects with aligned scans: NAVI (Jampani et al. 2023).

    OBJECT/SCENE/annotations.json       a list: filename, image_size [height, width], camera of q, t, focal_length
    OBJECT/SCENE/images/000.jpg         turned by their EXIF orientation before anything else
    OBJECT/SCENE/depth/000.png          16 bit: 655.35 / v metres along the optical axis; 0: not the object

SCENE is ``wild_set``, or begins with ``multiview`` or ``video``. The quaternion q (w, x, y, z) and t in millimetres
take the object's points to the camera's; x to the right, y down, z forward. Where smaller copies ``downsampled_000``
lie beside pictures and depth maps, as the public evaluation makes them, they are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.layouts.files import chosen_split, read_json, there
from pytest_clip_robust.datasets.pictures import AdaptedReader, Size, picture_sizes
from pytest_clip_robust.datasets.posed_rows import PosedRows
from pytest_clip_robust.datasets.poses import from_quaternion, inverse
from pytest_clip_robust.datasets.sources import file_rows
from pytest_clip_robust.datasets.view_set import DepthScale
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.text import printable

ANNOTATIONS = "annotations.json"
SMALL = "downsampled_"
KINDS = {"wild": "wild_set", "multiview": "multiview", "video": "video"}
"""Splits, and how the names of their scenes begin."""

METRES = 655.35
"""A map's number over 655,350 is the inverse of millimetres."""

MILLIMETRE = 0.001
ASPECT_TOLERANCE = 0.01


@dataclass(frozen=True, slots=True)
class _Photograph:
    """One view: its files, world to camera in metres, focal length in pixels of a picture of the annotated size."""

    picture: Path
    depth: Path
    pose: NDArray[np.float64]
    focal: float
    size: Size
    scene: str


def is_navi(root: Path) -> bool:
    """Say whether the folder holds objects with annotated scenes."""
    return bool(_scenes(root))


def read_navi(entry: DataEntry, root: Path) -> PosedRows:
    """Read the scenes of one split: ``wild``, by which models are compared in print, ``multiview`` or ``video``.

    Raises:
        DataError: a file is missing or has another form; the message names it.
    """
    scenes = _scenes(root)
    if not scenes:
        raise DataError(f"data set {entry.name!r}: no OBJECT/SCENE/{ANNOTATIONS} in {root}")
    split = chosen_split(entry, scenes, KINDS)
    photographs = [one for scene in scenes[split] for one in _photographs(entry, scene)]
    if not photographs:
        raise DataError(f"data set {entry.name!r}: no photograph is listed in {root}")
    names = [str(one.picture.relative_to(root)) for one in photographs]
    pictures = file_rows(names, [str(one.picture) for one in photographs], origin=f"{root}|{split}|upright")
    depth = file_rows(names, [str(one.depth) for one in photographs], origin=f"{root}|{split}")
    read = AdaptedReader(pictures.read, upright=True)
    sizes = picture_sizes(read, names, f"data set {entry.name!r}: view")
    cameras = [
        _intrinsics(one, size, f"data set {entry.name!r}: view {name!r}")
        for one, size, name in zip(photographs, sizes, names, strict=True)
    ]
    return PosedRows(
        pictures=replace(pictures, read=read),
        depth=(depth.read, depth.stamps),
        depth_scale=DepthScale(scale=np.full(len(names), METRES), inverse=True),
        intrinsics=np.array(cameras),
        poses=inverse(np.array([one.pose for one in photographs])),
        scenes=[one.scene for one in photographs],
        around_object=True,
    )


def _scenes(root: Path) -> dict[str, list[Path]]:
    """Return the annotated scenes' folders of each split."""
    folders = [path.parent for path in sorted(root.glob(f"*/*/{ANNOTATIONS}"))]
    found = {
        split: [folder for folder in folders if folder.name.startswith(beginning)] for split, beginning in KINDS.items()
    }
    return {split: scenes for split, scenes in found.items() if scenes}


def _photographs(entry: DataEntry, scene: Path) -> Iterator[_Photograph]:
    path = scene / ANNOTATIONS
    where = f"data set {entry.name!r}"
    for number, annotation in enumerate(read_json(path, list, where)):
        place = f"{where}: {path}, entry {number}"
        file = annotation.get("filename") if isinstance(annotation, dict) else None
        if not isinstance(file, str) or not file:
            raise DataError(f"{place}: filename={file!r}; expected the name of an image file")
        picture, depth = _files(scene, file, place)
        pose, focal, size = _camera(annotation, place)
        yield _Photograph(picture, depth, pose, focal, size, scene=f"{scene.parent.name}/{scene.name}")


def _files(scene: Path, file: str, where: str) -> tuple[Path, Path]:
    picture, depth = scene / "images" / file, scene / "depth" / f"{Path(file).stem}.png"
    small = [path.with_name(f"{SMALL}{path.name}") for path in (picture, depth)]
    if all(path.is_file() for path in small):
        return small[0], small[1]
    return there(picture, where), there(depth, where)


def _camera(annotation: dict[str, Any], where: str) -> tuple[NDArray[np.float64], float, Size]:
    camera = annotation.get("camera")
    if not isinstance(camera, dict) or camera.get("q") is None or camera.get("t") is None:
        raise DataError(f"{where} has no pose; expected camera with q and t")
    try:
        pose = from_quaternion(camera["q"], np.array(camera["t"], np.float64) * MILLIMETRE)
        focal = float(camera["focal_length"])
        height, width = (int(side) for side in annotation["image_size"])
    except KeyError as error:
        raise DataError(f"{where} has no {error}") from None
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: {printable(str(error))}; expected q, t, focal_length and image_size") from None
    return pose, focal, (width, height)


def _intrinsics(photograph: _Photograph, size: Size, where: str) -> list[list[float]]:
    (width, height), (whole_width, whole_height) = size, photograph.size
    across, down = width / whole_width, height / whole_height
    if abs(across / down - 1) > ASPECT_TOLERANCE:
        raise DataError(
            f"{where}: its picture has {width}x{height} pixels and its camera {whole_width}x{whole_height}, "
            "which is another shape"
        )
    return [[photograph.focal * across, 0, width / 2], [0, photograph.focal * down, height / 2], [0, 0, 1]]
