from __future__ import annotations

import json

import numpy as np
import posed_scene as scene
import pytest
from PIL import Image

from pytest_clip_robust.datasets.correspondence.keypoints import load_keypoint_set
from pytest_clip_robust.datasets.entry import DataEntry, parse_data_option
from pytest_clip_robust.errors import DataError


@pytest.fixture
def load(tmp_path):
    def read(option, **keywords):
        return load_keypoint_set(parse_data_option(f"parts={option}"), **{"cache_dir": tmp_path / "cache"} | keywords)

    return read


def picture(seed, size=(30, 40)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def write_table(path, **changed):
    """Three chairs, one of them seen twice, and two cups; keypoints are named, and in another order for one chair."""
    import datasets

    columns = {
        "image": [{"bytes": scene.png(picture(i)), "path": f"{i}.png"} for i in range(6)],
        "label": ["chair", "chair", "chair", "cup", "cup", "chair"],
        "instance": ["a", "b", "b", "c", "d", "e"],
        "names": [["seat", "leg"]] * 3 + [["rim", "foot"]] * 2 + [["leg", "seat"]],
        "x": [[1.0, 11]] * 3 + [[2.0, 12]] * 2 + [[13.0, 3]],
        "y": [[4.0, 24]] * 3 + [[5.0, 25]] * 2 + [[26.0, 6]],
        "visible": [[True, True], [True, False], [True, True], [True, True], [True, True], [True, True]],
    }
    columns = {name: column for name, column in (columns | changed).items() if column is not None}
    found = datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image(decode=False))
    found.to_parquet(path)
    return path


SPAIR = {
    ("cat", "2007_01"): {"kps": {"0": [3, 4], "1": None, "2": [20, 9]}, "bndbox": [2, 3, 30, 25]},
    ("cat", "2007_02"): {"kps": {"0": [7, 8], "1": [9, 9], "2": [21, 10]}, "bndbox": [5, 5, 35, 28]},
    ("cat", "2007_03"): {"kps": {"0": None, "1": [1, 2], "2": [22, 11]}, "bndbox": [0, 0, 39, 29]},
    ("dog", "2007_03"): {"kps": {"0": [4, 4], "1": [6, 6]}, "bndbox": [1, 1, 20, 20]},
    ("dog", "2007_04"): {"kps": {"0": [5, 5], "1": None}, "bndbox": [1, 1, 21, 20]},
}
PAIRS = {
    "test": [("cat", "2007_01", "2007_02", 0), ("cat", "2007_02", "2007_03", 2), ("dog", "2007_04", "2007_03", 1)],
    "val": [("cat", "2007_03", "2007_01", 1)],
}


def write_spair(root, *, layout=()):
    for i, ((label, name), annotation) in enumerate(SPAIR.items()):
        for folder, file in (("JPEGImages", f"{name}.jpg"), ("ImageAnnotation", f"{name}.json")):
            path = root / folder / label / file
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".jpg":
                Image.fromarray(picture(i)).save(path)
            else:
                path.write_text(json.dumps(annotation))
    for split, pairs in PAIRS.items():
        folder = root / "PairAnnotation" / split
        folder.mkdir(parents=True)
        for number, (label, source, target, change) in enumerate(pairs, start=1):
            pair = {"src_imname": f"{source}.jpg", "trg_imname": f"{target}.jpg", "category": label}
            pair |= {"viewpoint_variation": change}
            (folder / f"{number:06d}-{source}-{target}:{label}.json").write_text(json.dumps(pair))
    if layout:
        listing = root / "Layout" / "large" / "test.txt"
        listing.parent.mkdir(parents=True)
        listing.write_text("\n".join(layout) + "\n")
    return root


# ------------------------------------------------------------------ tables


def test_different_objects_of_a_class_are_compared(load, tmp_path):
    found = load(write_table(tmp_path / "k.parquet"))
    assert found.images.class_names == ("chair", "cup")
    assert found.images.labels.tolist() == [0, 0, 0, 1, 1, 0]
    assert found.pairs.tolist() == [[0, 1], [0, 2], [0, 5], [1, 5], [2, 5], [3, 4]]
    assert found.viewpoints.tolist() == [-1] * 6
    assert found.name == "parts"


def test_a_keypoint_has_the_same_place_in_all_pictures_of_its_class_whatever_their_order(load, tmp_path):
    found = load(write_table(tmp_path / "k.parquet"))
    assert found.points.dtype == np.float32
    assert found.points[0].tolist() == [[1, 4], [11, 24]]
    assert found.points[5].tolist() == [[3, 6], [13, 26]]


def test_a_keypoint_that_is_not_seen_has_no_place_but_counts_for_the_box(load, tmp_path):
    found = load(write_table(tmp_path / "k.parquet"))
    assert np.isnan(found.points[1, 1]).all()
    assert found.boxes[1].tolist() == [1, 4, 11, 24]


