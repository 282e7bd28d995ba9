"""Tests of the showroom's data as it ships."""

from __future__ import annotations

import io
import json
import shutil
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pytest_clip_robust import showroom
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.names import FACTORS

DATA = showroom.HERE / "data"
SUBSETS = sorted(json.loads((DATA / "manifest.json").read_text())["files"])
POSED = ("id", "views")


def rows(name):
    return pq.read_table(showroom.data_file(name)).to_pylist()


def picture(row, column="image"):
    return np.asarray(Image.open(io.BytesIO(row[column]["bytes"])))


def test_the_whole_data_set_is_below_15_megabytes():
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 15_000_000


@pytest.mark.parametrize("file", SUBSETS)
def test_datasets_opens_every_subset_by_path(file, tmp_path):
    import datasets

    found = datasets.load_dataset("parquet", data_files=str(DATA / file), split="train", cache_dir=str(tmp_path))
    assert len(found) > 60
    if "image" in found.features:
        assert found[0]["image"].size == (128, 128)


def test_all_classes_have_the_same_number_of_images():
    counts = Counter(row["label"] for row in rows("id"))
    assert 24 <= len(counts) <= 30
    assert len(set(counts.values())) == 1


def test_every_shift_has_the_classes_of_the_id_set():
    labels = {row["label"] for row in rows("id")}
    shifts = [name.removesuffix(".parquet") for name in SUBSETS if name.startswith("shift_")]
    assert len(shifts) >= 4
    assert all({row["label"] for row in rows(name)} == labels for name in shifts)


def test_every_factor_has_sixty_pairs_that_share_scene_and_class():
    scenes = defaultdict(dict)
    for row in rows("factors"):
        scenes[row["scene"]][row["factor"]] = row
    for found in scenes.values():
        assert set(found) == {"", *FACTORS}
        assert len({row["label"] for row in found.values()}) == 1
        for factor, row in found.items():
            assert [name for name in FACTORS if row[name]] == ([factor] if factor else [])
    assert len(scenes) >= 60


def test_a_changed_picture_differs_from_its_base_only_where_expected():
    scenes = defaultdict(dict)
    for row in rows("factors"):
        scenes[row["scene"]][row["factor"]] = picture(row).astype(np.int16)

    def changed(factor):
        differences = [np.abs(found[factor] - found[""]).max(axis=2) > 40 for found in scenes.values()]
        return np.array([difference.mean() for difference in differences])

    for factor in FACTORS:
        assert np.median(changed(factor)) > 0.01, factor
    # A new colour does not change the room, a new room changes most of the picture.
    assert np.median(changed("color")) < 0.4 < np.median(changed("background")) + 0.2
    dark, base, bright = (
        np.median([found[factor].mean() for found in scenes.values()]) for factor in ("darker", "", "brighter")
    )
    assert dark < 0.6 * base < base < bright


def test_cue_conflicts_are_balanced_both_ways():
    pairs = Counter((row["shape"], row["texture"]) for row in rows("cue_conflict"))
    assert all(shape != texture for shape, texture in pairs)
    assert len(set(pairs.values())) == 1
    assert {(texture, shape) for shape, texture in pairs} == set(pairs)


def test_ood_sets_share_no_class_with_the_id_set():
    labels = {row["label"] for row in rows("id")}
    for name in ("ood_near", "ood_far"):
        found = {row["label"] for row in rows(name)}
        assert not found & labels
        assert len(found) >= 5


@pytest.mark.parametrize("name", POSED)
def test_depth_is_metric_and_its_camera_is_upright(name):
    for row in rows(name)[::20]:
        depth = picture(row, "depth") / 1000
        assert depth.shape == (128, 128)
        assert 0 < depth.min() < depth.max() < 20 * row["metres_per_unit"]
        rotation = np.reshape(row["pose"], (4, 4))[:3, :3]
        assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-5)
        assert np.linalg.det(rotation) == pytest.approx(1, abs=1e-5)
        assert rotation[1, 1] < 0  # the image's y points down, the world's up


def test_depth_and_poses_agree_by_reprojection():
    scenes = defaultdict(list)
    for row in rows("views"):
        scenes[row["scene"]].append(row)
    assert len(scenes) >= 12
    right, wrong = [], []
    for views in scenes.values():
        views.sort(key=lambda row: row["angle"])
        assert views[-1]["angle"] - views[0]["angle"] == 120
        for first, second in pairwise(views):
            right.append(reprojected(first, second))
            wrong.append(reprojected(first, second | {"pose": first["pose"]}))
    agree, in_front = np.transpose(right)
    # Some of what one view shows is hidden in the next. A camera that did not move would be caught.
    assert agree.min() > 0.6
    assert in_front.max() < 0.02
    assert np.mean(wrong, axis=0)[1] > 10 * in_front.mean()
    assert np.mean(wrong, axis=0)[0] < agree.mean() - 0.1


