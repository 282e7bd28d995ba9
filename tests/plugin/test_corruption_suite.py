"""Corruptions in the colour world: depth beside photographs, estimated depth, and sets that are corrupted already."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pytest_clip_robust.corruptions.images  # before pytester forgets imports
import pytest_clip_robust.evaluation.corruptions  # noqa: F401

SUITE = Path(__file__).resolve().parents[2] / "suites" / "test_corruption.py"
PAINT = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 210)}

PROFILE = """
[roles]
id = "photos"
corruptions = "photos"
ood = "greys"
[data.photos]
location = "photos"
depth = "depth"
[data.greys]
location = "greys"
[prompts]
templates = ["a photo of a {}."]
[corruptions]
kinds = ["fog_3d", "iso_noise"]
severities = [1, 5]
"""


def write(path, rgb, seed, size=24):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.array(rgb) + np.random.default_rng(seed).normal(0, 10, (size, size, 3))
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)


@pytest.fixture
def world(colours):
    """Photographs of colours with a sloping floor for depth, and greys."""
    folder = colours.path
    shutil.rmtree(folder / "photos")
    (folder / "test_suite.py").unlink()
    for i, (name, rgb) in enumerate(PAINT.items()):
        for j in range(4):
            write(folder / "photos" / name / f"{name}{j}.png", rgb, 10 * i + j)
            depth = np.linspace(1000 + 10 * j, 4000, 24 * 24).reshape(24, 24).astype(np.uint16)
            (folder / "depth" / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(depth).save(folder / "depth" / name / f"{name}{j}.png")
            write(folder / "greys" / "grey" / f"{i}{j}.png", (128, 128, 128), 100 + 10 * i + j)
    (folder / "p.toml").write_text(PROFILE)
    # Not under its own name, which a module of tests here has as well.
    shutil.copy(SUITE, folder / "test_corrupted.py")
    return colours


def run(world, *options, model="load"):
    found = world.runpytest(
        f"--model=py:colour_clip:{model}", "--clip-profile=p.toml", "--clip-report=report", *options
    )
    path = world.path / "report" / "report.json"
    return found, json.loads(path.read_text()) if path.is_file() else {}


def values(report):
    return {gate["measurement"]: gate["value"] for gate in report["gates"]}


def append(world, text):
    path = world.path / "p.toml"
    path.write_text(path.read_text() + text)


def test_every_kind_and_severity_is_a_test(world):
    found, report = run(world, "-rs")
    # Two kinds at two severities, six properties of each kind and of both; two suites were not asked for.
    found.assert_outcomes(passed=4 + 2 * 6 + 6, skipped=2)
    found.stdout.fnmatch_lines(["*not enabled; add 'calibration' to corruptions.also in the profile"])
    measured = values(report)
    assert measured["corruption.top1[photos/iso_noise/1]"] == 1.0
    assert 0 < measured["corruption.mean_top1[photos]"] <= 1
    assert {name.split("[")[0] for name in measured} == {
        f"corruption.{name}"
        for name in ("top1", "mean_top1", "relative_robustness", "area", "half", "flips", "mce_alexnet")
    }
    chances = {gate["metric"].removeprefix("corruption."): gate["chance"] for gate in report["gates"]}
    assert chances.pop("top1") == chances.pop("mean_top1") == chances.pop("area") == 1 / 3
    assert set(chances.values()) == {None}


def test_kinds_and_severities_can_be_selected(world):
    found, report = run(world, "-k", "test_accuracy and fog_3d and 5")
    found.assert_outcomes(passed=1, deselected=21 + 2)
    assert list(values(report)) == ["corruption.top1[photos/fog_3d/5]"]


def test_only_features_are_kept_and_only_once(world):
    _, first = run(world)
    assert first["encoded"]["images"] == 12 + 2 * 2 * 12
    _, second = run(world)
    assert second["encoded"]["images"] == 0
    assert values(second) == values(first)
    kept = [path for path in (world.path / "cache").rglob("*") if path.suffix in {".png", ".jpg", ".webp", ".npy"}]
    assert kept == []


def test_another_seed_is_another_measurement(world):
    run(world, "-k", "test_accuracy")
    append(world, "seed = 7\n")
    _, other = run(world, "-k", "test_accuracy")
    assert other["encoded"]["images"] == 2 * 2 * 12


def test_a_part_of_the_images_is_spread_over_the_classes(world):
    append(world, "images = 6\n")
    _, report = run(world, "-k", "test_all_kinds and mean_top1")
    (gate,) = report["gates"]
    assert gate["n"] == 6
    assert report["encoded"]["images"] == 6 + 2 * 2 * 6


def test_calibration_and_ood_are_measured_where_asked_for(world):
    append(world, 'also = ["calibration", "ood"]\n')
    found, report = run(world)
    found.assert_outcomes(passed=22 + 8)
    measured = values(report)
    assert 0 <= measured["corruption.ece_15_equal_width[photos/fog_3d/5]"] <= 1
    assert 0 <= measured["corruption.auroc_mcm[photos/iso_noise/1]"] <= 1


def test_a_set_without_depth_fails_and_says_what_to_do(world):
    text = (world.path / "p.toml").read_text()
    (world.path / "p.toml").write_text(text.replace('depth = "depth"\n', ""))
    found, _ = run(world, "-k", "test_accuracy")
    found.assert_outcomes(passed=2, failed=2)
    found.stdout.fnmatch_lines(["*photos: fog_3d needs depth, and the set has none*corruptions.depth*"])
    assert "Traceback" not in found.stdout.str()


def test_an_image_with_bad_depth_is_named(world):
    (world.path / "depth/green/green2.png").write_bytes(b"nothing")
    found, _ = run(world, "-k", "test_accuracy and fog_3d and 1")
    found.assert_outcomes(failed=1)
    found.stdout.fnmatch_lines(["*photos: image 'green/green2.png': its depth map cannot be decoded*"])


def test_depth_is_estimated_where_there_is_none(world, monkeypatch):
    from pytest_clip_robust.corruptions import estimation

    asked = []

    class Slope:
        identity = "ab" * 32

        def __init__(self, source, *, device):
            asked.append((source, device))

        def estimate(self, images):
            return [(world.path / "depth/red/red0.png").read_bytes() for _ in images]

    monkeypatch.setattr(estimation, "DepthEstimator", Slope)
    text = (world.path / "p.toml").read_text().replace('depth = "depth"\n', "")
    (world.path / "p.toml").write_text(text + 'depth = "some/depth-model"\n')
    found, first = run(world, "-k", "test_accuracy")
    found.assert_outcomes(passed=4)
    assert asked == [("some/depth-model", "cpu")]
    maps = list((world.path / "cache/depth").rglob("*.png"))
    assert len(maps) == 12
    (world.path / "depth/red/red0.png").unlink()  # kept maps are not asked for again
    found, second = run(world, "-k", "test_accuracy")
    assert values(second) == values(first)


def test_the_depth_models_name_is_checked_before_anything_is_encoded(world, monkeypatch):
    from pytest_clip_robust.corruptions import estimation

    monkeypatch.setattr(estimation, "reachable", lambda: False)
    text = (world.path / "p.toml").read_text().replace('depth = "depth"\n', "")
    (world.path / "p.toml").write_text(text + 'depth = "nobody/no-such-depth"\n')
    found, _ = run(world, "-k", "test_accuracy and fog_3d and 1")
    found.assert_outcomes(failed=1)
    found.stdout.fnmatch_lines(
        ["*depth model 'nobody/no-such-depth' cannot be loaded: it is not cached, and the hub cannot be reached*"]
    )


@pytest.fixture
def ready(world):
    """The photographs corrupted before: fog at severities 1 and 3, and a kind of one's own."""
    for kind, severities in (("fog", (1, 3)), ("blur/glass_blur", (1, 3))):
        for severity in severities:
            for i, (name, rgb) in enumerate(PAINT.items()):
                for j in range(4):
                    spoilt = np.array(rgb) * (1 - severity / 5) + 200 * severity / 5
                    write(world.path / "cc" / kind / str(severity) / name / f"{name}{j}.jpg", spoilt, 10 * i + j)
    text = (world.path / "p.toml").read_text().replace('corruptions = "photos"', 'corrupted = "cc"')
    text = text.replace("severities = [1, 5]", "severities = [1, 3]").replace(
        "[data.greys]", '[data.cc]\nlocation = "cc"\n[data.greys]'
    )
    (world.path / "p.toml").write_text(text)
    return world


