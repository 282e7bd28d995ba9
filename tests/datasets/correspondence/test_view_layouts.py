"""Every layout gives back the scene that was written: axes, units, sizes and pixel centres."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import posed_scene as scene
import pytest

from pytest_clip_robust.datasets.correspondence.poses import relative_angle
from pytest_clip_robust.datasets.correspondence.view_set import depth_in_metres
from pytest_clip_robust.datasets.correspondence.views import load_view_set
from pytest_clip_robust.datasets.entry import DataEntry, parse_data_option
from pytest_clip_robust.errors import DataError

WRITERS = {
    "blender": scene.write_blender,
    "navi": scene.write_navi,
    "open3d": scene.write_open3d,
    "scannet-pairs": scene.write_scannet,
}
TOLERANCES = {"blender": (0.02, 5), "scannet-pairs": (0.002, 4), "navi": (0.004, 4)}
"""Metres and shades: the depth of Blender's scenes has steps of 3 cm, that of NAVI of 6 mm at 2 m; JPEG blurs."""


@pytest.fixture(scope="module")
def taken():
    return scene.shots()


@pytest.fixture(scope="module")
def centred():
    """Shots by a camera whose principal point is the middle, as Blender and NAVI take for granted."""
    return scene.shots(scene.CENTRED)


@pytest.fixture
def load(tmp_path):
    def read(option, **keywords):
        return load_view_set(parse_data_option(f"ball={option}"), **{"cache_dir": tmp_path / "cache"} | keywords)

    return read


def written(layout, root, taken, centred):
    root.mkdir(exist_ok=True)
    return WRITERS[layout](root, centred if layout in {"blender", "navi"} else taken)


@pytest.mark.parametrize("layout", WRITERS)
def test_a_layout_is_found_out_and_true_to_the_scene(load, tmp_path, taken, centred, layout):
    root = written(layout, tmp_path / "set", taken, centred)
    views = load(root)
    assert len(views.images) == 5
    scene.assert_true(views, *TOLERANCES.get(layout, (0.002, 2.5)))
    assert load(f"{root}?format={layout}").fingerprint == views.fingerprint


def test_a_table_is_true_to_the_scene(load, tmp_path, taken):
    views = load(scene.write_table(tmp_path / "views.parquet", taken))
    scene.assert_true(views)
    assert views.scenes == ["ball 0"] * 5
    assert views.name == "ball"
    assert views.boxes is None


def test_the_check_itself_notices_wrong_axes_and_half_a_pixel(load, tmp_path, taken):
    """Or the tests above would prove nothing."""
    views = load(scene.write_table(tmp_path / "views.parquet", taken))
    flipped = replace(views, poses=views.poses @ np.diag([1.0, -1, -1, 1]))
    mirrored = replace(views, poses=np.linalg.inv(views.poses))
    shifted = replace(views, depths=replace(views.depths, intrinsics=views.intrinsics + np.float32(0.5)))
    for wrong in (flipped, mirrored, shifted):
        with pytest.raises(AssertionError):
            scene.assert_true(wrong)


def test_all_pairs_of_a_small_scene_within_120_degrees_are_compared(load, tmp_path):
    taken = scene.shots(azimuths=(0, 50, 100, 170))
    views = load(scene.write_open3d(tmp_path / "set", taken))
    assert views.pairs.tolist() == [[0, 1], [0, 2], [1, 2], [1, 3], [2, 3]]
    angles = relative_angle(views.poses[views.pairs[:, 0]], views.poses[views.pairs[:, 1]])
    assert angles.max() < 120


def test_listed_pairs_are_kept_as_they_are_and_other_views_left_out(load, tmp_path, taken):
    views = load(scene.write_scannet(tmp_path / "set", taken, pairs=[(3, 0), (0, 1)]))
    assert [views.images.samples[i] for i in views.pairs[0]] == [
        "scene0707_01/color/45.jpg",
        "scene0707_01/color/0.jpg",
    ]
    assert sorted(views.images.samples) == [f"scene0707_01/color/{frame}.jpg" for frame in (0, 15, 45)]
    scene.assert_true(views, 0.002, 4)


