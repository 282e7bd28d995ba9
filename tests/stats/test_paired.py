"""Tests of the paired tests against statsmodels, SciPy, naive definitions, published counts and simulations."""

from __future__ import annotations

import csv
import gzip
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, norm, poisson, ttest_rel
from sklearn.metrics import roc_auc_score
from statsmodels.stats.contingency_tables import mcnemar as mcnemar_of_statsmodels
from strategies import PAIRED_OUTCOMES

from pytest_clip_robust.core.evidence import Stratum, Term, auroc_evidence, mean_evidence, sums_evidence
from pytest_clip_robust.core.measurement import Interval
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.stats import paired


def of_pairs(*, lost, gained, both=50, neither=50):
    before = np.repeat([True, False, True, False], [lost, gained, both, neither])
    after = np.repeat([False, True, True, False], [lost, gained, both, neither])
    return before, after


def mean_of_sums(dataset, outcomes):
    """Return the evidence of a mean, expressed as a statistic of sums."""
    stratum = Stratum(name=dataset, columns={"outcome": outcomes.astype(np.float32)})
    return sums_evidence(
        [stratum],
        lambda columns: [Term(columns["outcome"]), Term()],
        lambda sums: (sums[0][0] / sums[0][1])[:, 0],
    )


@given(PAIRED_OUTCOMES)
def test_mcnemar_is_statsmodels_exact_p_less_half_the_probability_of_the_observed_split(pairs):
    before, after = np.array(pairs).T
    found = paired.mcnemar(before, after)
    lost, gained = int((before & ~after).sum()), int((~before & after).sum())
    two_sided = mcnemar_of_statsmodels([[0, lost], [gained, 0]], exact=True).pvalue
    half = binom.pmf(lost, lost + gained, 0.5) / 2 if lost + gained else 0
    if lost != gained:
        assert min(found.p_worse, found.p_better) == pytest.approx(two_sided / 2 - half)
    assert found.p_worse + found.p_better == pytest.approx(1 if lost + gained else 2)
    assert found.difference == pytest.approx(after.mean() - before.mean())


@given(st.integers(0, 60), st.integers(0, 60))
def test_mid_p_falls_with_every_lost_pair_and_is_at_most_the_exact_p(lost, gained):
    found, another = (paired.mcnemar(*of_pairs(lost=n, gained=gained)) for n in (lost, lost + 1))
    # Near 1, where p-values are rounded to it, the other one is small and exact.
    assert (another.p_worse, found.p_better) < (found.p_worse, another.p_better)
    assert found.p_worse <= binom.sf(lost - 1, lost + gained, 0.5)


@given(PAIRED_OUTCOMES)
def test_mcnemar_does_not_depend_on_order_and_is_antisymmetric(pairs):
    before, after = np.array(pairs).T
    found, turned = paired.mcnemar(before, after), paired.mcnemar(after, before)
    assert paired.mcnemar(before[::-1], after[::-1]) == found
    assert (found.p_worse, found.p_better) == (turned.p_better, turned.p_worse)
    assert found.interval.low == pytest.approx(-turned.interval.high)
    lower = paired.mcnemar(before, after, direction="lower")
    assert (lower.p_worse, lower.p_better) == (found.p_better, found.p_worse)


def test_mcnemar_on_published_predictions(shared):
    def rows(name):
        with gzip.open(shared / "data" / "imagenetx" / f"{name}.csv.gz", "rt") as file:
            return list(csv.DictReader(file))

    truth = {row["file_name"]: row["label"] for row in rows("filename_label")}
    right = {
        model: np.array([row["predicted_class"] == truth[row["file_name"]] for row in rows(model)])
        for model in ("ResNet50", "ViT")
    }
    golden = json.loads((shared / "golden" / "golden.json").read_text())["mcnemar_imagenet_val"]["ResNet50_vs_ViT"]
    before, after = right["ResNet50"], right["ViT"]
    lost, gained = int((before & ~after).sum()), int((~before & after).sum())
    assert (lost, gained, len(before)) == (golden["n10"], golden["n01"], golden["n"])
    found = paired.mcnemar(before, after)
    assert found.difference == pytest.approx((gained - lost) / len(before))
    assert found.p_better < 1e-25
    assert found.p_worse == pytest.approx(1)


