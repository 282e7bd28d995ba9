"""Tests of shape bias against published decisions, scikit-learn's Cohen's kappa, and counting by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.metrics import cohen_kappa_score
from strategies import CUE_ANSWERS

from pytest_clip_robust.errors import DataError, MeasurementError
from pytest_clip_robust.evaluation.cues import read_observers
from pytest_clip_robust.properties.shape_bias import PROPERTIES, error_consistency, shape_bias
from pytest_clip_robust.scoring.cues import SIXTEEN, CueAnswers, answers_of, member_ids, sixteen_way


def cues(rows, samples=None):
    answers, shapes, textures = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    return CueAnswers(
        dataset="cues",
        answers=answers,
        shapes=shapes,
        textures=textures,
        class_names=("a", "b", "c", "d"),
        samples=samples or [f"{i}.png" for i in range(len(rows))],
    )


@pytest.fixture(scope="module")
def published(shared):
    golden = json.loads((shared / "golden" / "golden.json").read_text())
    models = read_observers([str(shared / "golden" / "cue_conflict_decisions" / "*.csv")])
    humans = read_observers([str(shared / "data" / "human_responses" / "cue-conflict_*.csv")])
    return golden, {one.dataset: one for one in (*models, *humans)}, humans


def test_published_shape_biases_are_reproduced(published):
    golden, observers, humans = published
    assert len(golden["shape_bias"]) == 9
    for file, expected in golden["shape_bias"].items():
        found = shape_bias(observers[file.removesuffix(".csv")])
        assert found.value == pytest.approx(expected["shape_bias"], abs=1e-12), file
        assert found.details["shape_decisions"] == expected["shape_decisions"]
        assert found.details["texture_decisions"] == expected["texture_decisions"]
        assert found.details["cue_coverage"] == pytest.approx(found.n / expected["conflict_rows"])
    resnet = shape_bias(observers["style-transfer-512-nomask-experiment_resnet50_session-1"])
    assert (round(resnet.value, 4), resnet.n) == (0.2207, 162 + 572)
    assert round(float(np.mean([shape_bias(one).value for one in humans])), 4) == 0.9576


def test_published_error_consistencies_are_reproduced(published):
    golden, observers, humans = published
    expected = golden["error_consistency"]
    resnet = observers["style-transfer-512-nomask-experiment_resnet50_session-1"]
    with_humans = error_consistency(resnet, humans)
    assert with_humans.value == pytest.approx(expected["resnet50_vs_10_humans_cue_conflict_mean_kappa"], abs=1e-6)
    assert with_humans.details["observers"] == 10
    assert with_humans.interval.low < with_humans.value < with_humans.interval.high
    pairs = [error_consistency(one, [other]).value for i, one in enumerate(humans) for other in humans[i + 1 :]]
    assert len(pairs) == expected["human_human_cue_conflict"]["pairs"]
    assert np.mean(pairs) == pytest.approx(expected["human_human_cue_conflict"]["mean_kappa"], abs=1e-6)
    right = [dict(zip(one.samples, one.answers == one.shapes, strict=True)) for one in humans]
    agreeing = [np.mean([one[x] == other[x] for x in one]) for i, one in enumerate(right) for other in right[i + 1 :]]
    assert np.mean(agreeing) == pytest.approx(expected["human_human_cue_conflict"]["mean_observed"], abs=1e-6)


@given(CUE_ANSWERS, st.data())
def test_error_consistency_is_cohens_kappa_of_correctness(rows, data):
    found = cues(rows)
    others = data.draw(st.lists(st.integers(-1, 3), min_size=len(rows), max_size=len(rows)))
    other = cues([(answer, shape, texture) for answer, (_, shape, texture) in zip(others, rows, strict=True)])
    mine, theirs = found.answers == found.shapes, other.answers == other.shapes
    if len(set(mine)) == len(set(theirs)) == 1 and mine[0] == theirs[0]:
        with pytest.raises(MeasurementError, match="their agreement is no evidence"):
            error_consistency(found, [other])
        return
    assert error_consistency(found, [other]).value == pytest.approx(cohen_kappa_score(mine, theirs))


def test_observers_are_matched_by_file_name_without_suffix():
    found = cues([(0, 0, 1), (1, 0, 1), (2, 2, 1)], ["a1-b1.png", "a2-b2.png", "c1-b1.png"])
    other = cues([(1, 0, 1), (0, 0, 1)], ["a2-b2", "a1-b1"])
    assert error_consistency(found, [other]).value == 1
    with pytest.raises(MeasurementError, match=r"has seen none of its images; 'a1-b1\.png' here, 'x' there"):
        error_consistency(found, [cues([(0, 0, 1)], ["x"])])
    with pytest.raises(MeasurementError, match="no observers to compare with"):
        error_consistency(found, [])


def test_counting_by_hand():
    rows = [(0, 0, 1), (0, 0, 1), (1, 0, 1), (3, 0, 1), (2, 2, 0), (0, 2, 0), (1, 1, 1), (-1, 3, 0)]
    found = {name: measure(cues(rows)) for name, measure in PROPERTIES.items()}
    assert found["ratio"].value == 3 / 5
    assert found["ratio"].details["ratio.a"] == pytest.approx(2 / 3)
    assert found["ratio"].details["ratio.c"] == 1 / 2
    assert "ratio.d" not in found["ratio"].details
    assert found["class_average"].value == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert found["cue_coverage"].value == 5 / 7
    assert found["shape_accuracy"].value == 3 / 7
    assert found["texture_accuracy"].value == 2 / 7
    assert found["texture_accuracy"].direction == "lower"
    assert {one.metric for one in found.values()} == {f"shape_bias.{name}_direct" for name in PROPERTIES}


@given(CUE_ANSWERS, st.randoms(use_true_random=False), st.integers(2, 3))
def test_order_copies_and_swapped_cues(rows, random, copies):
    measured = [measure_or_none(cues(some)) for some in (rows, random.sample(rows, len(rows)), rows * copies)]
    assert measured[0] == measured[1] == measured[2]
    swapped = measure_or_none(cues([(answer, texture, shape) for answer, shape, texture in rows]))
    if measured[0] is None:
        assert swapped is None
    else:
        assert 0 <= measured[0] <= 1
        assert swapped == pytest.approx(1 - measured[0])


def measure_or_none(found):
    if not (found.conflicting & ((found.answers == found.shapes) | (found.answers == found.textures))).any():
        with pytest.raises(MeasurementError, match="names the shape or the texture"):
            shape_bias(found)
        return None
    return shape_bias(found).value


def test_sets_without_conflicts_or_textures_are_an_error(predictions):
    with pytest.raises(MeasurementError, match="no image has the texture of another class"):
        cues([(0, 1, 1)])
    with pytest.raises(MeasurementError, match="is not a cue-conflict set: it needs a column texture"):
        answers_of(predictions([[1, 0]], [0]))
    with pytest.raises(MeasurementError, match=r"textures span 5\.\.5, expected 0\.\.1"):
        predictions([[1, 0]], [0], textures=np.array([5]))


def test_answers_are_the_highest_logits(predictions):
    found = answers_of(predictions([[0, 3, 1], [2, 0, 1]], [1, 2], textures=np.array([0, 0])))
    assert found.answers.tolist() == [1, 0]
    assert shape_bias(found).value == 0.5


def test_the_sixteen_classes_have_207_distinct_members():
    members = [one for name in SIXTEEN for one in member_ids(name)]
    assert len(members) == len(set(members)) == 207
    assert (min(members), max(members)) == (8, 914)
    assert set(range(152, 269)) - set(member_ids("dog")) == {192, 204, 227, 242, 251, 258, 260, 264}


def test_members_belong_to_their_class():
    from pytest_clip_robust.datasets.images.labels import class_list

    names = class_list("imagenet-1k").names
    assert [names[i] for i in member_ids("bear")] == ["brown bear", "American black bear", "polar bear", "sloth bear"]
    assert [names[i] for i in member_ids("elephant")] == ["Asian elephant", "African bush elephant"]


@pytest.mark.parametrize("aggregation", ["mean", "sum", "max"])
def test_the_mapping_is_a_softmax_over_all_classes_aggregated(aggregation):
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=3, size=(200, 1000)).astype(np.float32)
    probabilities = softmax(logits.astype(float), axis=1)
    grouped = np.stack([getattr(probabilities[:, member_ids(name)], aggregation)(axis=1) for name in SIXTEEN], axis=1)
    assert sixteen_way(logits, aggregation=aggregation).tolist() == grouped.argmax(axis=1).tolist()


def test_aggregations_can_give_different_answers():
    logits = np.zeros((1, 1000), np.float32)
    logits[0, 404] = 1.0  # one airplane, somewhat likely; a hundred dogs, each less
    assert SIXTEEN[sixteen_way(logits)[0]] == "airplane"
    assert SIXTEEN[sixteen_way(logits, aggregation="sum")[0]] == "dog"


def test_unknown_logits_and_aggregations_are_an_error():
    with pytest.raises(MeasurementError, match=r"logits of shape \(2, 16\): the 16 classes are groups of"):
        sixteen_way(np.zeros((2, 16)))
    with pytest.raises(MeasurementError, match="aggregation='median': expected one of mean, sum, max"):
        sixteen_way(np.zeros((2, 1000)), aggregation="median")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["subj,category"], "no column 'object_response'"),
        (["object_response,category,imagename"], "no lines"),
        (
            ["object_response,category,imagename", "cat,dog,photo.png"],
            "line 2: 'photo.png' is not of the form SHAPE1-TEXTURE2",
        ),
        (["object_response,category,imagename", "cat,dog,cat1-dog2.png"], "category 'dog' is not the shape of"),
        (["object_response,category,imagename", "cat,sofa,sofa1-dog2.png"], "class that is not one of the public 16"),
    ],
)
def test_an_invalid_table_of_decisions_is_a_one_line_error(tmp_path, lines, message):
    (tmp_path / "one.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=message):
        read_observers([str(tmp_path / "*.csv")])


def test_the_error_for_missing_tables_names_the_pattern(tmp_path):
    with pytest.raises(DataError, match=r"no file .*humans_\*\.csv"):
        read_observers([str(tmp_path / "humans_*.csv")])
