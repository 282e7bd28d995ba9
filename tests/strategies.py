"""Hypothesis strategies that tests share: outcomes, answers, logits and scores, with ties and edge values."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

PROPORTIONS = st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
"""Successes and trials."""

PAIRED_OUTCOMES = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=60)
"""Outcomes of two models on the same samples."""

SCORES = hnp.arrays(np.float64, st.integers(1, 30), elements=st.sampled_from([-3.0, 0.0, 0.5, 1.0, 2.0, 7.0]))
"""Scores with many ties."""

FINITE_SCORES = hnp.arrays(np.float64, st.integers(1, 25), elements=st.floats(-1e6, 1e6))

FEW_SCORES = st.lists(st.sampled_from([0.0, 1.0, 2.0, 5.0]), min_size=1, max_size=20)

CONFIDENT_ANSWERS = st.lists(
    st.tuples(st.sampled_from([0.0, 1 / 15, 0.2, 0.4, 0.5, 0.8, 0.999, 1.0]), st.booleans()), min_size=1, max_size=60
)
"""Confidences, some on the edges of bins, and whether the answer is correct."""

CUE_ANSWERS = st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=1, max_size=40).filter(
    lambda rows: any(shape != texture for _, shape, texture in rows)
)
"""Answer, shape and texture of images; at least one image has different classes of shape and texture."""

FACTOR_ROWS = st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=4, max_size=60).filter(
    lambda rows: not all(row[0] for row in rows) and any(row[1] for row in rows) and any(row[2] for row in rows)
)
"""Whether an answer is correct, and whether the image carries each of two factors; no column is trivial."""

TEMPLATE_ANSWERS = hnp.arrays(np.int64, st.tuples(st.integers(2, 12), st.integers(2, 5)), elements=st.integers(0, 3))
"""(N, T) answers of T templates."""

TIED_LOGITS = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 20), st.just(4)), elements=st.sampled_from([0.0, 0.5, 1.0, 2.0])
)


def logits(rows: tuple[int, int], classes: tuple[int, int], *, limit: float) -> st.SearchStrategy:
    """Draw (N, C) float32 logits between -limit and limit; `rows` and `classes` are the least and most of N and C."""
    shape = st.tuples(st.integers(*rows), st.integers(*classes))
    return hnp.arrays(np.float32, shape, elements=st.floats(-limit, limit, width=32))