def test_scannets_pictures_are_brought_to_the_size_of_their_depth(load, tmp_path, taken):
    from pytest_clip_robust.datasets.images.decoding import decode

    views = load(scene.write_scannet(tmp_path / "set", taken))
    assert decode(views.images.read(0)).size == (scene.WIDTH, scene.HEIGHT)


def test_transparent_pictures_lie_on_white(load, tmp_path, centred):
    from pytest_clip_robust.datasets.images.decoding import decode

    views = load(scene.write_blender(tmp_path, centred))
    assert decode(views.images.read(0)).getpixel((0, 0)) == (255, 255, 255)


def test_a_folder_of_several_blender_scenes_is_one_set(load, tmp_path, centred):
    for name in ("ball", "other"):
        scene.write_blender(tmp_path / name, centred[:3], name="transforms_test.json")
    views = load(tmp_path)
    assert views.scenes == ["ball"] * 3 + ["other"] * 3
    assert all(views.scenes[i] == views.scenes[j] for i, j in views.pairs)


def test_pictures_may_lie_beside_their_scene(load, tmp_path, centred):
    scene.write_blender(tmp_path / "lego", centred)
    (tmp_path / "lego" / "test").rename(tmp_path / "test")
    path = tmp_path / "lego" / "transforms.json"
    path.write_text(path.read_text().replace("./test", "../test"))
    scene.assert_true(load(tmp_path / "lego"), *TOLERANCES["blender"])


def test_a_split_is_chosen_by_name(load, tmp_path, centred):
    scene.write_blender(tmp_path, centred, name="transforms_train.json")
    scene.write_blender(tmp_path, centred[:2], name="transforms_test.json")
    assert len(load(tmp_path).images) == 2
    assert len(load(f"{tmp_path}?split=train").images) == 5


def test_navis_wild_pictures_are_compared_unless_another_split_is_named(load, tmp_path, centred):
    scene.write_navi(tmp_path, centred[:2])
    scene.write_navi(tmp_path, centred[:3], scene="multiview_00_pixel_5")
    scene.write_navi(tmp_path, centred[2:], scene="multiview_01_pixel_5")
    assert load(tmp_path).scenes == ["teapot/wild_set"] * 2
    views = load(f"{tmp_path}?split=multiview")
    assert views.scenes == ["teapot/multiview_00_pixel_5"] * 3 + ["teapot/multiview_01_pixel_5"] * 3


@pytest.mark.parametrize("folder", ["", "images/"])
def test_navis_own_listings_of_pairs_are_followed(load, tmp_path, centred, folder):
    scene.write_navi(tmp_path, centred)
    scene.write_navi(tmp_path, centred[:3], scene="multiview_00_pixel_5")
    places = ("teapot/wild_set", 4, 0), ("teapot/multiview_00_pixel_5", 2, 1)
    lines = [f"{where}/{folder}{i:03d}.jpg {where}/{folder}{j:03d}.jpg 55.2" for where, i, j in places]
    (tmp_path / "pairs.txt").write_text("\n".join(lines))
    views = load(f"{tmp_path}?table=pairs.txt&format=navi")
    named = [[views.images.samples[view] for view in pair] for pair in views.pairs]
    assert named == [[f"{where}/images/{i:03d}.jpg", f"{where}/images/{j:03d}.jpg"] for where, i, j in places]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "teapot/wild_set/000.jpg teapot/wild_set/009.jpg 5",
            "pairs.txt, line 1: no scene has teapot/wild_set/009.jpg",
        ),
        ("teapot/wild_set/000.jpg", "pairs.txt, line 1: expected two images"),
        ("", "pairs.txt lists no pair"),
    ],
)
def test_a_wrong_listing_of_navis_pairs_is_refused(load, tmp_path, centred, line, message):
    scene.write_navi(tmp_path, centred[:2])
    (tmp_path / "pairs.txt").write_text(line)
    with pytest.raises(DataError, match=message):
        load(f"{tmp_path}?table=pairs.txt&format=navi")


