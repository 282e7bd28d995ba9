"""RGB-D sequences in the layout of Open3D and the Redwood data sets (Choi et al. 2015).

    [SCENE/]color/00000.jpg      or image/, rgb/
    [SCENE/]depth/00000.png      16 bit, millimetres, of the images' size
    [SCENE/]trajectory.log       five lines per frame: a line that begins with its number; camera to world
    [SCENE/]camera*.json         width, height, intrinsic_matrix column by column; without it a PrimeSense camera

Images and depth maps belong together by the order of their names; the trajectory numbers frames in that order.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.datasets.correspondence.layouts.files import images_in, in_natural_order
from pytest_clip_robust.datasets.correspondence.view_set import DepthScale, PosedRows
from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.images.depth import SUFFIXES
from pytest_clip_robust.datasets.sources.rows import DepthRows, file_rows
from pytest_clip_robust.datasets.sources.splits import no_such_split
from pytest_clip_robust.datasets.sources.walk import visible
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.system.files import is_file, is_folder, read_json, read_text

COLOUR_FOLDERS = ("color", "image", "rgb")
DEPTH_FOLDER = "depth"
TRAJECTORY = "trajectory.log"
MILLIMETRE = 0.001
PRIMESENSE: NDArray[np.float64] = np.array([[525.0, 0, 319.5], [0, 525, 239.5], [0, 0, 1]])
LINES = 5

CENTRE: NDArray[np.float64] = np.array([[0.0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
"""Moves a principal point from pixel centres at whole numbers to the first pixel's centre at (0.5, 0.5)."""


@dataclass(frozen=True, slots=True)
class _Sequence:
    """The F frames of a scene that are in the trajectory."""

    name: str
    pictures: list[Path]
    depth: list[Path]
    poses: NDArray[np.float64]
    intrinsics: NDArray[np.float64]


def is_open3d(root: Path) -> bool:
    """Return whether the folder is such a sequence, or contains folders that are."""
    return bool(_scenes(root))


def read_open3d(entry: DataEntry, root: Path) -> PosedRows:
    """Read the sequences of a folder.

    Raises:
        DataError: a file is missing or has another form; the message names it.
    """
    root = _in_split(entry, root)
    scenes = _scenes(root)
    unposed = next(
        (place for place in _places(root) if _colour_folder(place) is not None and place not in scenes), None
    )
    if scenes and unposed is not None:
        raise DataError(
            f"data set {entry.name!r}: {unposed} has images and depth maps and no {TRAJECTORY}: add it, or remove them"
        )
    if not scenes:
        raise DataError(
            f"data set {entry.name!r}: neither {root} nor a folder in it has {', '.join(COLOUR_FOLDERS)} with "
            f"{DEPTH_FOLDER} and {TRAJECTORY}"
        )
    sequences = [_sequence(entry, scene) for scene in scenes]
    files = [str(path) for one in sequences for path in one.pictures]
    maps = [str(path) for one in sequences for path in one.depth]
    names = [str(Path(file).relative_to(root)) for file in files]
    depth = file_rows(names, maps, origin=str(root))
    return PosedRows(
        pictures=file_rows(names, files, origin=str(root)),
        depth=DepthRows(depth.read, depth.stamps),
        depth_scale=DepthScale(scale=np.full(len(files), MILLIMETRE)),
        intrinsics=np.concatenate([np.repeat(one.intrinsics[None], len(one.pictures), axis=0) for one in sequences]),
        poses=np.concatenate([one.poses for one in sequences]),
        scenes=[one.name for one in sequences for _ in one.pictures],
    )


def _in_split(entry: DataEntry, root: Path) -> Path:
    if not entry.split or root.name == entry.split:
        return root
    if not is_folder(root / entry.split):
        raise no_such_split(entry, f"{root} has no such folder")
    return root / entry.split


def _places(root: Path) -> list[Path]:
    return [root, *(path for path in visible(root.iterdir()) if is_folder(path))]


def _scenes(root: Path) -> list[Path]:
    return [place for place in _places(root) if _colour_folder(place) is not None and is_file(place / TRAJECTORY)]


def _colour_folder(scene: Path) -> Path | None:
    if not is_folder(scene / DEPTH_FOLDER):
        return None
    return next((scene / name for name in COLOUR_FOLDERS if is_folder(scene / name)), None)


def _sequence(entry: DataEntry, scene: Path) -> _Sequence:
    where = f"data set {entry.name!r}"
    colour = _colour_folder(scene)
    pictures = [] if colour is None else images_in(colour)
    depth = in_natural_order(
        path for path in visible((scene / DEPTH_FOLDER).iterdir()) if path.suffix.lower() in SUFFIXES
    )
    if len(pictures) != len(depth) or not pictures:
        raise DataError(
            f"{where}: {scene} has {len(pictures)} images and {len(depth)} depth maps; expected the same number"
        )
    trajectory = _trajectory(scene / TRAJECTORY, where)
    beyond = next((frame for frame in trajectory if not 0 <= frame < len(pictures)), None)
    if beyond is not None:
        raise DataError(f"{where}: {scene / TRAJECTORY} has frame {beyond}, but there are {len(pictures)} images")
    return _Sequence(
        name=scene.name,
        pictures=[pictures[frame] for frame in trajectory],
        depth=[depth[frame] for frame in trajectory],
        poses=np.array(list(trajectory.values())),
        intrinsics=_intrinsics(scene, where),
    )


def _trajectory(path: Path, where: str) -> dict[int, NDArray[np.float64]]:
    """Return the pose of every frame in the file."""
    lines = [line.split() for line in read_text(path, where).splitlines() if line.strip()]
    found: dict[int, NDArray[np.float64]] = {}
    for start in range(0, len(lines), LINES):
        try:
            frame = int(lines[start][0])
            pose = np.array(lines[start + 1 : start + LINES], np.float64).reshape(4, 4)
        except ValueError:
            raise DataError(
                f"{where}: {path}, entry {start // LINES}: expected a line of frame numbers and four of four numbers"
            ) from None
        if frame in found:
            raise DataError(f"{where}: {path} lists frame {frame} twice")
        found[frame] = pose
    if not found:
        raise DataError(f"{where}: {path} has no pose")
    return found


def _intrinsics(scene: Path, where: str) -> NDArray[np.float64]:
    """Return the camera from a JSON file of the scene, or otherwise that of the PrimeSense sensor."""
    cameras: dict[Path, NDArray[np.float64]] = {}
    for path in visible(scene.glob("*.json")):
        content = read_json(path, dict, where)
        if "intrinsic_matrix" in content:
            try:
                cameras[path] = np.array(content["intrinsic_matrix"], np.float64).reshape(3, 3).T + CENTRE
            except (TypeError, ValueError):
                raise DataError(
                    f"{where}: {path}: intrinsic_matrix does not have nine numbers, column by column"
                ) from None
    if len({camera.tobytes() for camera in cameras.values()}) > 1:
        raise DataError(f"{where}: {' and '.join(str(path) for path in cameras)} have different cameras; remove one")
    return next(iter(cameras.values()), PRIMESENSE + CENTRE)
