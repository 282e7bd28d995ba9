from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from pytest_clip_robust.encoding.dense import nearest
from pytest_clip_robust.encoding.dense.nearest import FeatureMap, Neighbours, Points, two_nearest, upsample


def random_points(seed, *, features=8, cells=(5, 4), size=(12, 11), share=0.7):
    rng = torch.Generator().manual_seed(seed)
    kept = torch.flatten(torch.rand(size, generator=rng) < share).nonzero()[:, 0]
    return Points(FeatureMap(torch.randn(features, *cells, generator=rng), size), kept)


def slow_cosines(source, target):
    """Upsample features, then compare every point with every other, in float64."""
    rows = []
    for points in (source, target):
        fine = functional.interpolate(points.picture.features.double()[None], size=points.picture.size, mode="bicubic")[
            0
        ]
        rows.append(functional.normalize(fine.flatten(1)[:, points.kept], dim=0))
    return rows[0].T @ rows[1]


@given(
    st.integers(0, 1000),
    st.tuples(st.integers(2, 6), st.integers(2, 6)),
    st.tuples(st.integers(2, 6), st.integers(2, 6)),
)
def test_products_of_cells_give_the_neighbours_that_products_of_points_do(seed, one, other):
    source = random_points(seed, cells=one, size=(one[0] * 2, one[1] * 3))
    target = random_points(seed + 1, cells=other, size=(other[0] * 3, other[1] * 2), share=0.9)
    if len(source.kept) < 1 or len(target.kept) < 2:
        return

    found = two_nearest(source, target)

    cosines = slow_cosines(source, target)
    best = cosines.topk(2, dim=1).values
    torch.testing.assert_close(found.first.double(), 1 - best[:, 0], atol=1e-5, rtol=0)
    torch.testing.assert_close(found.second.double(), 1 - best[:, 1], atol=1e-5, rtol=0)
    reached = cosines.gather(1, found.index[:, None])[:, 0]
    torch.testing.assert_close(reached, best[:, 0], atol=1e-5, rtol=0)


def test_the_size_of_chunks_changes_nothing(monkeypatch):
    source, target = random_points(0), random_points(1)
    whole = two_nearest(source, target)

    monkeypatch.setattr(nearest, "COSINES_AT_A_TIME", 1)
    one_by_one = two_nearest(source, target)

    assert torch.equal(whole.index, one_by_one.index)
    torch.testing.assert_close(whole.weight, one_by_one.weight, atol=1e-5, rtol=0)


def test_a_picture_matches_itself():
    points = random_points(3)

    found = two_nearest(points, points)

    assert torch.equal(found.index, torch.arange(len(points.kept)))
    assert found.first.abs().max() < 1e-6


def test_points_that_do_not_take_part_are_never_found():
    source = random_points(0, share=1.0)
    target = Points(source.picture, torch.tensor([3, 77]))

    found = two_nearest(source, target)

    assert set(found.index.tolist()) <= {0, 1}
    assert (found.second <= 2).all()


def test_length_of_features_does_not_matter():
    source, target = random_points(0), random_points(1)
    longer = Points(FeatureMap(source.picture.features * 40, source.picture.size), source.kept)

    assert torch.equal(two_nearest(source, target).index, two_nearest(longer, target).index)


def test_the_weight_is_high_if_the_second_nearest_is_much_farther():
    found = Neighbours(torch.tensor([0, 0, 0]), torch.tensor([0.1, 0.4, 0.0]), torch.tensor([0.4, 0.4, 0.0]))

    assert found.weight.tolist() == pytest.approx([0.75, 0.0, 0.0])


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4))
def test_upsampling_is_torchs_bicubic(height, width, times):
    maps = torch.randn(3, height, width, generator=torch.Generator().manual_seed(height * 10 + width))
    size = (height * times + 1, width * times)

    expected = functional.interpolate(maps[None], size=size, mode="bicubic", align_corners=False)[0]

    torch.testing.assert_close(upsample(maps, size), expected, atol=1e-5, rtol=1e-5)