def test_equal_models_have_no_loss_but_a_minimum_detectable_effect():
    before, after = of_pairs(lost=0, gained=0)
    found = paired.mcnemar(before, after)
    assert (found.difference, found.p_worse, found.p_better) == (0, 1, 1)
    assert found.minimum_detectable_effect(0.001) == pytest.approx(9 / len(before))


@given(st.floats(1e-6, 0.2))
def test_no_detectable_loss_is_smaller_than_one_that_can_be_significant(alpha):
    pairs = (paired.mcnemar(*of_pairs(lost=lost, gained=0, both=950 - lost)) for lost in range(1, 40))
    smallest = next(found for found in pairs if found.p_worse <= alpha * (1 + 1e-9))
    no_change = paired.mcnemar(*of_pairs(lost=0, gained=0, both=950))
    assert no_change.minimum_detectable_effect(alpha) >= -smallest.difference - 1e-12


@given(st.integers(0, 2**32 - 1), st.sampled_from(["higher", "lower"]))
def test_the_paired_t_test_is_scipys_or_larger(seed, direction):
    before, after = np.random.default_rng(seed).normal(size=(2, 30))
    found = paired.paired_t(before, after, direction=direction)
    worse = "less" if direction == "higher" else "greater"
    expected = ttest_rel(after, before, alternative=worse)
    assert found.p_worse >= expected.pvalue - 1e-12
    interval = ttest_rel(after, before).confidence_interval()
    assert (found.interval.low, found.interval.high) == pytest.approx((interval.low, interval.high))


@given(st.integers(0, 2**32 - 1), st.integers(2, 25), st.integers(2, 25), st.integers(1, 6))
def test_delong_equals_its_definition_over_pairs(seed, p, q, levels):
    rng = np.random.default_rng(seed)
    before, after = ((rng.integers(0, levels, p) + 1.0, rng.integers(0, levels, q) * 1.0) for _ in range(2))

    def won(positives, negatives):
        pairs = positives[:, None] - negatives
        return (pairs > 0) + 0.5 * (pairs == 0)

    gain = won(*after) - won(*before)
    variance = gain.mean(axis=1).var(ddof=1) / p + gain.mean(axis=0).var(ddof=1) / q
    found = paired.delong(before, after)
    assert found.difference == pytest.approx(gain.mean(), abs=1e-12)
    assert found.error == pytest.approx(variance**0.5, abs=1e-12)


def test_delong_differences_equal_those_of_scikit_learns_auroc():
    rng = np.random.default_rng(0)
    truth = np.r_[np.ones(80), np.zeros(60)]
    scores = rng.normal(size=(2, 140)) + truth
    found = paired.delong(*((one[:80], one[80:]) for one in scores))
    assert found.difference == pytest.approx(roc_auc_score(truth, scores[1]) - roc_auc_score(truth, scores[0]))


def test_delong_does_not_depend_on_monotone_transforms():
    rng = np.random.default_rng(1)
    before, after = ((rng.normal(1, 1, 40), rng.normal(0, 1, 50)) for _ in range(2))
    found = paired.delong(before, tuple(np.exp(3 * side) for side in after))
    assert found == paired.delong(before, after)


def test_the_bootstrap_of_a_mean_agrees_with_the_t_test():
    rng = np.random.default_rng(2)
    before = rng.exponential(size=3000)
    after = before + rng.normal(0.01, 0.3, 3000)
    fast = paired.bootstrap(mean_of_sums("x", before), mean_of_sums("x", after), direction="lower")
    exact = paired.paired_t(before, after, direction="lower")
    assert fast.difference == pytest.approx(exact.difference, rel=1e-4)
    assert fast.error == pytest.approx(exact.error, rel=0.08)
    assert norm.isf(fast.p_worse) == pytest.approx(norm.isf(exact.p_worse), rel=0.1)
    assert fast.interval.high == pytest.approx(exact.interval.high, abs=0.3 * exact.error)


def test_the_bootstrap_is_seeded():
    rng = np.random.default_rng(3)
    before, after = (mean_of_sums("x", rng.normal(size=100)) for _ in range(2))
    assert paired.bootstrap(before, after, direction="higher") == paired.bootstrap(before, after, direction="higher")


def test_models_with_equal_answers_do_not_differ():
    one = mean_of_sums("x", np.arange(50.0))
    found = paired.bootstrap(one, mean_of_sums("x", np.arange(50.0)), direction="higher")
    assert (found.difference, found.error, found.p_worse, found.p_better) == (0, 0, 1, 1)


