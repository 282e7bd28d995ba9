"""Effective robustness against the shipped panels, and the panels themselves."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from pytest_clip_robust.core.measurement import Provenance
from pytest_clip_robust.core.predictions import TopAnswers
from pytest_clip_robust.errors import MeasurementError, NotApplicableError
from pytest_clip_robust.names import PUBLISHED_SETS, REFERENCE_PANELS
from pytest_clip_robust.properties.effective_robustness import above_published
from pytest_clip_robust.properties.reference_panels.lines import CLASSES, FOLDER, LEAST_ID_ACCURACY, panel_line
from pytest_clip_robust.stats.paired import compare
from pytest_clip_robust.stats.resampling import value_from

PAIRS = [(panel, name) for panel, sets in REFERENCE_PANELS.items() for name in sets]
IDS = tuple(f"n{i}" for i in range(1000))


def answers(predictions, correct, n, *, classes=1000, seed=0, **fields):
    """Return predictions of n images over `classes` classes, of which the first `correct` are right."""
    labels = np.random.default_rng(seed).integers(0, classes, n)
    logits = np.zeros((n, classes), np.float32)
    logits[np.arange(n), np.where(np.arange(n) < correct, labels, (labels + 1) % classes)] = 1
    ids = IDS[:classes]
    return predictions(logits, labels, class_ids=ids, class_names=ids, **fields)


@pytest.mark.parametrize(("panel", "name"), PAIRS)
def test_every_panel_has_the_accuracies_that_it_promises(panel, name):
    found = panel_line(panel, name)
    assert len(found.models) == len(found.x) == len(found.y) == found.line.n
    assert found.line.n >= 80
    assert ((found.x > 0) & (found.x < 1) & (found.y >= 0) & (found.y < 1)).all()
    assert np.corrcoef(found.x, found.y)[0, 1] > 0.6
    assert found.same_classes == (CLASSES[name] == 1000 or (panel != "open_clip" and name != "objectnet"))
    spread = np.std(found.resampled.predict(float(np.median(found.x))))
    assert 0 < spread < 0.03


def test_the_names_of_sets_are_those_of_the_panels():
    assert set(CLASSES) == set(PUBLISHED_SETS)
    for panel, sets in REFERENCE_PANELS.items():
        with (FOLDER / f"{panel}.csv").open() as file:
            columns = set(csv.DictReader(file).fieldnames)
        assert {column for column in columns if "imagenet" in column or column == "objectnet"} - {
            PUBLISHED_SETS[0]
        } == {
            *sets,
            *(f"{name}.id" for name in sets if f"{name}.id" in columns),
        }


def test_a_panel_or_set_that_does_not_exist_is_a_one_line_error():
    with pytest.raises(MeasurementError, match=r"no panel 'tim' \(did you mean 'timm'\?\); expected one of timm"):
        panel_line("tim", "imagenet-v2")
    with pytest.raises(MeasurementError, match="panel 'timm' has no results on 'objectnet'; it has imagenet-v2"):
        panel_line("timm", "objectnet")


def zero_shot(name):
    with (FOLDER / "open_clip.csv").open() as file:
        return {row["model"]: (float(row["imagenet-1k"]), float(row[name])) for row in csv.DictReader(file)}


@pytest.mark.parametrize(
    ("name", "median", "model", "points", "tolerance"),
    [
        ("imagenet-v2", 4.86, "ViT-B-32@openai", 5.72, 0.2),
        ("imagenet-v2", 4.86, "ViT-L-14-336@openai", 6.31, 0.2),
        ("imagenet-sketch", 37.25, "ViT-B-32@openai", 29.09, 0.5),
        ("imagenet-sketch", 37.25, "RN50@openai", 24.42, 0.5),
    ],
)
def test_zero_shot_models_are_above_the_line_of_imagenet_models_by_the_known_points(
    name, median, model, points, tolerance
):
    line, found = panel_line("timm", name).line, zero_shot(name)
    # The known values are of a fit with a coarser choice of the models that saw no other data.
    assert np.median([line.residual(*one) for one in found.values()]) == pytest.approx(median, abs=tolerance)
    assert line.residual(*found[model]) == pytest.approx(points, abs=tolerance)


def test_models_far_below_the_others_are_left_out_of_the_fit():
    assert min(panel_line("open_clip", "imagenet-a").x) >= LEAST_ID_ACCURACY
    assert min(base for base, _ in zero_shot("imagenet-a").values()) < 0.1


def test_the_line_of_a_panel_equals_that_of_statsmodels():
    sm = pytest.importorskip("statsmodels.api", reason="statsmodels is the independent implementation")
    found = panel_line("testbed", "objectnet")
    model = sm.RLM(norm.ppf(found.y), sm.add_constant(norm.ppf(found.x)), M=sm.robust.norms.HuberT(1.345))
    assert (found.line.intercept, found.line.slope) == pytest.approx(tuple(model.fit(tol=1e-12).params), abs=1e-5)


def test_a_model_on_the_line_has_no_effective_robustness(predictions):
    published = panel_line("timm", "imagenet-v2")
    expected = float(published.line.predict(0.7))
    right = round(1000 * expected)
    measured = above_published(answers(predictions, 700, 1000), answers(predictions, right, 1000, seed=1), published)
    assert measured.metric == "shift.effective_robustness_timm"
    assert measured.value == pytest.approx(100 * (right / 1000 - expected))
    assert abs(measured.value) < 0.1
    assert measured.interval.low < 0 < measured.interval.high
    assert measured.details["expected_accuracy"] == pytest.approx(expected)
    assert 0.2 < measured.details["panel_share_below"] < 0.8
    assert measured.remark == ""


def test_the_interval_contains_the_noise_of_images_and_of_the_panel(predictions):
    published = panel_line("open_clip", "imagenet-a")
    base = answers(predictions, 1400, 2000)
    moved = answers(predictions, 1000, 2000, classes=200, seed=1)
    measured = above_published(base, moved, published)
    slope = published.line.slope * norm.pdf(norm.ppf(measured.details["expected_accuracy"])) / norm.pdf(norm.ppf(0.7))
    images = (0.5 * 0.5 / 2000 + slope**2 * 0.7 * 0.3 / 2000) ** 0.5
    panel = float(np.std(published.resampled.predict(0.7)))
    width = 2 * 1.96 * 100 * (images**2 + panel**2) ** 0.5
    assert panel > 0.3 * images
    assert measured.interval.high - measured.interval.low == pytest.approx(width, rel=0.1)


def test_accuracy_in_distribution_is_over_the_classes_that_the_panel_uses(predictions):
    base, moved = answers(predictions, 700, 1000), answers(predictions, 50, 100, classes=200)
    sliced = above_published(base, moved, panel_line("timm", "imagenet-r"))
    whole = above_published(base, moved, panel_line("open_clip", "imagenet-r"))
    assert whole.details["id_accuracy"] == pytest.approx(0.7)
    labels = base.labels[base.labels < 200]
    assert sliced.details["id_accuracy"] == pytest.approx(np.mean(np.flatnonzero(base.labels < 200) < 700), abs=0.05)
    assert len(labels) < 1000


def test_a_set_with_other_classes_can_be_compared_where_the_panel_uses_all_classes(predictions):
    moved = answers(predictions, 60, 100, classes=113)
    moved = dataclasses.replace(moved, class_ids=tuple(f"o{i}" for i in range(113)))
    measured = above_published(answers(predictions, 700, 1000), moved, panel_line("open_clip", "objectnet"))
    assert np.isfinite(measured.value)


def test_an_accuracy_outside_the_panels_is_remarked(predictions):
    measured = above_published(
        answers(predictions, 30, 100), answers(predictions, 20, 100), panel_line("timm", "imagenet-v2")
    )
    assert measured.remark.startswith("extrapolated: the ID accuracy 0.300 is outside the panel's, 0.5")


def test_an_accuracy_of_one_is_finite(predictions):
    perfect = answers(predictions, 10, 10)
    measured = above_published(perfect, perfect, panel_line("timm", "imagenet-v2"))
    assert np.isfinite([measured.value, measured.interval.low, measured.interval.high]).all()


@pytest.mark.parametrize("sizes", [(100, 100), (1000, 200)])
def test_another_number_of_classes_than_published_is_an_error(predictions, sizes):
    base, moved = (answers(predictions, 5, 10, classes=n, dataset=f"of-{n}") for n in sizes)
    with pytest.raises(
        MeasurementError, match=r"has \d+ classes, but results published as 'imagenet-\w+' are over 1000"
    ):
        above_published(base, moved, panel_line("timm", "imagenet-v2"))


def test_two_models_are_compared_on_the_same_images(predictions):
    published = panel_line("timm", "imagenet-v2")
    base = answers(predictions, 700, 1000, dataset="id")
    before, after = (
        above_published(base, answers(predictions, right, 1000, seed=1, dataset="v2"), published)
        for right in (600, 580)
    )
    assert value_from(before.evidence) == pytest.approx(before.value)
    found = compare(before.evidence, after.evidence, direction="higher", difference=after.value - before.value)
    assert found.difference == pytest.approx(-2)
    assert found.interval.high < 0
    assert found.p_worse < 0.01


def test_numbers_against_different_panels_are_never_compared(predictions):
    base = answers(predictions, 7, 10, provenance=Provenance(data="aa"))
    moved = answers(predictions, 6, 10, provenance=Provenance(data="bb"))
    found = [above_published(base, moved, panel_line(panel, "imagenet-v2")) for panel in REFERENCE_PANELS]
    assert len({one.provenance.data for one in found}) == len({one.metric for one in found}) == 3


def test_the_page_has_the_lines_of_the_panels():
    page = (Path(__file__).resolve().parents[2] / "docs" / "effective-robustness.md").read_text(encoding="utf-8")
    for panel, name in PAIRS:
        found = panel_line(panel, name)
        distance = np.median(np.abs(found.line.residual(found.x, found.y)))
        classes = f"its {CLASSES[name]}" if found.same_classes and CLASSES[name] < 1000 else "1,000"
        line = f"{found.line.intercept:.3f} + {found.line.slope:.3f} x".replace("-", "\N{MINUS SIGN}")
        row = f"| `{panel}` | `{name}` | {found.line.n:,} | {classes} | {line} | {distance:.1f} |"
        assert row in page


def test_answers_without_logits_are_enough_where_both_sets_have_the_same_classes(predictions):
    def answered(right, n):
        labels = np.zeros(n, np.int64)
        top = TopAnswers(answers=np.where(np.arange(n) < right, 0, 1))
        return predictions(np.full((n, 1000), np.nan), labels, class_ids=IDS, class_names=IDS, top=top)

    measured = above_published(answered(70, 100), answered(60, 100), panel_line("timm", "imagenet-v2"))
    whole = above_published(
        answers(predictions, 70, 100), answers(predictions, 60, 100), panel_line("timm", "imagenet-v2")
    )
    assert measured.value == pytest.approx(whole.value)
    with pytest.raises(NotApplicableError):
        above_published(answered(70, 100), answers(predictions, 60, 100, classes=200), panel_line("timm", "imagenet-r"))
