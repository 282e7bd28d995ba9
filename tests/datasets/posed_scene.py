"""A ball with a known texture, seen by cameras that are known exactly, written in every layout of posed views."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pytest_clip_robust.datasets.correspondence.poses import OPENGL_AXES

CENTRE, RADIUS = np.array([0.2, -0.1, 0.15]), 0.5
WIDTH, HEIGHT = 48, 36
CAMERA = np.array([[60.0, 0, 26], [0, 60, 17], [0, 0, 1]])
CENTRED = np.array([[60.0, 0, WIDTH / 2], [0, 60, HEIGHT / 2], [0, 0, 1]])
FARTHEST = 8.0


@dataclass(frozen=True)
class Shot:
    """pose: camera to world, OpenCV's axes. depth: metres along the optical axis, 0 beside the ball."""

    pose: np.ndarray
    camera: np.ndarray
    rgb: np.ndarray
    depth: np.ndarray

    @property
    def along_ray(self):
        rows, columns = np.indices(self.depth.shape) + 0.5
        (fx, _, cx), (_, fy, cy), _ = self.camera
        return self.depth * np.sqrt(((columns - cx) / fx) ** 2 + ((rows - cy) / fy) ** 2 + 1)


def texture(points):
    return 128 + 90 * np.sin(points @ np.array([[3.0, -1, 2], [1, 3, 1], [-2, 1, 3]]) + [0.3, 1.1, 2.0])


def to_world(depth, camera, pose):
    """Return the (N, 3) world points of what is known, and the rows and columns of their pixels."""
    rows, columns = np.nonzero(depth > 0)
    z = depth[rows, columns].astype(np.float64)
    x = (columns + 0.5 - camera[0, 2]) / camera[0, 0] * z
    y = (rows + 0.5 - camera[1, 2]) / camera[1, 1] * z
    return np.stack([x, y, z], axis=1) @ pose[:3, :3].T + pose[:3, 3], rows, columns


def camera_at(azimuth, elevation=20.0, roll=0.0, distance=2.0):
    """Return the pose of a camera that looks past the ball's middle; the world's y points up."""
    a, e, r = np.radians([azimuth, elevation, roll])
    away = np.array([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)])
    forward = -away
    right = np.cross(forward, [0, 1, 0])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([np.cos(r) * right + np.sin(r) * down, np.cos(r) * down - np.sin(r) * right, forward], 1)
    pose[:3, 3] = CENTRE + distance * away + 0.05
    return pose


def shoot(pose, camera=CAMERA, size=(WIDTH, HEIGHT)):
    rows, columns = np.indices(size[::-1]) + 0.5
    rays = np.stack([(columns - camera[0, 2]) / camera[0, 0], (rows - camera[1, 2]) / camera[1, 1]], -1)
    rays = np.concatenate([rays, np.ones_like(rays[..., :1])], -1) @ pose[:3, :3].T
    offset = pose[:3, 3] - CENTRE
    a, b, c = (rays**2).sum(-1), rays @ offset, offset @ offset - RADIUS**2
    inside = b**2 - a * c
    depth = np.where(inside > 0, (-b - np.sqrt(np.maximum(inside, 0))) / a, 0)
    rgb = np.where((depth > 0)[..., None], texture(pose[:3, 3] + depth[..., None] * rays), 255)
    return Shot(pose, camera, rgb.round().astype(np.uint8), depth)


def shots(camera=CAMERA, azimuths=(0, 20, 45, 70, 110)):
    return [shoot(camera_at(a, 15 + a / 10, a / 8 - 5), camera) for a in azimuths]


def assert_true(views, tolerance=0.002, shades=2.5):
    """Hold every view's depth, camera and pose to the ball, and its colours to the texture."""
    from pytest_clip_robust.datasets.correspondence.view_set import depth_in_metres
    from pytest_clip_robust.datasets.images.decoding import decode

    for view in range(len(views.images)):
        points, rows, columns = to_world(depth_in_metres(views, view), views.intrinsics[view], views.poses[view])
        assert len(points) > 150
        off = np.abs(np.linalg.norm(points - CENTRE, axis=1) - RADIUS)
        assert np.quantile(off, 0.95) < tolerance, f"view {view}: {np.quantile(off, 0.95)}"
        colours = np.asarray(decode(views.images.read(view)), np.float64)[rows, columns]
        assert np.median(np.abs(colours - texture(points))) < shades, f"view {view}"


def save(picture, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, **options)


def millimetres(depth):
    return (depth * 1000).round().astype(np.uint16)


def write_blender(root, taken, *, name="transforms.json", depth_suffix="_depth_0001"):
    frames = []
    for i, shot in enumerate(taken):
        known = (shot.depth > 0).astype(np.uint8)[..., None] * 255
        grey = ((1 - shot.along_ray / FARTHEST) * 255).round().astype(np.uint8)[..., None]
        save(np.concatenate([np.where(known, shot.rgb, 0), known], -1), root / "test" / f"r_{i}.png")
        # What lies under transparent pixels of the map must not be taken for depth.
        save(np.concatenate([np.where(known, grey, 77)] * 3 + [known], -1), root / "test" / f"r_{i}{depth_suffix}.png")
        frames.append({"file_path": f"./test/r_{i}", "transform_matrix": (shot.pose @ OPENGL_AXES).tolist()})
    angle = 2 * np.arctan(WIDTH / 2 / taken[0].camera[0, 0])
    (root / name).write_text(json.dumps({"camera_angle_x": float(angle), "frames": frames}))
    return root