def test_replicates_are_shifted_to_the_exact_difference():
    rng = np.random.default_rng(4)
    before, after = (mean_of_sums("x", rng.normal(size=200)) for _ in range(2))
    found = paired.bootstrap(before, after, direction="higher", difference=-0.5)
    assert found.difference == -0.5
    assert found.interval.low < -0.5 < found.interval.high


def test_an_undefined_statistic_is_an_error():
    nothing = np.zeros(20)
    with np.errstate(invalid="ignore"):
        undefined = sums_evidence(
            [Stratum(name="x", columns={"a": nothing.astype(np.float32)})],
            lambda columns: [Term(columns["a"])],
            lambda sums: (sums[0][0] / sums[0][0])[:, 0],
        )
        other = sums_evidence(
            [Stratum(name="x", columns={"a": np.ones(20, np.float32)})], undefined.terms, undefined.statistic
        )
        with pytest.raises(MeasurementError, match="undefined on these samples"):
            paired.bootstrap(other, undefined, direction="higher")


def test_the_kind_of_evidence_determines_the_test():
    rng = np.random.default_rng(5)
    binary, real = rng.random((2, 50)) < 0.5, rng.random((2, 50))
    for columns, method in ((binary, "McNemar, mid-p"), (real, "paired t, skewness-corrected")):
        evidence = [mean_evidence("x", one) for one in columns]
        assert paired.compare(*evidence, direction="higher").method == method
    scores = [auroc_evidence("id", rng.normal(size=20), "o", rng.normal(size=20)) for _ in range(2)]
    assert paired.compare(*scores, direction="higher").method == "DeLong, paired"
    assert paired.compare(*(mean_of_sums("x", one) for one in real), direction="higher").method == "paired bootstrap"


def test_different_samples_cannot_be_paired():
    with pytest.raises(MeasurementError, match=r"evidence of mean over \{'x': 3\} and of mean over \{'x': 4\}"):
        paired.compare(mean_evidence("x", np.ones(3)), mean_evidence("x", np.ones(4)), direction="higher")


def test_comparing_intervals_is_the_weaker_test():
    before, after = of_pairs(lost=30, gained=10, both=500, neither=160)
    narrow = paired.mcnemar(before, after)
    wide = paired.unpaired(
        (before.mean(), Interval(0.72, 0.79, 0.95, "")),
        (after.mean(), Interval(0.70, 0.76, 0.95, "")),
        direction="higher",
    )
    assert wide.difference == pytest.approx(narrow.difference)
    assert wide.error > 2 * narrow.error
    assert wide.p_worse > narrow.p_worse


@given(st.floats(0, 1), st.floats(0, 1), st.lists(st.floats(0, 0.5), min_size=4, max_size=4))
def test_comparing_intervals_turns_with_the_models_and_with_the_direction(old, new, widths):
    before = (old, Interval(old - widths[0], old + widths[1], 0.95, ""))
    after = (new, Interval(new - widths[2], new + widths[3], 0.9, ""))
    found, turned = (paired.unpaired(*pair, direction="higher") for pair in ((before, after), (after, before)))
    lower = paired.unpaired(before, after, direction="lower")
    assert found.interval.low == pytest.approx(-turned.interval.high)
    assert found.interval.low <= found.difference <= found.interval.high
    assert (lower.p_worse, lower.p_better) == (found.p_better, found.p_worse)
    if old != new:
        assert (found.p_worse, found.p_better) == pytest.approx((turned.p_better, turned.p_worse))


def test_symmetric_intervals_are_compared_by_the_normal_test_of_two_independent_values():
    before, after = (0.8, Interval(0.74, 0.86, 0.95, "")), (0.7, Interval(0.62, 0.78, 0.95, ""))
    found = paired.unpaired(before, after, direction="higher")
    error = np.hypot(0.06, 0.08) / norm.isf(0.025)
    assert found.error == pytest.approx(error)
    assert found.p_worse == pytest.approx(norm.cdf(-0.1 / error))
    assert (found.interval.low, found.interval.high) == pytest.approx((-0.2, 0.0))


