"""Photographs of objects with aligned scans: NAVI (Jampani et al. 2023).

    OBJECT/SCENE/annotations.json       a list: filename, image_size [height, width], camera of q, t, focal_length
    OBJECT/SCENE/images/000.jpg         the EXIF orientation applies before anything else
    OBJECT/SCENE/depth/000.png          16 bit: 655.35 / v metres along the optical axis; 0: not the object

SCENE is ``wild_set``, or begins with ``multiview`` or ``video``. The quaternion q (w, x, y, z) and t in millimetres
transform points of the object to the camera; x to the right, y down, z forward. If there are smaller copies
``downsampled_000`` of images and depth maps, as the public evaluation makes them, these are read.

The entry's table is a listing of pairs, as in ``custom_splits``: each line names two images; the rest is ignored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.datasets.correspondence.layouts.files import existing_file
from pytest_clip_robust.datasets.correspondence.pictures import AdaptedReader, Size, picture_sizes
from pytest_clip_robust.datasets.correspondence.poses import from_quaternion, inverse
from pytest_clip_robust.datasets.correspondence.view_set import DepthScale, PosedRows
from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.sources.rows import DepthRows, file_rows
from pytest_clip_robust.datasets.sources.splits import chosen_split
from pytest_clip_robust.datasets.sources.walk import check_inside, is_tool_path
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.system.files import is_file, read_json, read_text, user_path
from pytest_clip_robust.system.text import printable

ANNOTATIONS = "annotations.json"
SMALL = "downsampled_"
KINDS = {"wild": "wild_set", "multiview": "multiview", "video": "video"}
"""Splits, and the beginning of the names of their scenes."""

METRES = 655.35
"""A map's value divided by 655,350 is the inverse of the depth in millimetres."""

MILLIMETRE = 0.001
ASPECT_TOLERANCE = 0.01


@dataclass(frozen=True, slots=True)
class _Photograph:
    """One view.

    file: the image's name as listed. pose: world to camera, in metres. focal: in pixels of an image of that size.
    """

    file: str
    picture: Path
    depth: Path
    pose: NDArray[np.float64]
    focal: float
    size: Size
    scene: str


def is_navi(root: Path) -> bool:
    """Return whether the folder has objects with annotated scenes."""
    return bool(_scenes(root))


def read_navi(entry: DataEntry, root: Path) -> PosedRows:
    """Read the scenes of one split: ``wild``, which Probe3D compares, ``multiview`` or ``video``.

    If the entry names a listing of pairs, those pairs are read, from all scenes.

    Raises:
        DataError: a file is missing or has another form; the message names it.
    """
    scenes = _scenes(root)
    if not scenes:
        raise DataError(f"data set {entry.name!r}: no OBJECT/SCENE/{ANNOTATIONS} in {root}")
    if entry.table and entry.split:
        raise DataError(f"data set {entry.name!r}: give split={entry.split} or table={entry.table}, not both")
    if entry.table:
        split, folders = entry.table, [scene for of_split in scenes.values() for scene in of_split]
    else:
        split = chosen_split(entry, scenes, KINDS)
        folders = scenes[split]
    _refuse_unannotated(entry, root, folders)
    photographs = [one for scene in folders for one in _photographs(entry, scene)]
    if not photographs:
        raise DataError(f"data set {entry.name!r}: no photographs are listed in {root}")
    pairs = _listed_pairs(entry, root, photographs) if entry.table else None
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
        depth=DepthRows(depth.read, depth.stamps),
        depth_scale=DepthScale(scale=np.full(len(names), METRES), inverse=True),
        intrinsics=np.array(cameras),
        poses=inverse(np.array([one.pose for one in photographs])),
        scenes=[one.scene for one in photographs],
        pairs=pairs,
        around_object=True,
    )


