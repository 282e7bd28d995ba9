"""Statistics of findings on published results of many models, against SciPy and against what is known of them."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from handmade_panels import model, table
from scipy import stats

from pytest_clip_robust.core.finding import Status
from pytest_clip_robust.properties.findings.lines import Points, mean_residual, residuals_from
from pytest_clip_robust.properties.findings.registry import evaluate_findings


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def classified(shared):
    return {
        (row["name"], row["pretrained"]): row
        for row in rows(shared / "golden/panels/openclip_classification_results.csv")
    }


@pytest.mark.parametrize(
    ("way", "column"), [("image_to_text", "MSCOCO text retr. R@1"), ("text_to_image", "MSCOCO image retr. R@1")]
)
def test_retrieval_follows_accuracy_on_the_published_models_of_open_clip(shared, classified, way, column):
    """121 models: tau is SciPy's, up to its treatment of ties. Checkpoints of one architecture count as one family."""
    published = rows(shared / "golden/openclip/openclip_retrieval_results.csv")
    found = [(row, classified[row["name"], row["pretrained"]]) for row in published]
    panel = table(
        {
            model(f"{row['name']}@{row['pretrained']}", group=row["name"]): {
                "zero_shot.top1[imagenet]": float(other["ImageNet 1k"]),
                f"retrieval.recall_at_1_{way}[coco]": float(row[column]),
            }
            for row, other in found
        }
    )
    (result,) = evaluate_findings(panel, [f"retrieval_follows_accuracy_{way}"])
    expected = stats.kendalltau(*zip(*((float(o["ImageNet 1k"]), float(r[column])) for r, o in found), strict=True))
    assert result.status is Status.HOLDS
    assert result.answer.effect.value == pytest.approx(expected.statistic, abs=0.01)
    assert result.answer.effect.models == len(found) > 100
    assert result.answer.effect.units == len({row["name"] for row, _ in found}) < len(found)


def points(pairs):
    labels = [label for label, *_ in pairs]
    x, y = (np.array([pair[i] for pair in pairs]) for i in (1, 2))
    zeros = np.zeros(len(pairs))
    return Points(labels=labels, groups=labels, x=x, y=y, x_errors=zeros, y_errors=zeros, shared=zeros)


def test_zero_shot_models_are_above_the_line_of_published_imagenet_models(shared, classified):
    """ImageNet-V2 against ImageNet: CLIP models gain about 5 points, ViT-B-32@openai 5.7 (Taori et al. 2020)."""
    clean, moved = (
        {
            (row["model"], row["img_size"]): float(row["top1"]) / 100
            for row in rows(shared / f"golden/panels/timm_{name}.csv")
        }
        for name in ("results-imagenet", "results-imagenetv2-matched-frequency")
    )
    plain = [
        (f"{name}@{size}", clean[name, size], moved[name, size])
        for name, size in sorted(set(clean) & set(moved))
        if not any(
            word in name for word in ("clip", "in12k", "in21k", "in22k", "jft", "ssl", "swsl", "seer", "mim", "laion")
        )
    ]
    clips = [
        ("@".join(key), float(row["ImageNet 1k"]), float(row["ImageNet v2"])) for key, row in sorted(classified.items())
    ]
    reference, tested = points(plain), points(clips)
    effect = mean_residual(reference, tested)
    assert effect.value == pytest.approx(4.9, abs=0.7)
    assert effect.low > 3
    one = residuals_from(reference, points([pair for pair in clips if pair[0] == "ViT-B-32-quickgelu@openai"]))
    assert float(one.residuals[0]) == pytest.approx(5.7, abs=0.5)
    assert float(one.halves[0]) < 0.5
