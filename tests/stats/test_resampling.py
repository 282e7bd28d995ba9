from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.core.evidence import Stratum, Term, mean_evidence, sums_evidence
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.stats import resampling
from pytest_clip_robust.stats.intervals import wilson
from pytest_clip_robust.stats.resampling import (
    BLOCKS,
    REPLICATES,
    block_sums,
    interval_of,
    percentile_interval,
    resample,
    value_from,
)

UNDEFINED = np.full(REPLICATES + 1, np.nan)


def mean_of(values):
    stratum = Stratum(name="x", columns={"value": np.asarray(values, dtype=np.float32)})
    return sums_evidence(
        [stratum], lambda columns: [Term(columns["value"]), Term()], lambda sums: (sums[0][0] / sums[0][1])[:, 0]
    )


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(-5, 5)), min_size=1, max_size=40))
def test_block_sums_equal_the_sums_of_their_samples(rows):
    block, cell, weight = np.array(rows).T
    sums = block_sums(Term(weight, cell, 3), block, 4)
    expected = np.zeros((4, 3))
    np.add.at(expected, (block, cell), weight)
    assert sums.tolist() == expected.tolist()
    assert block_sums(Term(), block, 4).sum() == len(rows)


def test_the_first_row_is_the_value_on_all_samples():
    values = np.random.default_rng(0).normal(size=5000)
    assert value_from(mean_of(values)) == pytest.approx(values.mean(), abs=1e-6)
    assert resample(mean_of(values))[0][0] == pytest.approx(values.mean(), abs=1e-6)


@pytest.mark.parametrize("n", [50, BLOCKS, 20_000])
def test_the_spread_of_replicates_is_the_standard_error_for_any_block_size(n):
    values = np.random.default_rng(1).exponential(size=n)
    (drawn,) = resample(mean_of(values), replicates=2000)
    assert drawn[1:].std() == pytest.approx(values.std() / n**0.5, rel=0.08)


def test_two_models_are_resampled_with_the_same_blocks():
    values = np.random.default_rng(2).normal(size=300)
    one, other = resample(mean_of(values), mean_of(values + 1))
    assert other - one == pytest.approx(np.ones(len(one)), abs=1e-5)


def test_strata_keep_their_sizes():
    strata = [Stratum(name=name, columns={"one": np.ones(n, np.float32)}) for name, n in (("a", 30), ("b", 70))]
    counted = sums_evidence(strata, lambda _: [Term()], lambda sums: np.hstack([one[0] for one in sums]))
    (drawn,) = resample(counted)
    assert (drawn == [30, 70]).all()


def test_evidence_without_a_statistic_is_an_error():
    with pytest.raises(MeasurementError, match="evidence for the test 'mean' has no statistic to resample"):
        resample(mean_evidence("x", np.ones(3)))


def test_models_with_different_samples_are_an_error():
    with pytest.raises(MeasurementError, match=r"\{'x': 3\} and of \{'x': 4\} samples cannot be paired"):
        resample(mean_of(np.ones(3)), mean_of(np.ones(4)))


def test_an_interval_consists_of_quantiles_of_resampled_means():
    rng = np.random.default_rng(1)
    values = (rng.random(400) < 0.3).astype(float)
    found = interval_of(mean_of(values))
    slow = [values[rng.integers(0, 400, 400)].mean() for _ in range(4000)]
    assert found.low == pytest.approx(np.quantile(slow, 0.025), abs=0.008)
    assert found.high == pytest.approx(np.quantile(slow, 0.975), abs=0.008)


def test_an_interval_has_its_nominal_coverage():
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(300):
        interval = interval_of(mean_of(rng.random(200) < 0.4))
        hits += interval.low <= 0.4 <= interval.high
    assert 0.91 <= hits / 300 <= 0.98


def test_an_interval_is_centred_on_the_exact_value_and_clipped_to_the_bounds():
    values = np.random.default_rng(3).random(50)
    plain, moved = interval_of(mean_of(values)), interval_of(mean_of(values), value=0.98, bounds=(0.0, 1.0))
    assert moved.low == pytest.approx(0.98 - (plain.high - plain.low) / 2, abs=0.02)
    assert moved.high == 1.0


@given(st.integers(1, 40), st.sampled_from([0.0, 1.0]))
def test_equal_samples_give_an_interval_of_positive_width(n, value):
    evidence = mean_of(np.full(n, value))
    found, expected = interval_of(evidence, bounds=(0.0, 1.0)), wilson(int(n * value), n)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert interval_of(evidence, bounds=(0.0, 1.0), size=1).low <= found.low
    assert interval_of(evidence).low == interval_of(evidence).high == value


def test_undefined_replicates_are_ignored():
    interval = percentile_interval(np.array([np.nan, 1.0, 2.0, 3.0]), level=0.5)
    assert (interval.low, interval.high) == (1.5, 2.5)


def test_a_value_that_is_undefined_on_every_replicate_has_no_interval():
    evidence = sums_evidence(mean_of([0.0, 1.0]).strata, lambda columns: [Term(columns["value"])], lambda _: UNDEFINED)
    with pytest.raises(MeasurementError, match="undefined on every replicate"):
        interval_of(evidence)


@pytest.mark.parametrize("sizes", [[7], [40, 3], [BLOCKS, 5000, 1], [BLOCKS] * 4])
def test_replicates_are_the_same_again_and_whether_or_not_they_are_kept(sizes, monkeypatch):
    rng = np.random.default_rng(4)
    strata = [
        Stratum(name=str(i), columns={"value": rng.normal(size=n).astype(np.float32)}) for i, n in enumerate(sizes)
    ]
    evidence = sums_evidence(
        strata, lambda columns: [Term(columns["value"])], lambda sums: sum(one[0][:, 0] for one in sums)
    )
    first, again = (resample(evidence)[0] for _ in range(2))
    monkeypatch.setattr(resampling, "DRAWS_KEPT", 0)
    assert first.tolist() == again.tolist() == resample(evidence)[0].tolist()