def test_one_rank_of_a_median_is_not_certain_because_an_interval_has_no_width_on_the_other_side():
    wide, narrow = Interval(1.0, 2.0, 0.95, ""), Interval(2.0, 2.0, 0.95, "")
    found = paired.unpaired((1.0, wide), (2.0, narrow), direction="lower")
    assert found.p_worse == pytest.approx(0.025)
    assert found.interval.low == pytest.approx(0)
    assert paired.unpaired((2.0, wide), (3.0, Interval(3.0, 4.0, 0.95, "")), direction="lower").p_worse == 1


@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_a_loss_of_the_minimum_detectable_size_is_detected_four_times_in_five(alpha):
    rng = np.random.default_rng(6)
    n, disagreement = 4000, 0.06
    effect = paired.mcnemar(*_draw(rng, n, disagreement, 0)).minimum_detectable_effect(alpha)
    detected = [paired.mcnemar(*_draw(rng, n, disagreement, effect)).p_worse <= alpha for _ in range(300)]
    assert np.mean(detected) == pytest.approx(0.8, abs=0.09)


MOST_PAIRS = 250


@pytest.mark.parametrize("level", [0.05, 0.01, 0.001, 0.0008])
def test_the_false_alarm_rate_of_mcnemar_over_data_sets_is_at_most_its_level(level):
    """The rates are sums over the numbers of discordant pairs, so they are exact."""
    alarms = [_false_alarms(discordant, level) for discordant in range(MOST_PAIRS)]
    numbers = np.arange(MOST_PAIRS)
    rare = [poisson.pmf(numbers, expected) @ alarms for expected in (3, 6, 10, 20, 40, 100)]
    half = [binom.pmf(numbers, samples, 0.5) @ alarms for samples in range(10, MOST_PAIRS)]

    assert max(rare) <= level
    assert rare[-1] >= 0.94 * level
    assert max(half) <= 1.04 * level
    assert max(alarms) > 1.4 * level, "mid-p does not hold its level for every number of pairs"


def _false_alarms(discordant, level):
    """Return the probability of an alarm of two equally good models with so many discordant pairs."""
    for lost in range(discordant // 2, discordant + 1):
        if paired.mcnemar(*of_pairs(lost=lost, gained=discordant - lost)).p_worse <= level:
            return binom.sf(lost - 1, discordant, 0.5)
    return 0.0


def _draw(rng, n, disagreement, loss):
    """Return outcomes of two models that disagree on a share of samples; the second is worse by `loss`."""
    kind = rng.choice(3, n, p=[(disagreement + loss) / 2, (disagreement - loss) / 2, 1 - disagreement])
    agreed = rng.random(n) < 0.7
    return np.where(kind == 2, agreed, kind == 0), np.where(kind == 2, agreed, kind == 1)


SKEWED = {
    "lognormal": lambda rng, shape: rng.lognormal(0, 1.3, shape) - np.exp(1.3**2 / 2),
    "exponential": lambda rng, shape: rng.exponential(1, shape) - 1,
    "gamma": lambda rng, shape: rng.gamma(0.3, 1, shape) - 0.3,
}


@pytest.mark.parametrize("name", SKEWED)
@pytest.mark.parametrize("n", [40, 200])
def test_skewed_outcomes_raise_no_more_alarms_than_the_level(name, n):
    """Neither model is better: rare large gains of the second one make up for many small losses."""
    level, runs = 0.01, 1500
    changes = SKEWED[name](np.random.default_rng(1), (runs, n))
    found = [paired.paired_t(np.zeros(n), change) for change in changes]
    students = ttest_rel(changes, np.zeros_like(changes), axis=1, alternative="less").pvalue

    assert (students <= level).mean() > 1.5 * level
    assert np.mean([one.p_worse <= level for one in found]) <= level + 3 * (level / runs) ** 0.5


def test_the_correction_for_skewness_turns_with_the_direction_and_costs_little_without_skewness():
    rng = np.random.default_rng(2)
    before, after = rng.normal(size=(2, 200)) - np.array([[0.0], [0.3]])
    found, lower = paired.paired_t(before, after), paired.paired_t(before, after, direction="lower")

    assert (found.p_worse, found.p_better) == (lower.p_better, lower.p_worse)
    assert found.p_worse == pytest.approx(ttest_rel(after, before, alternative="less").pvalue, rel=0.5)
    assert found.p_worse >= ttest_rel(after, before, alternative="less").pvalue - 1e-12
    assert paired.paired_t(before, before - 0.5).p_worse == 0.0