def test_without_instances_every_picture_is_an_object_of_its_own(load, tmp_path):
    found = load(write_table(tmp_path / "k.parquet", instance=None))
    assert [1, 2] in found.pairs.tolist()


def test_the_fingerprint_knows_pictures_points_classes_and_pairs(load, tmp_path):
    def fingerprint(name, **changed):
        return load(write_table(tmp_path / f"{name}.parquet", **changed)).fingerprint

    first = fingerprint("first")
    assert fingerprint("again") == first
    others = {
        fingerprint("picture", image=[{"bytes": scene.png(picture(i + 9)), "path": f"{i}.png"} for i in range(6)]),
        fingerprint("point", x=[[1.5, 11]] + [[1.0, 11]] * 2 + [[2.0, 12]] * 2 + [[13.0, 3]]),
        fingerprint("class", label=["stool" if i in {0, 1, 2, 5} else "cup" for i in range(6)]),
        fingerprint("pairs", instance=list("abcdef")),
    }
    assert len(others | {first}) == 5


# ------------------------------------------------------------------ SPair-71k


def test_spairs_test_pairs_are_read_with_points_boxes_and_viewpoints(load, tmp_path):
    found = load(write_spair(tmp_path / "spair"))
    assert found.images.samples == [
        "cat/2007_01.jpg",
        "cat/2007_02.jpg",
        "cat/2007_03.jpg",
        "dog/2007_04.jpg",
        "dog/2007_03.jpg",
    ]
    assert found.pairs.tolist() == [[0, 1], [1, 2], [3, 4]]
    assert found.viewpoints.tolist() == [0, 2, 1]
    assert found.images.class_names == ("cat", "dog")
    assert found.boxes[2].tolist() == [0, 0, 39, 29]
    shared = [sorted(map(tuple, found.points[i][~np.isnan(found.points[i, :, 0])].tolist())) for i in range(3)]
    assert shared == [[(3, 4), (20, 9)], [(7, 8), (9, 9), (21, 10)], [(1, 2), (22, 11)]]
    both = ~np.isnan(found.points[[1, 2]]).any(axis=(0, 2))
    assert sorted(map(tuple, found.points[1][both].tolist())) == [(9, 9), (21, 10)]
    assert sorted(map(tuple, found.points[2][both].tolist())) == [(1, 2), (22, 11)]


def test_another_split_of_spair_is_read_by_name(load, tmp_path):
    found = load(f"{write_spair(tmp_path / 'spair')}?split=val")
    assert found.images.samples == ["cat/2007_03.jpg", "cat/2007_01.jpg"]


def test_spairs_listing_says_which_pairs_there_are(load, tmp_path):
    listed = ["000003-2007_04-2007_03:dog", "000001-2007_01-2007_02:cat"]
    found = load(write_spair(tmp_path / "spair", layout=listed))
    assert found.viewpoints.tolist() == [1, 0]
    assert found.images.samples[:2] == ["dog/2007_04.jpg", "dog/2007_03.jpg"]


# ------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"names": None}, "no column 'names'; it has .*; keypoints need image, label, names, x, y and visible"),
        ({"visible": None}, "no column 'visible'"),
        ({"label": ["cup"] * 5 + [None]}, "row 5 has no 'label'"),
        ({"instance": ["a"] * 5 + [None]}, "row 5 has no 'instance'"),
        (
            {"x": [[1.0]] * 6},
            "image 'row 0: 0.png': 2, 1, 2, 2 entries in names, x, y and visible; expected the same number",
        ),
        ({"names": [["leg", "leg"]] * 6}, "image 'row 0: 0.png': two keypoints have the same name"),
        (
            {"x": [[1.0, 300]] * 6},
            r"image 'row 0: 0.png': keypoint 'leg' at \(300, 24\) is outside its 40x30 pixels",
        ),
        ({"y": [[-9.0, 24]] * 6}, r"keypoint 'seat' at \(1, -9\) is outside its 40x30 pixels"),
        ({"x": [[1.0, None]] * 6}, "image 'row 0: 0.png': keypoint 'leg' has no position: x=None, y=24"),
        ({"x": [[float("nan"), 1.0]] * 6}, "image 'row 0: 0.png': keypoint 'seat' has no position: x=nan, y=4"),
        ({"x": [[1.0, 1.0]] * 6}, r"image 'row 0: 0.png': box \(1, 4, 1, 24\); expected left < right and top < bottom"),
        (
            {"label": ["chair"] * 5 + ["stool"]},
            "class 'stool' has no two images of different objects with a keypoint in common: add some, or leave",
        ),
        ({"instance": ["a"] * 6}, "class 'chair' has no two images of different objects"),
        ({"visible": [[False, False]] * 6}, "no image has a visible keypoint"),
    ],
)
def test_a_wrong_table_is_refused_in_one_line(load, tmp_path, changed, message):
    with pytest.raises(DataError, match=message) as caught:
        load(write_table(tmp_path / "k.parquet", **changed))
    assert str(caught.value).startswith("data set 'parts': ")
    assert "\n" not in str(caught.value)


