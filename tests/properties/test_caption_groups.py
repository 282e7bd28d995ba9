"""Scores of SugarCrepe++ and What'sUp: against their published rules written as loops, chance, and ties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.names import SUGARCREPE_PP, WHATSUP_PAIR, WHATSUP_SET
from pytest_clip_robust.properties.caption_groups import GROUP_SCORES, text_only_task, whole_groups
from pytest_clip_robust.properties.composition import accuracy
from pytest_clip_robust.scoring.pairs import Contrasts, contrast, paraphrase


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def triplets(images, captions, image_of, of_triplet):
    """Return the image-text and the text-only task of T triplets (T, 3): two true captions and a false one."""
    n = len(of_triplet)
    kinds, samples = ["swap_object"] * n, [str(i) for i in range(n)]
    found = contrast(
        images,
        captions,
        texts=[str(i) for i in range(len(captions))],
        image_of=np.repeat(image_of, 2),
        true_of=of_triplet[:, :2].ravel(),
        false_items=np.arange(2 * n),
        false_of=np.repeat(of_triplet[:, 2], 2),
        dataset="scpp",
        kinds=np.repeat(kinds, 2).tolist(),
        samples=np.repeat(samples, 2).tolist(),
        groups={SUGARCREPE_PP: np.repeat(np.arange(n), 2)},
    )
    texts = paraphrase(
        captions, triplets=of_triplet, dataset="scpp", images=image_of, kinds=kinds, samples=samples, truncated=3
    )
    return found, texts


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 999), st.integers(2, 20))
def test_sugarcrepe_pp_equals_the_published_rules_written_out(seed, n):
    rng = np.random.default_rng(seed)
    images, captions = rng.normal(size=(6, 4)), rng.normal(size=(9, 4))
    image_of, of_triplet = rng.integers(0, 6, n), rng.integers(0, 9, (n, 3))
    image_of[:2] = 0, 1
    both = text = 0
    for image, (p1, p2, neg) in zip(image_of, of_triplet, strict=True):
        to_p1, to_p2, to_neg = (cosine(images[image], captions[i]) for i in (p1, p2, neg))
        both += neg not in {p1, p2} and to_p1 > to_neg and to_p2 > to_neg
        same, first, second = (cosine(captions[a], captions[b]) for a, b in ((p1, p2), (p1, neg), (p2, neg)))
        text += neg not in {p1, p2} and same > first and same > second
    found, texts = triplets(images, captions, image_of, of_triplet)
    score, alone = whole_groups(found, SUGARCREPE_PP), text_only_task(texts)
    assert (score.metric, score.n, score.value) == (
        "composition.sugarcrepe_pp_image_to_text",
        n,
        pytest.approx(both / n),
    )
    assert (alone.metric, alone.n, alone.value) == ("composition.sugarcrepe_pp_text_only", n, pytest.approx(text / n))
    assert score.value <= accuracy(found).value == score.details["accuracy"]
    assert score.details["accuracy.swap_object"] == score.value
    assert alone.details == {"accuracy.swap_object": alone.value, "captions_truncated": 3}
    for one in (score, alone):
        assert one.interval.low <= one.value <= one.interval.high
        assert one.evidence.strata[0].columns["outcome"].mean() == pytest.approx(one.value, abs=1e-6)


def test_random_features_have_chance_level_on_both_tasks():
    rng = np.random.default_rng(0)
    n = 20000
    found, texts = triplets(
        rng.normal(size=(n, 8)), rng.normal(size=(3 * n, 8)), np.arange(n), np.arange(3 * n).reshape(n, 3)
    )
    for one in (whole_groups(found, SUGARCREPE_PP), text_only_task(texts)):
        assert one.chance == 1 / 3
        assert one.value == pytest.approx(1 / 3, abs=4 * (2 / 9 / n) ** 0.5)


def test_a_model_that_cannot_tell_texts_apart_is_never_right():
    captions = np.ones((3, 4))
    found, texts = triplets(np.eye(4), captions, np.arange(4), np.tile([0, 1, 2], (4, 1)))
    assert whole_groups(found, SUGARCREPE_PP).value == text_only_task(texts).value == 0


def scenes(right):
    """Return the answers to sets of four images (S, 4), of which the first two and the last two are pairs."""
    n = right.size
    return Contrasts(
        dataset="whatsup",
        true=right.ravel().astype(float),
        false=np.full(n, 0.5),
        blind_true=np.zeros(n),
        blind_false=np.zeros(n),
        images=np.arange(n),
        choices=np.full(n, 4),
        kinds=["on", "under", "left", "right"] * len(right),
        samples=[f"{i}.jpeg" for i in range(n)],
        true_texts=["a"] * n,
        false_texts=["b"] * n,
        groups={WHATSUP_PAIR: np.arange(n) // 2, WHATSUP_SET: np.arange(n) // 4},
    )


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(*[st.booleans()] * 4), min_size=1, max_size=12))
def test_whatsup_counts_pairs_and_sets_as_its_authors_do(rows):
    right = np.array(rows)
    pair = sum((a and b) + (c and d) for a, b, c, d in rows) / (right.size / 2)
    whole = sum(all(row) for row in rows) / (right.size / 4)
    found = scenes(right)
    assert accuracy(found).value == pytest.approx(right.mean())
    pairs, sets = (whole_groups(found, score) for score in (WHATSUP_PAIR, WHATSUP_SET))
    assert (pairs.metric, pairs.n, pairs.value) == ("composition.whatsup_pair", right.size // 2, pytest.approx(pair))
    assert (sets.metric, sets.n, sets.value) == ("composition.whatsup_set", right.size // 4, pytest.approx(whole))
    assert (pairs.chance, sets.chance) == (1 / 16, 1 / 256)
    assert sets.details == {"accuracy": pytest.approx(right.mean()), "blind": 0.0}
    assert sets.samples == [f"{i}.jpeg" for i in range(0, right.size, 4)]


def test_guessing_has_chance_level():
    rng = np.random.default_rng(0)
    found = scenes(rng.integers(0, 4, (20000, 4)) == 0)
    for score in (WHATSUP_PAIR, WHATSUP_SET):
        one = whole_groups(found, score)
        assert one.interval.low < one.chance < one.interval.high


def test_answering_by_position_does_not_win():
    """The published files list the true caption first; a model to which all captions are alike is never right."""
    n = 8
    found = contrast(
        np.eye(n),
        np.ones((4, n)),
        texts=list("abcd"),
        image_of=np.arange(n),
        true_of=np.arange(n) % 4,
        false_items=np.repeat(np.arange(n), 3),
        false_of=np.concatenate([[j for j in range(4) if j != i % 4] for i in range(n)]),
        dataset="whatsup",
        kinds=["on"] * n,
        samples=[""] * n,
        groups={WHATSUP_SET: np.arange(n) // 4},
    )
    assert accuracy(found).value == whole_groups(found, WHATSUP_SET).value == 0


def test_a_set_without_such_groups_is_named():
    found = scenes(np.ones((1, 4), bool))
    with pytest.raises(
        MeasurementError, match="'whatsup' has no groups for the score 'sugarcrepe_pp_image_to_text'; it"
    ):
        whole_groups(found, SUGARCREPE_PP)
    with pytest.raises(MeasurementError, match="no groups for the score 'both'; it has whatsup_pair, whatsup_set"):
        whole_groups(found, "both")


def test_one_headline_per_set():
    assert [name for name, score in GROUP_SCORES.items() if score.metric.headline] == [SUGARCREPE_PP]