def test_navis_objects_are_looked_at_in_a_square(load, tmp_path, centred):
    views = load(scene.write_navi(tmp_path, centred))
    for view, (left, top, right, bottom) in enumerate(views.boxes):
        known = depth_in_metres(views, view) > 0
        assert known.sum() == known[top:bottom, left:right].sum()
        assert right - left == bottom - top == max(np.ptp(side) + 1 for side in np.nonzero(known))


def test_smaller_copies_of_navis_pictures_are_read_in_their_place(load, tmp_path, centred):
    scene.write_navi(tmp_path, centred)
    large = [scene.shoot(shot.pose, np.diag([2.0, 2, 1]) @ shot.camera, (96, 72)) for shot in centred]
    smaller = tmp_path / "other"
    scene.write_navi(smaller, large)
    for path in smaller.rglob("*.*g"):
        path.rename(tmp_path / path.relative_to(smaller).with_name(f"downsampled_{path.name}"))
    views = load(f"{tmp_path}?format=navi")
    assert "downsampled" in views.images.samples[0]
    assert views.intrinsics[0, 0, 0] == 120
    scene.assert_true(views, *TOLERANCES["navi"])


def test_without_a_camera_file_open3d_takes_its_usual_sensor(load, tmp_path):
    camera = np.array([[525.0, 0, 320], [0, 525, 240], [0, 0, 1]])
    taken = [scene.shoot(scene.camera_at(a), camera, (640, 480)) for a in (0, 30)]
    scene.write_open3d(tmp_path, taken)
    (tmp_path / "camera.json").unlink()
    scene.assert_true(load(tmp_path))


def test_a_trajectory_may_leave_frames_out_and_have_its_own_order(load, tmp_path, taken):
    scene.write_open3d(tmp_path, taken)
    lines = (tmp_path / "trajectory.log").read_text().splitlines()
    entries = [lines[i : i + 5] for i in range(0, len(lines), 5)]
    (tmp_path / "trajectory.log").write_text("\n".join(line for i in (4, 0, 2) for line in entries[i]))
    views = load(tmp_path)
    assert views.images.samples == ["color/4.png", "color/0.png", "color/2.png"]
    scene.assert_true(views)


def test_frames_go_by_number_and_not_by_letter(load, tmp_path):
    scene.write_open3d(tmp_path, [scene.shoot(scene.camera_at(3.0 * i)) for i in range(11)])
    assert load(tmp_path).images.samples[2] == "color/2.png"
    scene.assert_true(load(tmp_path))


def test_the_fingerprint_knows_pictures_depth_poses_cameras_and_pairs(load, tmp_path, taken):
    def fingerprint(name, shots, **changed):
        return load(scene.write_table(tmp_path / f"{name}.parquet", shots, **changed)).fingerprint

    first = fingerprint("first", taken)
    assert fingerprint("again", taken) == first
    others = {
        fingerprint("picture", [replace(taken[0], rgb=taken[0].rgb ^ 1), *taken[1:]]),
        fingerprint("depth", [replace(taken[0], depth=taken[0].depth * 1.01), *taken[1:]]),
        fingerprint("pose", [replace(taken[0], pose=scene.camera_at(1)), *taken[1:]]),
        fingerprint("camera", [replace(taken[0], camera=taken[0].camera + np.diag([1, 0, 0])), *taken[1:]]),
        fingerprint("pairs", taken, scene=[0, 0, 0, 1, 1]),
        fingerprint("fewer", taken[:4]),
    }
    assert len(others | {first}) == 7


def test_the_last_bits_of_a_pose_are_not_in_the_fingerprint(load, tmp_path, taken):
    paths = [tmp_path / f"{i}.parquet" for i in (0, 1)]
    poses = [np.linalg.inv(shot.pose) for shot in taken]
    for path, noise in zip(paths, (0, 1e-13), strict=True):
        scene.write_table(path, taken, pose=[(pose + noise * np.eye(4, k=1)).ravel().tolist() for pose in poses])
    assert load(paths[0]).fingerprint == load(paths[1]).fingerprint


