"""Tests of composition: hard pairs by hand and against naive loops, and the text-only baseline."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.properties.composition import WINOGROUND, accuracy, gain_over_blind, text_only, winoground
from pytest_clip_robust.scoring.pairs import Matches, contrast, match, tell_texts_apart

IMAGES = np.eye(3, dtype=np.float32)
CAPTIONS = np.array([[1, 0, 0], [0.9, 0.4, 0], [0, 1, 0], [0, 0.5, 1], [0.2, 0.2, 1]], np.float32)


def contrasts(**fields):
    """Return three items: the first is correct, the second is a tie, the third loses to one of two false captions."""
    return contrast(
        IMAGES,
        CAPTIONS,
        **{
            "texts": ["a", "nearly a", "b", "b and c", "c and more"],
            "image_of": np.array([0, 1, 2]),
            "true_of": np.array([0, 2, 3]),
            "false_items": np.array([0, 1, 2, 2]),
            "false_of": np.array([1, 2, 0, 4]),
            "dataset": "set",
            "kinds": ["add_object", "order", "order"],
            "samples": ["0.jpg", "1.jpg", "2.jpg"],
        }
        | fields,
    )


def test_counting_by_hand():
    found = contrasts(scale=10.0)
    assert found.right.tolist() == [True, False, False]  # a tie is wrong
    assert found.choices.tolist() == [2, 2, 3]
    whole = accuracy(found)
    assert (whole.metric, whole.subset, whole.n) == ("composition.accuracy", "", 3)
    assert whole.value == pytest.approx(1 / 3)
    assert whole.details["accuracy.add_object"] == 1
    assert whole.details["accuracy.order"] == 0
    assert whole.chance == pytest.approx((1 / 2 + 1 / 2 + 1 / 3) / 3)
    assert "text_only" not in whole.details
    lost, tied = whole.misses
    assert (lost.sample, lost.truth, lost.predicted) == ("2.jpg", "b and c", "c and more")
    lead = 1 / np.linalg.norm(CAPTIONS[4]) - 1 / np.linalg.norm(CAPTIONS[3])
    assert lost.confidence == pytest.approx(1 / (1 + np.exp(-10 * lead)), abs=1e-6)
    assert tied.confidence == 0.5
    part = accuracy(found, "order")
    assert (part.key, part.n, part.value) == ("composition.accuracy[set/order]", 2, 0)
    assert list(part.samples) == ["1.jpg", "2.jpg"]
    assert part.outcomes.tolist() == [0, 0]


def test_blind_replaces_an_image_by_the_mean_of_the_others():
    found = contrasts()
    others = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / np.sqrt(2)
    known = CAPTIONS / np.linalg.norm(CAPTIONS, axis=1, keepdims=True)
    assert found.blind_true == pytest.approx(
        [others[0] @ known[0], others[1] @ known[2], others[2] @ known[3]], abs=1e-6
    )
    assert found.blind_false[2] == pytest.approx(max(others[2] @ known[0], others[2] @ known[4]), abs=1e-6)
    gain = gain_over_blind(found)
    assert gain.outcomes.tolist() == [1, 0, 0]
    assert gain.details["blind"] == 0
    assert gain.interval.low < gain.value < gain.interval.high


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 999), st.integers(2, 12), st.integers(1, 20))
def test_every_item_equals_a_naive_loop(seed, n, items):
    rng = np.random.default_rng(seed)
    images, captions = rng.normal(size=(n, 5)), rng.normal(size=(15, 5))
    image_of, true_of = rng.integers(0, n, items), rng.integers(0, 15, items)
    false_items = np.repeat(np.arange(items), rng.integers(1, 4, items))
    false_of = rng.integers(0, 15, len(false_items))
    found = contrast(
        images,
        captions,
        texts=[str(i) for i in range(15)],
        image_of=image_of,
        true_of=true_of,
        false_items=false_items,
        false_of=false_of,
        dataset="set",
        kinds=["order"] * items,
        samples=[str(i) for i in range(items)],
    )

    def cosine(a, b):
        return a @ b / np.linalg.norm(a) / np.linalg.norm(b)

    for item in range(items):
        image = images[image_of[item]]
        false = false_of[false_items == item]
        scores = [cosine(image, captions[i]) for i in false]
        assert found.true[item] == pytest.approx(cosine(image, captions[true_of[item]]), abs=1e-6)
        assert found.false[item] == pytest.approx(max(scores), abs=1e-6)
        assert found.false_texts[item] == str(false[int(np.argmax(scores))])
        if true_of[item] in false:
            assert not found.right[item]


def test_items_of_one_image_are_one_cluster_in_the_interval():
    """Repeat every item three times, as items of three images or as more items of the same image."""
    rng = np.random.default_rng(0)
    wrong = rng.random(40) < 0.5
    images, captions = rng.normal(size=(120, 4)), np.array([[1.0, 0, 0, 0], [0, 1, 0, 0]])
    images[:, 0], images[:, 1] = np.where(np.tile(wrong, 3), [[1], [2]], [[2], [1]])

    def width(image_of):
        found = contrast(
            images,
            captions,
            texts=["true", "false"],
            image_of=image_of,
            true_of=np.zeros(120, np.int64),
            false_items=np.arange(120),
            false_of=np.ones(120, np.int64),
            dataset="set",
            kinds=["order"] * 120,
            samples=[str(i) for i in range(120)],
        )
        measured = accuracy(found)
        assert measured.value == 1 - wrong.mean()
        return measured.interval.high - measured.interval.low

    assert width(np.tile(np.arange(40), 3)) > 1.5 * width(np.arange(120))


def test_errors_name_what_is_missing():
    found = contrasts()
    with pytest.raises(
        MeasurementError, match=r"'set' has no items of the kind 'ordr' \(did you mean 'order'\?\); it has"
    ):
        accuracy(found, "ordr")
    with pytest.raises(MeasurementError, match="the captions alone were not classified"):
        text_only(found)
    with pytest.raises(MeasurementError, match="every item needs a false caption"):
        contrasts(false_items=np.array([0, 1]), false_of=np.array([1, 2]))
    with pytest.raises(MeasurementError, match="there is only one image"):
        contrast(
            IMAGES[:1],
            CAPTIONS,
            texts=["a"] * 5,
            image_of=np.array([0]),
            true_of=np.array([0]),
            false_items=np.array([0]),
            false_of=np.array([1]),
        )


def test_the_text_classifier_recognises_only_captions_that_differ_in_style():
    rng = np.random.default_rng(0)
    things = ["cat", "dog", "car", "tree", "boat", "cup"]
    true, longer, other = [], [], []
    for _ in range(200):
        one, two, three = rng.choice(things, 3, replace=False)
        true.append(f"a photo of a {one} and a {two}")
        longer.append(f"a photo of a {one} and a {two} and a {three}")
        other.append(f"a photo of a {one} and a {three}")
    groups = np.arange(200)
    assert tell_texts_apart(true, longer, groups).mean() == 1
    assert tell_texts_apart(true, other, groups).mean() == pytest.approx(0.5, abs=0.12)
    assert tell_texts_apart(true, true, groups).tolist() == [0.5] * 200
    assert tell_texts_apart(true[:9], other[:9], groups[:9]) is None


def test_the_text_classifier_never_trains_on_captions_of_the_same_image():
    """A word that marks the true captions of one image does not help for other images."""
    true = [f"mark{i // 4} thing" for i in range(80)]
    false = [f"other{i // 4} thing" for i in range(80)]
    assert tell_texts_apart(true, false, np.arange(80) // 4).tolist() == [0.5] * 80
    assert tell_texts_apart(true, false, np.arange(80)).mean() == 1


def test_the_text_only_baseline_is_reported_with_the_accuracy():
    found = contrasts(text_only=np.array([1.0, 0.5, 0.0]))
    assert accuracy(found).details["text_only"] == 0.5
    alone = text_only(found)
    assert (alone.metric, alone.value, alone.direction) == ("composition.text_only_ngram_cv5", 0.5, "lower")


@pytest.mark.parametrize(
    ("cosines", "expected"),
    [
        ([[0.9, 0.1], [0.2, 0.8]], {"text": 1, "image": 1, "group": 1}),
        ([[0.9, 0.5], [0.6, 0.55]], {"text": 1, "image": 0, "group": 0}),
        ([[0.5, 0.4], [0.6, 0.7]], {"text": 0, "image": 1, "group": 0}),
        ([[0.5, 0.5], [0.5, 0.5]], {"text": 0, "image": 0, "group": 0}),
        ([[0.9, 0.2], [0.2, 0.2]], {"text": 0, "image": 0, "group": 0}),
    ],
)
def test_winoground_scores(cosines, expected):
    """Rows are captions, columns are images; a tie is wrong."""
    found = Matches(dataset="w", cosines=np.array([cosines]), kinds=["object"], samples=["0"])
    assert {score: winoground(found, score).value for score in WINOGROUND} == expected
    with pytest.raises(MeasurementError, match="no Winoground score 'both'"):
        winoground(found, "both")


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 999))
def test_winoground_equals_the_four_comparisons_written_out(seed):
    rng = np.random.default_rng(seed)
    images, captions = rng.normal(size=(6, 4)), rng.normal(size=(8, 4))
    image_of, text_of = rng.integers(0, 6, (10, 2)), rng.integers(0, 8, (10, 2))
    found = match(
        images, captions, image_of=image_of, text_of=text_of, dataset="w", kinds=["x"] * 10, samples=[""] * 10
    )
    right = {"text": 0, "image": 0, "group": 0}
    for (i0, i1), (c0, c1) in zip(image_of, text_of, strict=True):
        s = {
            (c, i): captions[c] @ images[i] / np.linalg.norm(captions[c]) / np.linalg.norm(images[i])
            for c in (c0, c1)
            for i in (i0, i1)
        }
        text = c0 != c1 and s[c0, i0] > s[c1, i0] and s[c1, i1] > s[c0, i1]
        image = i0 != i1 and s[c0, i0] > s[c0, i1] and s[c1, i1] > s[c1, i0]
        right["text"] += text
        right["image"] += image
        right["group"] += text and image
    assert {score: winoground(found, score).value * 10 for score in WINOGROUND} == pytest.approx(right)


def test_random_features_score_at_chance_level():
    rng = np.random.default_rng(0)
    found = Matches(dataset="w", cosines=rng.normal(size=(20000, 2, 2)), kinds=["x"] * 20000, samples=[""] * 20000)
    for score, chance in WINOGROUND.items():
        one = winoground(found, score)
        assert one.interval.low < chance < one.interval.high, score
        assert one.chance == chance