def test_sets_that_are_corrupted_already_are_read(ready):
    found, report = run(ready)
    found.assert_outcomes(passed=4 + 2 * 6 + 6, skipped=2)
    measured = values(report)
    assert "corruption.top1[cc/glass_blur/3]" in measured
    assert measured["corruption.relative_robustness[cc/fog]"] == 1.0
    # Both kinds look the same here, and equal images are encoded once.
    assert report["encoded"]["images"] == 2 * 12 + 12


def test_without_the_clean_images_what_needs_them_is_skipped(ready):
    for path in sorted((ready.path / "photos").rglob("*.png")):
        path.rename(path.with_name(f"other_{path.name}"))
    shutil.rmtree(ready.path / "depth")
    text = (ready.path / "p.toml").read_text().replace('depth = "depth"\n', "")
    (ready.path / "p.toml").write_text(text)
    found, report = run(ready, "-rs")
    found.assert_outcomes(passed=4 + 3 * 3, skipped=3 * 3 + 2)
    found.stdout.fnmatch_lines(["*no ID set has the same images uncorrupted*"])
    assert "corruption.flips[cc]" in values(report)


def test_a_folder_of_another_layout_fails_and_says_so(ready):
    shutil.rmtree(ready.path / "cc")
    (ready.path / "cc").mkdir()
    found, _ = run(ready, "-k", "test_accuracy and 1")
    found.assert_outcomes(failed=1)
    found.stdout.fnmatch_lines(["*has no folders KIND/SEVERITY/CLASS/IMAGE*"])


def test_a_profile_without_such_sets_skips_with_the_reason(world):
    text = (world.path / "p.toml").read_text().replace('corruptions = "photos"\n', "")
    (world.path / "p.toml").write_text(text)
    found, _ = run(world, "-rs")
    found.assert_outcomes(skipped=1 + 6 + 6 + 2)
    found.stdout.fnmatch_lines(["*no data set has the role 'corruptions'*"])