def test_the_cache_changes_nothing(load, tmp_path, taken):
    path = scene.write_table(tmp_path / "views.parquet", taken)
    assert load(path).fingerprint == load(path).fingerprint == load(path, cache_dir=None).fingerprint


# ------------------------------------------------------------------ depth


def table_of(tmp_path, taken, depth):
    return scene.write_table(
        tmp_path / "views.parquet",
        taken,
        depth=[
            {"bytes": npy(depth if i == 0 else shot.depth * 1000), "path": f"{i}.npy"} for i, shot in enumerate(taken)
        ],
    )


def npy(array):
    import io

    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_holes_negative_numbers_and_infinities_are_unknown(load, tmp_path, taken):
    depth = taken[0].depth * 1000
    for column, value in enumerate((0, -1, np.nan, np.inf, -np.inf)):
        depth[18, 24 + column] = value
    read = depth_in_metres(load(table_of(tmp_path, taken, depth)), 0)
    assert read.dtype == np.float32
    assert not read[18, 24:29].any()
    assert read[18, 23] == pytest.approx(taken[0].depth[18, 23])


def test_depth_of_which_nothing_is_known_is_an_error(load, tmp_path, taken):
    views = load(table_of(tmp_path, taken, np.zeros((scene.HEIGHT, scene.WIDTH))))
    with pytest.raises(DataError, match=r"data set 'ball': view 'row 0: 0.png': its depth map has no positive value"):
        depth_in_metres(views, 0)


def test_depth_that_is_no_map_is_an_error(load, tmp_path, taken):
    path = scene.write_table(
        tmp_path / "views.parquet",
        taken,
        depth=[{"bytes": scene.png(shot.rgb), "path": f"{i}.png"} for i, shot in enumerate(taken)],
    )
    with pytest.raises(DataError, match=r"view 'row 1: 1.png': its depth map is an image of mode RGB"):
        depth_in_metres(load(path), 1)