def reprojected(first, second):
    """Move every pixel of one view into the other.

    Return the share that lands at the depth seen there, and the share that lands in front of it, which cannot be.
    """
    k = np.reshape(first["intrinsics"], (3, 3))
    depth, other = picture(first, "depth") / 1000, picture(second, "depth") / 1000
    row, column = np.indices(depth.shape)
    rays = np.stack([column + 0.5, row + 0.5, np.ones_like(row)], -1) @ np.linalg.inv(k).T
    points = np.concatenate([rays * depth[..., None], np.ones((*depth.shape, 1))], -1).reshape(-1, 4)
    move = np.reshape(second["pose"], (4, 4)) @ np.linalg.inv(np.reshape(first["pose"], (4, 4)))
    x, y, z = (points @ move.T)[:, :3].T
    u, v = (np.floor(k[0, 0] * x / z + k[0, 2]).astype(int), np.floor(k[1, 1] * y / z + k[1, 2]).astype(int))
    lands = (z > 0) & (u >= 1) & (u < 127) & (v >= 1) & (v < 127)
    near = [np.abs(other[v[lands] + dy, u[lands] + dx] - z[lands]) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    in_front = (
        z[lands] < np.min([other[v[lands] + dy, u[lands] + dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1)], 0) * 0.97
    )
    return (np.min(near, axis=0) < 0.03 * z[lands]).mean(), in_front.mean()


def test_captions_are_true_and_negatives_are_false():
    for row in rows("captions"):
        things = [f"{colour} {label}" for colour, label in zip(row["colours"], row["objects"], strict=True)]
        assert len(set(row["captions"])) == 5
        assert all(thing in row["true_caption"] for thing in things)
        assert row["captions"][0] == row["true_caption"]
        negatives = dict(zip(row["negative_kinds"], row["negatives"], strict=True))
        assert row["true_caption"] not in negatives.values()
        assert not set(row["negatives"]) & set(row["captions"])
        assert {"replaced object", "added object"} <= set(negatives)
        assert ("swapped relation" in negatives) == ("swapped attribute" in negatives) == (len(things) > 1)


def test_visible_keypoints_are_inside_the_picture():
    found = rows("keypoints")
    visible = np.array([flag for row in found for flag in row["visible"]])
    assert 0.2 < visible.mean() < 0.95
    for row in found:
        assert len(row["names"]) == len(row["x"]) == len(row["y"]) == 8
        shown = [(x, y) for x, y, flag in zip(row["x"], row["y"], row["visible"], strict=True) if flag]
        assert all(0 <= x < 128 and 0 <= y < 128 for x, y in shown)


def test_questions_have_one_answer_among_four_options_about_a_picture_that_exists():
    samples = {name: {row["image"]["path"] for row in rows(name)} for name in ("id", "factors")}
    truth = {row["image"]["path"]: row for row in rows("id")}
    for row in rows("questions"):
        assert row["sample"] in samples[row["source"]]
        assert len(set(row["options"])) == 4
        assert 0 <= row["answer"] < 4
        if row["source"] == "id" and row["kind"] == "object":
            assert row["options"][row["answer"]] == truth[row["sample"]]["label"]


def test_every_3d_model_is_in_the_credits():
    credits_ = (DATA / "CREDITS.md").read_text()
    shown = {row["instance"] for name in ("id", "factors", "cue_conflict", "ood_near") for row in rows(name)}
    assert [key for key in sorted(shown) if f"| {key} |" not in credits_] == []


def test_the_data_card_documents_every_column():
    card = (DATA / "README.md").read_text()
    for file in SUBSETS:
        for column in pq.read_schema(DATA / file).names:
            assert f"`{column}`" in card or column in FACTORS, (file, column)


@pytest.fixture
def copy(tmp_path, monkeypatch):
    shutil.copytree(DATA, tmp_path / "data")
    monkeypatch.setattr(showroom, "HERE", Path(tmp_path))
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "id.parquet").unlink(), r"id\.parquet cannot be read .*; install"),
        (lambda folder: (folder / "id.parquet").write_bytes(b"PAR1"), r"id\.parquet is damaged: .*; install"),
        (lambda folder: (folder / "manifest.json").unlink(), r"manifest\.json is missing or damaged; install"),
        (lambda folder: (folder / "manifest.json").write_text("{}"), r"manifest\.json is missing or damaged"),
    ],
)
def test_the_error_for_a_damaged_installation_names_the_file_and_the_fix(copy, damage, message):
    damage(copy)
    with pytest.raises(DataError, match=message):
        showroom.data_file("id")


def test_the_error_for_an_unknown_subset_suggests_a_near_name():
    with pytest.raises(DataError, match=r"no subset 'factor' \(did you mean 'factors'"):
        showroom.data_file("factor")
