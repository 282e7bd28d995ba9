"""RGB-D sequences in the layout of Open3D and the Redwood data sets (Choi et al. 2015).

    [SCENE/]color/00000.jpg      or image/, rgb/
    [SCENE/]depth/00000.png      16 bit, millimetres, as large as the pictures
    [SCENE/]trajectory.log       of every frame, five lines: its number, twice or with others; camera to world
    [SCENE/]camera*.json         width, height, intrinsic_matrix column by column; without it a PrimeSense camera

Pictures and depth maps go together in the order of their names; the trajectory names frames by their place in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.datasets.correspondence.layouts.files import in_natural_order, pictures_in, read_json, read_text
from pytest_clip_robust.datasets.correspondence.view_set import DepthScale, PosedRows
from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.images.depth import SUFFIXES
from pytest_clip_robust.datasets.sources.reading import file_rows
from pytest_clip_robust.errors import DataError

COLOUR_FOLDERS = ("color", "image", "rgb")
DEPTH_FOLDER = "depth"
TRAJECTORY = "trajectory.log"
MILLIMETRE = 0.001
PRIMESENSE: NDArray[np.float64] = np.array([[525.0, 0, 319.5], [0, 525, 239.5], [0, 0, 1]])
LINES = 5

CENTRE: NDArray[np.float64] = np.array([[0.0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
"""What makes of a principal point with the first pixel's centre at (0, 0) one with it at (0.5, 0.5)."""


@dataclass(frozen=True, slots=True)
class _Sequence:
    """The F frames of a scene that the trajectory has."""

    name: str
    pictures: list[Path]
    depth: list[Path]
    poses: NDArray[np.float64]
    intrinsics: NDArray[np.float64]


def is_open3d(root: Path) -> bool:
    """Say whether the folder holds such a sequence, or folders that do."""
    return bool(_scenes(root))


def read_open3d(entry: DataEntry, root: Path) -> PosedRows:
    """Read the sequences of a folder.

    Raises:
        DataError: a file is missing or has another form; the message names it.
    """
    scenes = _scenes(root)
    if not scenes:
        raise DataError(
            f"data set {entry.name!r}: neither {root} nor a folder there has {', '.join(COLOUR_FOLDERS)} with "
            f"{DEPTH_FOLDER} and {TRAJECTORY}"
        )
    sequences = [_sequence(entry, scene) for scene in scenes]
    files = [str(path) for one in sequences for path in one.pictures]
    maps = [str(path) for one in sequences for path in one.depth]
    names = [str(Path(file).relative_to(root)) for file in files]
    depth = file_rows(names, maps, origin=str(root))
    return PosedRows(
        pictures=file_rows(names, files, origin=str(root)),
        depth=(depth.read, depth.stamps),
        depth_scale=DepthScale(scale=np.full(len(files), MILLIMETRE)),
        intrinsics=np.concatenate([np.repeat(one.intrinsics[None], len(one.pictures), axis=0) for one in sequences]),
        poses=np.concatenate([one.poses for one in sequences]),
        scenes=[one.name for one in sequences for _ in one.pictures],
    )


def _scenes(root: Path) -> list[Path]:
    places = [root, *sorted(path for path in root.iterdir() if path.is_dir())]
    return [place for place in places if _colour_folder(place) is not None and (place / TRAJECTORY).is_file()]


def _colour_folder(scene: Path) -> Path | None:
    if not (scene / DEPTH_FOLDER).is_dir():
        return None
    return next((scene / name for name in COLOUR_FOLDERS if (scene / name).is_dir()), None)


def _sequence(entry: DataEntry, scene: Path) -> _Sequence:
    where = f"data set {entry.name!r}"
    colour = _colour_folder(scene)
    pictures = [] if colour is None else pictures_in(colour)
    depth = in_natural_order(path for path in (scene / DEPTH_FOLDER).iterdir() if path.suffix in SUFFIXES)
    if len(pictures) != len(depth) or not pictures:
        raise DataError(f"{where}: {scene} has {len(pictures)} pictures and {len(depth)} depth maps; expected as many")
    trajectory = _trajectory(scene / TRAJECTORY, where)
    beyond = next((frame for frame in trajectory if not 0 <= frame < len(pictures)), None)
    if beyond is not None:
        raise DataError(f"{where}: {scene / TRAJECTORY} has frame {beyond}, but there are {len(pictures)} pictures")
    return _Sequence(
        name=scene.name,
        pictures=[pictures[frame] for frame in trajectory],
        depth=[depth[frame] for frame in trajectory],
        poses=np.array(list(trajectory.values())),
        intrinsics=_intrinsics(scene, where),
    )


def _trajectory(path: Path, where: str) -> dict[int, NDArray[np.float64]]:
    """Return the pose of every frame that the file has."""
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
            raise DataError(f"{where}: {path} has frame {frame} twice")
        found[frame] = pose
    if not found:
        raise DataError(f"{where}: {path} has no pose")
    return found


def _intrinsics(scene: Path, where: str) -> NDArray[np.float64]:
    """Read the camera beside the pictures, or take the sensor's own."""
    for path in sorted(scene.glob("*.json")):
        content = read_json(path, dict, where)
        if "intrinsic_matrix" in content:
            try:
                matrix = np.array(content["intrinsic_matrix"], np.float64).reshape(3, 3).T + CENTRE
            except (TypeError, ValueError):
                raise DataError(f"{where}: {path}: intrinsic_matrix has not nine numbers, column by column") from None
            return matrix
    return PRIMESENSE + CENTRE