# ------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"pose": None},
            "no column 'pose'; it has image, depth, label, scene, intrinsics; posed views need image, depth,",
        ),
        ({"depth": None}, "no column 'depth'"),
        ({"scene": None}, "no column 'scene'"),
        ({"intrinsics": None}, "no column 'intrinsics'"),
        ({"pose": [[1.0] * 16, None, None, None, None]}, "view 'row 1: 1.png' has no pose"),
        ({"pose": [[1.0] * 12] * 5}, "view 'row 0: 0.png': pose .* expected a 4 x 4 matrix"),
        (
            {"pose": [np.diag([1.0, 1, -1, 1]).ravel().tolist()] * 5},
            r"pose of view 'row 0: 0.png' is not a rotation \(determ",
        ),
        ({"pose": [np.diag([2.0, 2, 2, 1]).ravel().tolist()] * 5}, "is not a rotation .its axes are 3 off orthonormal"),
        ({"pose": [(np.eye(4) * np.nan).ravel().tolist()] * 5}, "pose of view 'row 0: 0.png' is not finite"),
        (
            {"intrinsics": [[600.0, 0, 260, 0, 600, 170, 0, 0, 1]] * 5},
            r"view 'row 0: 0.png': intrinsics with principal point \(260, 170\) and skew 0 do not match an image of",
        ),
        ({"intrinsics": [[-60.0, 0, 24, 0, 60, 18, 0, 0, 1]] * 5}, "expected .* in pixels with fx, fy above 0"),
        ({"scene": [0, 1, None, 3, 4]}, "row 2 has no 'scene'"),
        ({"scene": [0, 1, 2, 3, 4]}, "no scene has two views within 120 degrees of each other"),
    ],
)
def test_a_wrong_table_is_refused_in_one_line(load, tmp_path, taken, changed, message):
    path = scene.write_table(tmp_path / "views.parquet", taken, **changed)
    with pytest.raises(DataError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith("data set 'ball': ")
    assert "\n" not in str(caught.value)


def test_depth_of_another_size_is_refused(load, tmp_path, taken):
    small = [{"bytes": scene.png(scene.millimetres(shot.depth[::2, ::2])), "path": "d.png"} for shot in taken]
    path = scene.write_table(tmp_path / "views.parquet", taken, depth=small)
    with pytest.raises(DataError, match=r"view 'row 0: 0.png': its depth map has 24x18 pixels and its image 48x36"):
        load(path)


def test_depth_of_another_shape_than_scannets_pictures_is_refused(load, tmp_path, taken):
    scene.write_scannet(tmp_path, taken)
    scene.save(np.zeros((36, 36), np.uint16), tmp_path / "scene0707_01" / "depth" / "45.png")
    with pytest.raises(DataError, match=r"color/45.jpg': its depth map has 36x36 pixels and its image 96x72, which"):
        load(tmp_path)


def test_a_border_cannot_be_cut(load, tmp_path, taken):
    with pytest.raises(DataError, match="crop_border=2 cannot be used with posed views"):
        load(f"{scene.write_table(tmp_path / 'views.parquet', taken)}?crop_border=2")


def rewrite(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def break_json(path):
    path.write_text("{broken")


@pytest.mark.parametrize(
    ("layout", "damage", "message"),
    [
        ("blender", lambda root: break_json(root / "transforms.json"), "transforms.json: .*; expected JSON"),
        ("blender", lambda root: (root / "transforms.json").write_text("[]"), "holds a list; expected an object"),
        ("blender", lambda root: (root / "test/r_2.png").unlink(), "frame 2: no file .*r_2.png"),
        ("blender", lambda root: (root / "test/r_2_depth_0001.png").unlink(), "no depth map r_2_depth_0001.png in"),
        (
            "blender",
            lambda root: rewrite(root / "transforms.json", lambda c: c["frames"][1].pop("transform_matrix")),
            "transforms.json, frame 1 has no pose",
        ),
        (
            "blender",
            lambda root: rewrite(root / "transforms.json", lambda c: c.update(camera_angle_x=40)),
            "camera_angle_x=40; expected radians between 0 and pi",
        ),
        (
            "blender",
            lambda root: rewrite(root / "transforms.json", lambda c: c["frames"].clear()),
            "no frames are listed",
        ),
        ("open3d", lambda root: (root / "depth/2.png").unlink(), "5 images and 4 depth maps; expected the same number"),
        ("open3d", lambda root: (root / "trajectory.log").write_text(""), "trajectory.log has no pose"),
        (
            "open3d",
            lambda root: (root / "trajectory.log").write_text("0 0 1\n1 0 0 0\n"),
            "entry 0: expected a line of",
        ),
        (
            "open3d",
            lambda root: (root / "trajectory.log").write_text("9 9 9\n1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n"),
            "has frame 9, but there are 5 images",
        ),
        (
            "open3d",
            lambda root: (root / "trajectory.log").write_text("0 0 0\n1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n" * 2),
            "lists frame 0 twice",
        ),
        (
            "open3d",
            lambda root: rewrite(root / "camera.json", lambda c: c.update(intrinsic_matrix=[1])),
            "does not have nine numbers",
        ),
        ("scannet-pairs", lambda root: (root / "scene0707_01/color/15.jpg").unlink(), "no file .*color/15.jpg"),
        ("scannet-pairs", lambda root: (root / "scene0707_01/pose/15.txt").unlink(), "no file .*pose/15.txt"),
        ("scannet-pairs", lambda root: (root / "scene0707_01/pose/15.txt").write_text(""), "pose/15.txt has no pose"),
        (
            "scannet-pairs",
            lambda root: (root / "scene0707_01/pose/15.txt").write_text("-inf " * 12 + "0 0 0 1"),
            "pose of view 'scene0707_01/color/15.jpg' is not finite",
        ),
        (
            "scannet-pairs",
            lambda root: (root / "test.npz").write_bytes(b"PK"),
            "test.npz is not an .npz file of plain arrays",
        ),
        ("scannet-pairs", lambda root: np.savez(root / "test.npz", name=np.zeros((0, 4))), "expected an array 'name'"),
        (
            "scannet-pairs",
            lambda root: np.savez(root / "intrinsics.npz", other=np.eye(3)),
            "no camera for scene0707_01",
        ),
        (
            "navi",
            lambda root: break_json(root / "teapot/wild_set/annotations.json"),
            "annotations.json: .*expected JSON",
        ),
        ("navi", lambda root: (root / "teapot/wild_set/depth/003.png").unlink(), "entry 3: no file .*depth/003.png"),
        (
            "navi",
            lambda root: rewrite(root / "teapot/wild_set/annotations.json", lambda c: c[2]["camera"].pop("q")),
            "entry 2 has no pose; expected camera with q and t",
        ),
        (
            "navi",
            lambda root: rewrite(root / "teapot/wild_set/annotations.json", lambda c: c[2]["camera"].update(q=[0] * 4)),
            "entry 2: quaternion .* expected four numbers that are not all 0",
        ),
        (
            "navi",
            lambda root: rewrite(
                root / "teapot/wild_set/annotations.json", lambda c: c[1].update(image_size=[480, 360])
            ),
            "view 'teapot/wild_set/images/001.jpg': its image has 48x36 pixels and its camera 360x480",
        ),
        (
            "navi",
            lambda root: (root / "teapot/wild_set/images/001.jpg").write_bytes(b"no picture"),
            "images/001.jpg': it cannot be decoded",
        ),
        (
            "navi",
            lambda root: scene.save(np.zeros((36, 48), np.uint16), root / "teapot/wild_set/depth/001.png"),
            "images/001.jpg': its depth map has no positive value",
        ),
    ],
)
def test_a_damaged_layout_is_refused_in_one_line(load, tmp_path, taken, centred, layout, damage, message):
    root = written(layout, tmp_path / "set", taken, centred)
    damage(root)
    with pytest.raises(DataError, match=message) as caught:
        load(root)
    assert str(caught.value).startswith("data set 'ball': ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("layout", "split", "message"),
    [
        ("blender", "train", "no split 'train'; .* has no splits"),
        ("navi", "wlid", r"no split 'wlid' .did you mean 'wild'\?.; .* has wild; add \?split=NAME"),
        ("scannet-pairs", "val", "no split 'val'; .* has test"),
    ],
)
def test_a_split_that_is_not_there_is_refused(load, tmp_path, taken, centred, layout, split, message):
    root = written(layout, tmp_path / "set", taken, centred)
    with pytest.raises(DataError, match=message):
        load(f"{root}?split={split}")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            "{root}",
            r"has no posed views in a known layout \(blender, navi, open3d, scannet-pairs\), and no .parq",
        ),
        ("{root}?format=navi", "no OBJECT/SCENE/annotations.json in"),
        ("{root}?format=open3d", "has color, image, rgb with depth and trajectory.log"),
        ("{root}?format=blender", "no transforms.json in"),
        ("{root}?format=scannet-pairs", "no file .*intrinsics.npz"),
        ("{root}/nowhere?format=navi", "no folder .*nowhere"),
        ("{root}/nowhere", "no file or folder .*nowhere"),
        ("{root}?format=spair", "format 'spair' is only read as keypoints; add .role=keypoints"),
    ],
)
def test_a_place_without_views_is_refused(load, tmp_path, option, message):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=message):
        load(option.format(root=tmp_path / "empty"))


