from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import balanced_accuracy_score, top_k_accuracy_score
from strategies import TIED_LOGITS

from pytest_clip_robust.core.predictions import Predictions
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.properties.accuracy import mean_per_class, top_k
from pytest_clip_robust.scoring.decisions import decide


def build(logits, labels, **fields):
    names = tuple("abcd")
    samples = [str(i) for i in range(len(logits))]
    return Predictions(
        dataset="set", logits=logits, labels=labels, class_names=names, class_ids=names, samples=samples, **fields
    )


@pytest.mark.parametrize("k", [1, 2, 5])
def test_top_k_equals_scikit_learns(random_predictions, k):
    found = random_predictions(skill=1.0)
    measured = top_k(found, k=k)
    assert measured.value == pytest.approx(top_k_accuracy_score(found.labels, found.logits, k=k, labels=range(10)))
    assert (measured.metric, measured.n) == (f"zero_shot.top{k}", 200)
    assert measured.interval.low < measured.value < measured.interval.high
    assert measured.outcomes.mean() == pytest.approx(measured.value)


def test_mean_per_class_equals_scikit_learns(random_predictions):
    found = random_predictions(skill=1.0)
    expected = balanced_accuracy_score(found.labels, found.logits.argmax(axis=1))
    assert mean_per_class(found).value == pytest.approx(expected)


def test_mean_per_class_weights_classes_equally(predictions):
    found = predictions([[1, 0, 0]] * 9 + [[1, 0, 0]], [0] * 9 + [1])
    assert mean_per_class(found).value == 0.5
    assert mean_per_class(found).details == {"classes": 2, "worst_class": 0.0}


@given(TIED_LOGITS, st.data())
def test_ties_rank_by_class_and_accuracy_never_falls_with_k(logits, data):
    labels = data.draw(hnp.arrays(np.int64, len(logits), elements=st.integers(0, 3)))
    found = build(logits, labels)
    ranks = [
        sorted(range(4), key=lambda c: (-row[c], c)).index(label) for row, label in zip(logits, labels, strict=True)
    ]
    values = [top_k(found, k=k).value for k in (1, 2, 3)]
    assert values == pytest.approx([np.mean([rank < k for rank in ranks]) for k in (1, 2, 3)])
    assert values == sorted(values)


@given(TIED_LOGITS, st.data())
def test_the_order_of_samples_and_classes_does_not_matter(logits, data):
    rng = np.random.default_rng(0)
    logits = logits + rng.normal(scale=1e-3, size=logits.shape).astype(np.float32)  # no ties, which rank by class
    labels = data.draw(hnp.arrays(np.int64, len(logits), elements=st.integers(0, 3)))
    rows = np.array(data.draw(st.permutations(range(len(logits)))))
    columns = np.array(data.draw(st.permutations(range(4))))
    shuffled = build(logits[rows][:, columns], np.argsort(columns)[labels[rows]])
    for measure in (top_k, mean_per_class):
        assert measure(shuffled).value == pytest.approx(measure(build(logits, labels)).value)


def test_misses_are_ordered_by_confidence(predictions):
    found = predictions([[0, 5, 0], [3, 0, 0], [0, 0, 1], [9, 0, 0]], [0, 0, 0, 1])
    misses = top_k(found).misses
    assert [(miss.sample, miss.truth, miss.predicted) for miss in misses] == [
        ("3.png", "c1", "c0"),
        ("0.png", "c0", "c1"),
        ("2.png", "c0", "c2"),
    ]
    assert misses[1].confidence == pytest.approx(np.exp(5) / (np.exp(5) + 2))


@pytest.mark.parametrize("k", [0, 3, 5])
def test_a_k_outside_of_the_range_is_an_error(predictions, k):
    with pytest.raises(
        MeasurementError, match=f"top-{k} of 'set' is not defined among 3 classes; expected k from 1 to 2"
    ):
        top_k(predictions([[1, 0, 0]], [0]), k=k)


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        ([[1.0, np.nan, 0.0]], [0], "1 of 1 samples have NaN or infinite logits, first '0.png'"),
        ([[1.0, 0.0, 0.0]], [3], "labels span 3..3, expected 0..2"),
        (np.zeros((0, 3)), [], "no samples"),
        ([[1.0, 0.0, 0.0]], [0, 1], "disagree"),
    ],
)
def test_invalid_predictions_are_an_error(predictions, logits, labels, message):
    with pytest.raises(MeasurementError, match=message):
        predictions(logits, labels)


def test_decisions_can_be_measured_without_logits(random_predictions):
    decisions = decide(random_predictions())
    assert decide(decisions) is decisions
    with pytest.raises(MeasurementError, match="top-5 of 'set' needs logits"):
        decide(decisions, k=5)
