"""Tests of retrieval: recalls, ranks, and the misses of a failure."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.properties.retrieval import RECALLS, mean_rank, median_rank, recall
from pytest_clip_robust.scoring.rankings import WAYS, CaptionedImages, rank


def captioned(n=40, per_image=5, *, seed=0, noise=1.5, width=24, **fields):
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(n, width)).astype(np.float32)
    captions = np.repeat(images, per_image, axis=0)
    captions = captions + noise * rng.normal(size=captions.shape).astype(np.float32)
    return CaptionedImages(
        **{
            "dataset": "set",
            "images": images,
            "captions": captions,
            "pairs": np.column_stack([np.repeat(np.arange(n), per_image), np.arange(n * per_image)]),
            "image_names": [f"{i}.jpg" for i in range(n)],
            "texts": [f"caption {i}" for i in range(n * per_image)],
            "scale": 20.0,
        }
        | fields
    )


def test_counting_by_hand():
    """Use three orthogonal images; the second caption of the first image resembles the third image."""
    found = captioned(
        images=np.eye(3, dtype=np.float32),
        captions=np.array([[1, 0, 0.1], [0.3, 0, 1], [0, 1, 0], [0, 0.4, 0.9]], np.float32),
        pairs=np.array([[0, 0], [0, 1], [1, 2], [2, 3]]),
        image_names=["a.jpg", "b.jpg", "c.jpg"],
        texts=["an a", "a strange a", "a b", "a c"],
    )
    rankings = rank(found)
    to_text, to_image = (rankings[way] for way in WAYS)
    assert to_text.found.ranks.tolist() == [1, 1, 2]
    assert to_image.found.ranks.tolist() == [1, 2, 1, 1]
    first = recall(to_image, 1)
    assert (first.metric, first.value, first.n, first.direction) == (
        "retrieval.recall_at_1_text_to_image",
        0.75,
        4,
        "higher",
    )
    assert first.outcomes.tolist() == [1, 0, 1, 1]
    assert list(first.samples) == ["a.jpg#0: an a", "a.jpg#1: a strange a", "b.jpg#0: a b", "c.jpg#0: a c"]
    (miss,) = first.misses
    assert (miss.sample, miss.truth, miss.predicted) == ("a.jpg#1: a strange a", "a.jpg", "c.jpg")
    lead = (1 - 0.3) / np.hypot(0.3, 1)
    assert miss.confidence == pytest.approx(1 / (1 + np.exp(-20 * lead)))
    (miss,) = recall(to_text, 1).misses
    assert (miss.sample, miss.truth, miss.predicted) == ("c.jpg", "c.jpg#0: a c", "a.jpg#1: a strange a")
    assert median_rank(to_image).value == 1
    assert mean_rank(to_image).value == 1.25
    assert mean_rank(to_text).details == {"candidates": 4, "worst": 2}
    assert mean_rank(to_text).outcomes.tolist() == [1, 1, 2]


@pytest.mark.parametrize("way", WAYS)
def test_recall_grows_with_k_and_ends_at_the_worst_rank(way):
    ranking = rank(captioned())[way]
    values = [recall(ranking, k).value for k in range(1, len(ranking.candidate_names))]
    assert values == sorted(values)
    worst = int(mean_rank(ranking).details["worst"])
    assert values[worst - 1] == 1
    assert worst == 1 or values[worst - 2] < 1
    assert all(one.direction == "lower" for one in (mean_rank(ranking), median_rank(ranking)))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 999))
def test_results_do_not_depend_on_the_norm_of_features(seed):
    found = captioned(seed=seed, n=12)
    longer = captioned(seed=seed, n=12, images=4 * found.images, captions=found.captions / 2)
    for way in WAYS:
        assert (rank(found)[way].found.ranks == rank(longer)[way].found.ranks).all()


@pytest.mark.parametrize("k", RECALLS)
def test_chance_is_the_recall_of_random_features(k):
    rankings = [rank(captioned(n=30, noise=1e6, seed=seed))["image_to_text"] for seed in range(60)]
    chance = recall(rankings[0], k).chance
    assert chance == pytest.approx(1 - hypergeom(150, 5, k).pmf(0))
    measured = np.mean([recall(ranking, k).value for ranking in rankings])
    assert measured == pytest.approx(chance, abs=4 * (chance * (1 - chance) / 1800) ** 0.5)


def test_captions_of_one_image_make_the_interval_wider():
    """Five equal captions count like one."""
    found = captioned(n=60, per_image=1)
    fivefold = captioned(
        n=60,
        images=found.images,
        captions=np.repeat(found.captions, 5, axis=0),
        pairs=np.column_stack([np.repeat(np.arange(60), 5), np.arange(300)]),
        texts=[f"{i}" for i in range(300)],
    )
    one, five = (recall(rank(one)["text_to_image"], 1) for one in (found, fivefold))
    assert (one.n, five.n) == (60, 300)
    assert five.value == one.value
    assert five.interval.low == pytest.approx(one.interval.low, abs=0.005)
    assert five.interval.high == pytest.approx(one.interval.high, abs=0.005)


def test_images_that_share_a_caption_are_one_cluster():
    found = captioned(n=4, per_image=1, pairs=np.array([[0, 0], [1, 1], [2, 2], [3, 3], [2, 0]]))
    of_images, of_captions = found.clusters
    assert of_images[0] == of_images[2] == of_captions[0] == of_captions[2]
    assert len({of_images[0], of_images[1], of_images[3]}) == 3


def test_truncated_captions_are_counted_in_the_details():
    ranking = rank(captioned(truncated=3))["text_to_image"]
    assert recall(ranking, 1).details["captions_truncated"] == 3
    assert median_rank(ranking).details["captions_truncated"] == 3
    assert "captions_truncated" not in recall(rank(captioned())["text_to_image"], 1).details


def test_captions_are_named_by_their_first_image_and_shortened():
    text = "a very long caption " * 10
    found = captioned(n=2, per_image=1, texts=[text, "short"], pairs=np.array([[0, 0], [1, 0], [1, 1]]))
    assert found.caption_names[0].startswith("0.jpg#0: a very long caption a very")
    assert len(found.caption_names[0]) < 72
    assert found.caption_names[1] == "1.jpg#1: short"


def test_invalid_input_is_an_error():
    ranking = rank(captioned(n=10, per_image=1))["text_to_image"]
    with pytest.raises(MeasurementError, match="recall at 10 on 'set' is not defined among 10 candidates; expected k"):
        recall(ranking, 10)
    with pytest.raises(MeasurementError, match="pairs of shape"):
        captioned(pairs=np.zeros((0, 2), np.int64))
    with pytest.raises(MeasurementError, match="a pair has a position outside of 2 images or 2 captions"):
        captioned(n=2, per_image=1, pairs=np.array([[0, 2]]))
    with pytest.raises(MeasurementError, match="of 10 captions with 9 texts"):
        captioned(n=2, texts=["x"] * 9)


@pytest.mark.parametrize("way", WAYS)
def test_the_distribution_of_ranks_counts_every_query_once_in_bins_that_double(way):
    ranking = rank(captioned())[way]
    measured = mean_rank(ranking)
    plot, ranks = measured.plot, ranking.found.ranks
    assert plot["share"].sum() == pytest.approx(1)
    assert plot["first"][:4].tolist() == [1, 2, 3, 5]
    assert plot["last"][:4].tolist() == [1, 2, 4, 8]
    assert plot["last"][-1] == len(ranking.candidate_names)
    assert (plot["first"][1:] == plot["last"][:-1] + 1).all()
    for first, last, share in zip(plot["first"], plot["last"], plot["share"], strict=True):
        assert share == pytest.approx(((ranks >= first) & (ranks <= last)).mean())


def test_ranks_before_are_known_only_where_every_query_is_a_cluster():
    to_text, to_image = (mean_rank(rank(captioned())[way]) for way in WAYS)
    assert to_text.evidence.drawn()["share"] == pytest.approx(to_text.plot["share"])
    assert to_image.evidence.drawn() == {}


def test_two_candidates_have_two_ranks():
    plot = mean_rank(rank(captioned(n=2, per_image=1))["image_to_text"]).plot
    assert plot["last"].tolist() == [1, 2]