def test_a_set_without_a_location_is_refused():
    with pytest.raises(DataError, match="data set 'navi' has no location; give one with --clip-data navi=/path"):
        load_view_set(DataEntry(name="navi"))


def test_a_layout_of_views_is_no_set_of_classes(tmp_path):
    from pytest_clip_robust.datasets.images.loading import load_image_set

    with pytest.raises(DataError, match=r"format 'navi' is only read as views; add \?role=views"):
        load_image_set(parse_data_option(f"ball={tmp_path}?format=navi"))


def test_names_of_scenes_and_files_cannot_drive_a_terminal(load, tmp_path, taken):
    hostile = "a\x1b[31m<b>"
    path = scene.write_table(tmp_path / "views.parquet", taken, label=[hostile] * 5)
    assert load(path).scenes[0] == "a\\x1b[31m<b> 0"


# ------------------------------------------------------------------ nothing is silently left out or taken twice


@pytest.mark.parametrize("layout", WRITERS)
def test_files_of_tools_are_not_read(load, tmp_path, taken, centred, layout):
    root = written(layout, tmp_path / "set", taken, centred)
    before = load(root)
    for path in [path for path in root.rglob("*") if path.is_file()]:
        path.with_name(f"._{path.name}").write_bytes(b"x")
    for folder in (root / ".ipynb_checkpoints", root / "__MACOSX"):
        written(layout, folder, taken, centred)
    assert load(root).fingerprint == before.fingerprint


