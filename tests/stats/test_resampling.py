from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.core.evidence import Stratum, Term, mean_evidence, sums_evidence
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.stats.resampling import BLOCKS, block_sums, resample, value_of


def mean_of(values):
    stratum = Stratum(name="x", columns={"value": np.asarray(values, dtype=np.float32)})
    return sums_evidence(
        [stratum], lambda columns: [Term(columns["value"]), Term()], lambda sums: (sums[0][0] / sums[0][1])[:, 0]
    )


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(-5, 5)), min_size=1, max_size=40))
def test_blocks_add_up_cell_by_cell(rows):
    block, cell, weight = np.array(rows).T
    sums = block_sums(Term(weight, cell, 3), block, 4)
    expected = np.zeros((4, 3))
    np.add.at(expected, (block, cell), weight)
    assert sums.tolist() == expected.tolist()
    assert block_sums(Term(), block, 4).sum() == len(rows)


def test_the_first_row_is_the_value_on_all_samples():
    values = np.random.default_rng(0).normal(size=5000)
    assert value_of(mean_of(values)) == pytest.approx(values.mean(), abs=1e-6)
    assert resample(mean_of(values))[0][0] == pytest.approx(values.mean(), abs=1e-6)


@pytest.mark.parametrize("n", [50, BLOCKS, 20_000])
def test_the_spread_is_the_standard_error_however_many_samples_share_a_block(n):
    values = np.random.default_rng(1).exponential(size=n)
    (drawn,) = resample(mean_of(values), replicates=2000)
    assert drawn[1:].std() == pytest.approx(values.std() / n**0.5, rel=0.08)


def test_models_are_resampled_together():
    values = np.random.default_rng(2).normal(size=300)
    one, other = resample(mean_of(values), mean_of(values + 1))
    assert other - one == pytest.approx(np.ones(len(one)), abs=1e-5)


def test_strata_keep_their_sizes():
    strata = [Stratum(name=name, columns={"one": np.ones(n, np.float32)}) for name, n in (("a", 30), ("b", 70))]
    counted = sums_evidence(strata, lambda _: [Term()], lambda sums: np.hstack([one[0] for one in sums]))
    (drawn,) = resample(counted)
    assert (drawn == [30, 70]).all()


def test_evidence_without_a_statistic_is_refused():
    with pytest.raises(MeasurementError, match="evidence for the test 'mean' has no statistic to resample"):
        resample(mean_evidence("x", np.ones(3)))


def test_models_of_other_samples_are_refused():
    with pytest.raises(MeasurementError, match=r"\{'x': 3\} and of \{'x': 4\} samples cannot be paired"):
        resample(mean_of(np.ones(3)), mean_of(np.ones(4)))
