"""P-values of one family, adjusted: against the step-up procedure as Benjamini and Hochberg wrote it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.stats.multiplicity import adjusted

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=30).map(np.array)


def called_by_steps(p, level):
    """The procedure of 1995: the largest k with p_(k) <= k/m q, and all up to it."""
    order = np.argsort(p, kind="stable")
    fits = [k for k, place in enumerate(order, start=1) if p[place] <= k / len(p) * level]
    cut = p[order[max(fits) - 1]] if fits else -1.0
    return p <= cut


@given(P_VALUES, st.floats(0.001, 0.5))
def test_the_same_tests_are_called_as_by_the_steps(p, level):
    near = np.abs(adjusted(p, share=1.0) - level) < 1e-9
    assert (((adjusted(p, share=1.0) <= level) == called_by_steps(p, level)) | near).all()


@given(P_VALUES, st.floats(0.05, 1.0))
def test_a_share_of_alpha_is_a_smaller_level(p, share):
    whole, part = adjusted(p, share=1.0), adjusted(p, share=share)
    assert part == pytest.approx(np.minimum(whole / share, 1.0))
    assert ((p <= part + 1e-12) & (part <= 1)).all()


@given(P_VALUES, st.randoms())
def test_the_order_does_not_matter(p, random):
    order = list(range(len(p)))
    random.shuffle(order)
    assert adjusted(p[order], share=0.5) == pytest.approx(adjusted(p, share=0.5)[order])


def test_statsmodels_agrees():
    multipletests = pytest.importorskip("statsmodels.stats.multitest").multipletests
    p = np.random.default_rng(0).uniform(size=200) ** 3
    assert adjusted(p, share=1.0) == pytest.approx(multipletests(p, method="fdr_bh")[1])


def test_no_tests_have_no_p_values():
    assert len(adjusted(np.array([]), share=0.5)) == 0