def test_two_depth_maps_of_one_picture_are_refused(load, tmp_path, centred):
    root = scene.write_blender(tmp_path / "set", centred)
    (root / "test" / "r_0_depth_0002.png").write_bytes((root / "test" / "r_0_depth_0001.png").read_bytes())
    with pytest.raises(DataError, match=r"two depth maps of one picture, r_0_depth_0001\.png and r_0_depth_0002\.png"):
        load(root)


def test_two_cameras_of_one_sequence_are_refused(load, tmp_path, taken):
    root = scene.write_open3d(tmp_path / "set", taken)
    content = json.loads((root / "camera.json").read_text())
    (root / "intrinsics.json").write_text(json.dumps(content))
    assert len(load(root).images) == 5
    content["intrinsic_matrix"][0] += 5
    (root / "intrinsics.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"camera\.json and .*intrinsics\.json have different cameras; remove one"):
        load(root)


def test_a_sequence_without_a_trajectory_is_not_left_out(load, tmp_path, taken):
    for name in ("a", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
        scene.write_open3d(tmp_path / "set" / name, taken)
    assert len(load(tmp_path / "set").images) == 10
    (tmp_path / "set" / "b" / "trajectory.log").unlink()
    with pytest.raises(DataError, match=r"/b has images and depth maps and no trajectory\.log: add it, or remove them"):
        load(tmp_path / "set")


def test_open3d_has_no_splits_but_folders(load, tmp_path, taken):
    (tmp_path / "set" / "val").mkdir(parents=True)
    scene.write_open3d(tmp_path / "set" / "val", taken)
    assert len(load(f"{tmp_path}/set?split=val&format=open3d").images) == 5
    with pytest.raises(DataError, match=r"no split 'test': .* has no such folder"):
        load(f"{tmp_path}/set?split=test&format=open3d")


def test_navi_leaves_out_and_repeats_nothing(load, tmp_path, centred):
    root = scene.write_navi(tmp_path / "set", centred)
    with pytest.raises(DataError, match=r"give split=wild or table=pairs\.txt, not both"):
        load(f"{root}?split=wild&table=pairs.txt")
    path = root / "teapot" / "wild_set" / "annotations.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps([*content, content[0]]))
    with pytest.raises(DataError, match=r"entry 5: 000\.jpg is listed twice; remove one"):
        load(root)
    path.write_text(json.dumps(content))
    (root / "cup" / "wild_set" / "images").mkdir(parents=True)
    with pytest.raises(DataError, match=r"cup/wild_set has images and no annotations\.json: add it, or remove them"):
        load(root)


def test_a_table_of_views_has_splits(load, tmp_path, taken):
    path = scene.write_table(tmp_path / "views.parquet", taken, split=["test", "train", "test", "test", "train"])
    views = load(path)
    assert len(views.images) == 3
    scene.assert_true(views)
    assert "reads the split 'test' of test, train" in views.remarks[0]
    with pytest.raises(DataError, match=r"no split 'val'; .* has test, train"):
        load(f"{path}?split=val")


def test_views_have_no_classes_to_leave_out(load, tmp_path, taken):
    with pytest.raises(DataError, match=r"exclude=\['ball'\] leaves out classes, but posed views have none"):
        load(f"{scene.write_table(tmp_path / 'views.parquet', taken)}?exclude=ball")