def write_open3d(root, taken):
    log = []
    for i, shot in enumerate(taken):
        save(shot.rgb, root / "color" / f"{i}.png")
        save(millimetres(shot.depth), root / "depth" / f"{i}.png")
        log += [f"{i} {i} {i + 1}", *(" ".join(map(repr, row)) for row in shot.pose.tolist())]
    (root / "trajectory.log").write_text("\n".join(log) + "\n")
    matrix = taken[0].camera - [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]
    camera = {"width": WIDTH, "height": HEIGHT, "intrinsic_matrix": matrix.T.ravel().tolist()}
    (root / "camera.json").write_text(json.dumps(camera))
    return root


def write_scannet(root, taken, *, pairs=((0, 1), (0, 3), (2, 3), (3, 4))):
    """Frames are numbered in steps of 15; pictures are twice as large as depth maps."""
    scene = root / "scene0707_01"
    for i, shot in enumerate(taken):
        large = shoot(shot.pose, np.diag([2.0, 2, 1]) @ shot.camera, (2 * WIDTH, 2 * HEIGHT))
        save(large.rgb, scene / "color" / f"{15 * i}.jpg", quality=98, subsampling=0)
        save(millimetres(shot.depth), scene / "depth" / f"{15 * i}.png")
        (scene / "pose").mkdir(exist_ok=True)
        np.savetxt(scene / "pose" / f"{15 * i}.txt", shot.pose, delimiter=" ")
    np.savez(root / "intrinsics.npz", scene0707_01=taken[0].camera)
    np.savez(root / "test.npz", name=np.array([[707, 1, 15 * i, 15 * j] for i, j in pairs]))
    return root


def write_navi(root, taken, *, scene="wild_set"):
    """Every second picture lies on its side, and says so in its EXIF data."""
    folder = root / "teapot" / scene
    annotations = []
    for i, shot in enumerate(taken):
        picture, exif = Image.fromarray(shot.rgb), Image.Exif()
        if i % 2:
            picture, exif[0x0112] = picture.transpose(Image.Transpose.ROTATE_90), 6
        (folder / "images").mkdir(parents=True, exist_ok=True)
        picture.save(folder / "images" / f"{i:03d}.jpg", quality=98, subsampling=0, exif=exif)
        inverse = np.where(shot.depth > 0, 655.35 / np.where(shot.depth > 0, shot.depth, 1), 0)
        save(inverse.round().astype(np.uint16), folder / "depth" / f"{i:03d}.png")
        to_camera = np.linalg.inv(shot.pose)
        camera = {
            "q": quaternion(to_camera[:3, :3]),
            "t": (1000 * to_camera[:3, 3]).tolist(),
            "focal_length": 10 * float(shot.camera[0, 0]),
        }
        annotations.append({"filename": f"{i:03d}.jpg", "image_size": [10 * HEIGHT, 10 * WIDTH], "camera": camera})
    (folder / "annotations.json").write_text(json.dumps(annotations))
    return root


def write_table(path, taken, **changed):
    import datasets

    columns = {
        "image": [{"bytes": png(shot.rgb), "path": f"{i}.png"} for i, shot in enumerate(taken)],
        "depth": [{"bytes": png(millimetres(shot.depth)), "path": f"{i}.png"} for i, shot in enumerate(taken)],
        "label": ["ball"] * len(taken),
        "scene": [0] * len(taken),
        "intrinsics": [shot.camera.ravel().tolist() for shot in taken],
        "pose": [np.linalg.inv(shot.pose).ravel().tolist() for shot in taken],
    }
    columns = {name: column for name, column in (columns | changed).items() if column is not None}
    found = datasets.Dataset.from_dict(columns)
    for column in {"image", "depth"} & set(columns):
        found = found.cast_column(column, datasets.Image(decode=False))
    found.to_parquet(path)
    return path


def png(picture):
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def quaternion(turn):
    """Return w, x, y, z of a rotation, from its axis and angle; twice as long as usual, which must not matter."""
    values, vectors = np.linalg.eig(turn)
    axis = np.real(vectors[:, np.argmin(np.abs(values - 1))])
    sine = axis @ [turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]] / 2
    angle = np.arctan2(sine, (np.trace(turn) - 1) / 2)
    return [2 * float(np.cos(angle / 2)), *(2 * np.sin(angle / 2) * axis).tolist()]


def found_again(views, first, second):
    """Re-project the points of one view into another one's depth map.

    Return the (N,) metres along the axis between each and the nearest depth of the 3 x 3 pixels there, infinite where
    none is known, for those that fall into the picture; and how many that is, as a share.
    """
    from pytest_clip_robust.datasets.correspondence.view_set import depth_in_metres

    points, _, _ = to_world(depth_in_metres(views, first), views.intrinsics[first], views.poses[first])
    there = depth_in_metres(views, second)
    back = np.linalg.inv(views.poses[second])
    seen = points @ back[:3, :3].T + back[:3, 3]
    places = seen @ views.intrinsics[second].T
    columns, rows = np.floor(places[:, :2] / places[:, 2:]).astype(int).T
    height, width = there.shape
    inside = (seen[:, 2] > 0) & (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    padded = np.pad(np.where(there > 0, there, np.inf), 1, constant_values=np.inf)
    around = np.stack([padded[rows[inside] + i, columns[inside] + j] for i in range(3) for j in range(3)])
    return np.abs(around - seen[inside, 2]).min(axis=0), inside.mean()