def _scenes(root: Path) -> dict[str, list[Path]]:
    """Return the folders of the annotated scenes per split."""
    folders = [
        path.parent for path in sorted(root.glob(f"*/*/{ANNOTATIONS}")) if not is_tool_path(path.relative_to(root))
    ]
    found = {
        split: [folder for folder in folders if folder.name.startswith(beginning)] for split, beginning in KINDS.items()
    }
    return {split: scenes for split, scenes in found.items() if scenes}


def _refuse_unannotated(entry: DataEntry, root: Path, scenes: Sequence[Path]) -> None:
    """Refuse scenes with images and without annotations, in the splits that are read."""
    kinds = {beginning for beginning in KINDS.values() if any(scene.name.startswith(beginning) for scene in scenes)}
    for path in sorted(root.glob("*/*/images")):
        scene = path.parent
        read = scene.name.startswith(tuple(kinds)) and not is_tool_path(path.relative_to(root))
        if read and not is_file(scene / ANNOTATIONS):
            raise DataError(f"data set {entry.name!r}: {scene} has images and no {ANNOTATIONS}: add it, or remove them")


def _photographs(entry: DataEntry, scene: Path) -> Iterator[_Photograph]:
    path = scene / ANNOTATIONS
    where = f"data set {entry.name!r}"
    files: set[str] = set()
    for number, annotation in enumerate(read_json(path, list, where)):
        place = f"{where}: {path}, entry {number}"
        file = annotation.get("filename") if isinstance(annotation, dict) else None
        if not isinstance(file, str) or not file or Path(file).name != file:
            raise DataError(f"{place}: filename={file!r}; expected the name of a file in images/")
        if file in files:
            raise DataError(f"{place}: {printable(file)} is listed twice; remove one")
        files.add(file)
        picture, depth = _files(scene, file, place)
        pose, focal, size = _camera(annotation, place)
        yield _Photograph(file, picture, depth, pose, focal, size, scene=f"{scene.parent.name}/{scene.name}")


def _listed_pairs(entry: DataEntry, root: Path, photographs: Sequence[_Photograph]) -> NDArray[np.int64]:
    path, where = root / user_path(entry.table), f"data set {entry.name!r}"
    places = {(one.scene, one.file): place for place, one in enumerate(photographs)}
    pairs = []
    for number, line in enumerate(read_text(path, where).splitlines(), start=1):
        if not line.strip():
            continue
        files = [PurePosixPath(file) for file in line.split()[:2]]
        names = [_scene_and_file(file) for file in files]
        unknown = next((file for file, name in zip(files, names, strict=True) if name not in places), None)
        if len(files) < 2 or unknown is not None:
            what = f"no scene has {printable(str(unknown))}" if unknown is not None else "expected two images"
            raise DataError(f"{where}: {path}, line {number}: {what}")
        pairs.append([places[name] for name in names])
    if not pairs:
        raise DataError(f"{where}: {path} lists no pairs")
    return np.array(pairs, np.int64)


def _scene_and_file(path: PurePosixPath) -> tuple[str, str]:
    """Return OBJECT/SCENE and the file's name of a path, with or without folders before them and ``images`` after."""
    folder = path.parent.parent if path.parent.name == "images" else path.parent
    return f"{folder.parent.name}/{folder.name}", path.name


def _files(scene: Path, file: str, where: str) -> tuple[Path, Path]:
    check_inside(scene, str(scene / "images" / file), where)
    picture, depth = scene / "images" / file, scene / "depth" / f"{Path(file).stem}.png"
    small = [path.with_name(f"{SMALL}{path.name}") for path in (picture, depth)]
    if all(is_file(path) for path in small):
        return small[0], small[1]
    return existing_file(picture, where), existing_file(depth, where)


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
            f"{where}: its image has {width}x{height} pixels and its camera {whole_width}x{whole_height}, "
            "which is another shape"
        )
    return [[photograph.focal * across, 0, width / 2], [0, photograph.focal * down, height / 2], [0, 0, 1]]
