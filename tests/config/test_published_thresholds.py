"""Thresholds of built-in profiles for public data follow from published numbers, and name sets of their profiles."""

from __future__ import annotations

import csv
from importlib import resources

import numpy as np
import pytest

from pytest_clip_robust.config.profile import load_profile
from pytest_clip_robust.properties.reference_panels import lines

SPARE = 0.01
PROFILES = ("imagenet", "imagenet-study", "newer-sets")


def bounds(name):
    return {key: (one.at_least, one.at_most) for key, one in load_profile(name).thresholds.items()}


@pytest.fixture(scope="module")
def published():
    """Return the published accuracies of zero-shot models by model and set."""
    table = resources.files("pytest_clip_robust.properties.reference_panels") / "open_clip.csv"
    with table.open(encoding="utf-8", newline="") as file:
        return {row.pop("model"): {name: float(value) for name, value in row.items()} for row in csv.DictReader(file)}


@pytest.mark.parametrize("name", ["imagenet", "imagenet-study"])
def test_accuracies_may_be_a_hundredth_below_those_of_openai_s_small_model(name, published):
    for key, (at_least, _) in bounds(name).items():
        metric, _, dataset = key.rstrip("]").partition("[")
        if metric in {"zero_shot.top1", "shift.top1"}:
            assert at_least == pytest.approx(published["ViT-B-32@openai"][dataset] - SPARE, abs=6e-4)


@pytest.mark.parametrize("name", PROFILES)
def test_every_threshold_is_for_a_set_of_the_profile(name):
    profile = load_profile(name)
    sets = {one for names in profile.roles.values() for one in names}
    assert {key.rstrip("]").partition("[")[2].partition("/")[0] for key in profile.thresholds} <= sets


def test_retrieval_and_factors_may_be_a_hundredth_below_published_ones(shared):
    with (shared / "golden" / "openclip" / "openclip_retrieval_results.csv").open(newline="") as file:
        row = next(one for one in csv.DictReader(file) if (one["name"], one["pretrained"]) == ("ViT-B-32", "openai"))
    ways = {"image_to_text": "text retr. R@1", "text_to_image": "image retr. R@1"}
    for dataset, name in {"coco-captions": "MSCOCO", "flickr30k": "Flickr"}.items():
        for way, column in ways.items():
            at_least, _ = bounds("imagenet-study")[f"retrieval.recall_at_1_{way}[{dataset}]"]
            assert at_least == pytest.approx(float(row[f"{name} {column}"]) - SPARE, abs=1e-3)


def test_no_published_model_is_below_the_bound_of_its_effective_robustness(published, monkeypatch):
    monkeypatch.setattr(lines, "resample_lines", lambda *_, **__: None)  # a second per line, and not needed
    found = bounds("imagenet-study")
    for key, (at_least, _) in found.items():
        metric, _, dataset = key.rstrip("]").partition("[")
        panel = metric.removeprefix("shift.effective_robustness_")
        if panel == metric:
            continue
        line = lines.panel_line.__wrapped__(panel, dataset).line
        accurate = [one for one in published.values() if one["imagenet-1k"] >= lines.LEAST_ID_ACCURACY]
        x, y = (np.array([one[name] for one in accurate]) for name in ("imagenet-1k", dataset))
        assert line.residual(x, y).min() - 1 == pytest.approx(at_least, abs=0.1)