def test_a_keypoint_a_hairs_breadth_beyond_the_border_is_taken_as_it_is(load, tmp_path):
    found = load(write_table(tmp_path / "k.parquet", x=[[1.0, 40.5]] * 6))
    assert found.points[0, 1, 0] == 40.5


def rewrite(path, **changed):
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: (root / "JPEGImages/cat/2007_02.jpg").unlink(), "no file .*JPEGImages/cat/2007_02.jpg"),
        (
            lambda root: (root / "ImageAnnotation/cat/2007_02.json").unlink(),
            "no file .*ImageAnnotation/cat/2007_02.json",
        ),
        (lambda root: (root / "ImageAnnotation/cat/2007_02.json").write_text("{"), "2007_02.json: .*; expected JSON"),
        (
            lambda root: rewrite(root / "ImageAnnotation/cat/2007_02.json", kps={"0": [1]}),
            r"2007_02.json: \[1\] is not a list of 2 numbers; expected kps of \[x, y\] and a bndbox",
        ),
        (
            lambda root: rewrite(root / "ImageAnnotation/cat/2007_02.json", bndbox=None),
            "None is not a list of 4 numbers",
        ),
        (
            lambda root: rewrite(root / "ImageAnnotation/cat/2007_02.json", kps={"0": [100, 4]}),
            r"image 'cat/2007_02.jpg': keypoint '0' at \(100, 4\) is outside its 40x30 pixels",
        ),
        (
            lambda root: rewrite(root / "PairAnnotation/test/000001-2007_01-2007_02:cat.json", viewpoint_variation=7),
            "viewpoint_variation=7; expected 0, 1 or 2",
        ),
        (
            lambda root: rewrite(root / "PairAnnotation/test/000001-2007_01-2007_02:cat.json", src_imname="../../etc"),
            "category, src_imname and trg_imname are .*; expected three names",
        ),
        (
            lambda root: [path.unlink() for path in (root / "PairAnnotation/test").iterdir()],
            "no pairs in .*PairAnnotation/test",
        ),
        (
            lambda root: (root / "JPEGImages/cat/2007_02.jpg").write_bytes(b"no picture"),
            "image 'cat/2007_02.jpg': it cannot be decoded",
        ),
    ],
)
def test_a_damaged_spair_is_refused_in_one_line(load, tmp_path, damage, message):
    root = write_spair(tmp_path / "spair")
    damage(root)
    with pytest.raises(DataError, match=message) as caught:
        load(root)
    assert str(caught.value).startswith("data set 'parts': ")
    assert "\n" not in str(caught.value)


def test_a_listed_pair_without_its_file_is_refused(load, tmp_path):
    root = write_spair(tmp_path / "spair", layout=["000009-a-b:cat"])
    with pytest.raises(DataError, match=r"Layout/large/test.txt: no file .*000009-a-b:cat.json"):
        load(root)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("{spair}?split=tset", r"no split 'tset' \(did you mean 'test'\?\); .* has test, val; add \?split=NAME"),
        ("{spair}?crop_border=1", "crop_border=1 cannot be used with keypoints"),
        ("{empty}", r"has no keypoints in a known layout \(spair\), and no .parquet or .tar file"),
        ("{empty}?format=spair", "no folder PairAnnotation in"),
        ("{empty}?format=navi", "format 'navi' is only read as views"),
    ],
)
def test_a_place_without_the_keypoints_asked_for_is_refused(load, tmp_path, option, message):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=message):
        load(option.format(spair=write_spair(tmp_path / "spair"), empty=tmp_path / "empty"))


def test_a_set_without_a_location_is_refused():
    with pytest.raises(DataError, match="data set 'spair' has no location; give one with --clip-data spair=/path"):
        load_keypoint_set(DataEntry(name="spair"))


def test_classes_can_be_left_out(load, tmp_path):
    found = load(f"{write_spair(tmp_path / 'spair')}?exclude=cat")
    assert found.images.class_names == ("dog",)
    assert found.images.samples == ["dog/2007_04.jpg", "dog/2007_03.jpg"]
    assert (found.pairs.tolist(), found.viewpoints.tolist()) == ([[0, 1]], [1])
    with pytest.raises(DataError, match=r"exclude has 'dogs', but it has no such class \(did you mean 'dog'\?\)"):
        load(f"{tmp_path / 'spair'}?exclude=dogs")
    with pytest.raises(DataError, match="exclude leaves out all of its images"):
        load(f"{tmp_path / 'spair'}?exclude=cat,dog")


def test_files_of_tools_are_not_read(load, tmp_path):
    root = write_spair(tmp_path / "spair")
    before = load(root)
    for path in [*(root / "PairAnnotation").rglob("*.json")]:
        path.with_name(f"._{path.name}").write_bytes(b"x")
    (root / "PairAnnotation" / ".cache").mkdir()
    assert load(root).fingerprint == before.fingerprint
