"""Tests of ranks against sorting the full matrix, for several block sizes and with exact ties."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.scoring.ranks import rank_both
from pytest_clip_robust.scoring.vectors import cosines, unit_rows


def slow(images, captions, pairs):
    """Return the rank of the best matching candidate of every query, by sorting by score and then by index."""
    units = [features / np.linalg.norm(features, axis=1, keepdims=True) for features in (images, captions)]
    left, right = (unit.astype(np.float32).astype(np.float64) for unit in units)
    scores = np.array([[np.dot(a, b) for b in right] for a in left])
    own = {(int(i), int(j)) for i, j in pairs}

    def ranks(table, is_right):
        found = []
        for query, row in enumerate(table):
            order = sorted(range(len(row)), key=lambda candidate: (-row[candidate], candidate))
            wrong_before = 0
            for candidate in order:
                if is_right(query, candidate):
                    break
                wrong_before += 1
            found.append(wrong_before + 1)
        return found

    return ranks(scores, lambda i, j: (i, j) in own), ranks(scores.T, lambda j, i: (i, j) in own)


def world(n, m, *, seed=0, width=6, extra=0):
    """Return random features, and pairs that contain every image and every caption."""
    rng = np.random.default_rng(seed)
    pairs = [(i, i % m) for i in range(n)] + [(j % n, j) for j in range(m)]
    pairs += [(int(rng.integers(n)), int(rng.integers(m))) for _ in range(extra)]
    return rng.normal(size=(n, width)), rng.normal(size=(m, width)), np.array(pairs)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 12), st.integers(1, 15), st.integers(0, 999), st.integers(0, 6), st.integers(1, 5))
def test_ranks_equal_a_full_sort_for_every_block_size(n, m, seed, extra, block):
    images, captions, pairs = world(n, m, seed=seed, extra=extra)
    expected = slow(images, captions, pairs)
    for rows, columns in ((128, 32768), (block, 2 * block)):
        by_image, by_caption = rank_both(images, captions, pairs, rows=rows, columns=columns)
        assert (by_image.ranks.tolist(), by_caption.ranks.tolist()) == expected


@settings(deadline=None, max_examples=60)
@given(st.data(), st.integers(1, 8), st.integers(1, 12))
def test_ties_go_to_the_lower_index(data, n, m):
    """Use features from a few directions, which have many exact ties."""
    directions = np.random.default_rng(0).normal(size=(3, 96))
    images = directions[data.draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))]
    captions = directions[data.draw(st.lists(st.integers(0, 2), min_size=m, max_size=m))]
    pairs = np.array([(i, i % m) for i in range(n)] + [(j % n, j) for j in range(m)])
    found = rank_both(images, captions, pairs)
    same = (directions[:, None] == directions[None]).all(axis=-1)
    assert same.sum() == 3
    by_image, by_caption = rank_both(images, captions, pairs, rows=3, columns=2)
    assert [one.ranks.tolist() for one in found] == [by_image.ranks.tolist(), by_caption.ranks.tolist()]
    left, right = unit_rows(images, "image"), unit_rows(captions, "caption")
    exact = np.array([[cosines(left, right, np.array([i]), np.array([j]))[0] for j in range(m)] for i in range(n)])
    own = {tuple(pair) for pair in pairs.tolist()}
    for i, rank in enumerate(found[0].ranks):
        order = sorted(range(m), key=lambda j: (-exact[i, j], j))
        best = next(j for j in order if (i, j) in own)
        assert rank == 1 + sum((i, j) not in own for j in order[: order.index(best)])


def test_a_model_with_equal_scores_everywhere_is_correct_only_for_the_first():
    images, captions = np.ones((4, 512)), np.ones((8, 512))
    pairs = np.column_stack([np.repeat(np.arange(4), 2), np.arange(8)])
    by_image, by_caption = rank_both(images, captions, pairs)
    assert by_image.ranks.tolist() == [1, 3, 5, 7]
    assert by_caption.ranks.tolist() == [1, 1, 2, 2, 3, 3, 4, 4]


def test_other_matching_candidates_do_not_lower_the_rank():
    images = np.array([[1.0, 0.0], [0.0, 1.0]])
    captions = np.array([[1.0, 0.1], [1.0, 0.2], [1.0, 0.3], [0.0, 1.0]])
    pairs = np.array([[0, 0], [0, 2], [1, 3], [1, 1]])
    by_image, _ = rank_both(images, captions, pairs)
    assert by_image.ranks.tolist() == [1, 1]
    assert by_image.best.tolist() == [0, 3]
    assert by_image.rivals.tolist() == [1, 2]


def test_recall_equals_a_sort_by_torch():
    """Use several blocks in both directions, and five captions per image."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(300, 64)).astype(np.float32)
    captions = np.repeat(images, 5, axis=0) + 3 * rng.normal(size=(1500, 64)).astype(np.float32)
    own = np.repeat(np.arange(300), 5)
    by_image, by_caption = rank_both(images, captions, np.column_stack([own, np.arange(1500)]), rows=77, columns=400)
    left, right = (torch.nn.functional.normalize(torch.from_numpy(one).double(), dim=1) for one in (images, captions))
    order = torch.argsort(left @ right.T, dim=1, descending=True, stable=True).numpy()
    first = (own[order] == np.arange(300)[:, None]).argmax(axis=1)
    assert (by_image.ranks == first + 1).all()
    order = torch.argsort(right @ left.T, dim=1, descending=True, stable=True).numpy()
    assert (by_caption.ranks == (order == own[:, None]).argmax(axis=1) + 1).all()
    assert 0.1 < (by_caption.ranks == 1).mean() < 0.95


def test_rivals_are_the_best_wrong_candidates():
    images, captions, pairs = world(40, 70, seed=5, width=16, extra=30)
    left, right = unit_rows(images, "image"), unit_rows(captions, "caption")
    scores = left.astype(np.float64) @ right.T.astype(np.float64)
    best = np.where(np.isin(np.arange(40 * 70), pairs[:, 0] * 70 + pairs[:, 1]).reshape(40, 70), scores, -2)
    wrong = np.where(best > -2, -2, scores)
    for found, axis in zip(rank_both(images, captions, pairs, rows=16, columns=16), (1, 0), strict=True):
        assert (found.rivals == wrong.argmax(axis=axis)).all()
        assert (found.best == best.argmax(axis=axis)).all()
        assert np.allclose(found.leads, wrong.max(axis=axis) - best.max(axis=axis), atol=1e-6)


def test_errors_name_what_cannot_be_ranked():
    images, captions, pairs = world(3, 4)
    with pytest.raises(MeasurementError, match="caption 3 is in no pair"):
        rank_both(images, captions, pairs[pairs[:, 1] != 3])
    with pytest.raises(MeasurementError, match="image 2 is in no pair"):
        rank_both(images, captions, pairs[pairs[:, 0] != 2])
    with pytest.raises(MeasurementError, match=r"image features \(3, 6\) and caption features \(4, 5\): widths differ"):
        rank_both(images, captions[:, :5], pairs)
    images[1] = 0
    with pytest.raises(MeasurementError, match="image feature 1 has norm 0, so it cannot be normalised"):
        rank_both(images, captions, pairs)
    captions[2, 0] = np.nan
    with pytest.raises(MeasurementError, match="caption feature 2 has norm nan"):
        rank_both(np.ones((3, 6)), captions, pairs)
