"""Paired tests: is one model worse than another on the same samples, by more than chance explains?

Every test is one-sided; the null hypothesis is that the second model is not worse. A loss is positive if the second
model is worse, for metrics of either direction.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc, ndtri, stdtr, stdtrit
from scipy.stats import rankdata, skew

from pytest_clip_robust.core.arrays import Floats
from pytest_clip_robust.core.evidence import Evidence
from pytest_clip_robust.core.measurement import Direction, Interval
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.stats.intervals import LEVEL, ROUNDING
from pytest_clip_robust.stats.resampling import blocks_of, resample

POWER = 0.8
"""The probability with which a loss of the minimum detectable effect is found."""

SKEWNESS_FACTOR = 1.5
"""A sample of N = 40 from a skewed population shows about two thirds of its skewness or less."""

FEWEST_FOR_SKEWNESS = 3

VISIBLE = 10
"""The share of replicates in a tail counts as its p-value only if the tail holds at least this many of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two models compared on the same samples.

    difference: the second value minus the first, with its two-sided `interval` at 95 %.
    p_worse, p_better: one-sided p-values of a difference at least as bad, or as good, under the null hypothesis.
    error: the standard error of the difference.
    step: the loss of a single sample in the units of the value for tests on counts, else 0.
    method: the name of the test.
    """

    difference: float
    interval: Interval
    p_worse: float
    p_better: float
    error: float
    step: float
    method: str

    def minimum_detectable_effect(self, alpha: float) -> float:
        """Return the loss that a test at level `alpha` finds with a probability of 80 %, in the units of the value."""
        return minimum_detectable_effect(self.error, self.step, alpha)


def compare(before: Evidence, after: Evidence, *, direction: Direction, difference: float | None = None) -> Comparison:
    """Compare two models' evidence on the same samples by the test for its kind.

    `difference` (after minus before) is that of the exact values, in case evidence is coarser; see `bootstrap`.

    Raises:
        MeasurementError: the samples or the kinds of evidence differ.
    """
    if before.test != after.test or before.shape() != after.shape():
        raise MeasurementError(
            f"evidence of {before.test} over {before.shape()} and of {after.test} over {after.shape()} cannot be paired"
        )
    if after.test == "auroc":
        (in_before, out_before), (in_after, out_after) = (
            [stratum.columns["score"] for stratum in one.strata] for one in (before, after)
        )
        return delong((in_before, out_before), (in_after, out_after), direction=direction)
    if after.test == "sums":
        return bootstrap(before, after, direction=direction, difference=difference)
    old, new = (one.strata[0].columns["outcome"] for one in (before, after))
    if old.dtype == np.bool_ and new.dtype == np.bool_:
        return mcnemar(old, new, direction=direction)
    return paired_t(old.astype(np.float64), new.astype(np.float64), direction=direction)


def minimum_detectable_effect(error: float, step: float, alpha: float) -> float:
    """Return the loss that a test at level `alpha` finds with probability `POWER`, in the units of the value.

    `error` and `step` are those of a `Comparison`. For tests on counts it is at least the smallest loss that can be
    significant at all: the mid-p of k lost samples, without a gained one, is ``2^-(k + 1)``.
    """
    fewest_lost = np.ceil(np.log2(1 / alpha) - 1)
    return float(max((ndtri(1 - alpha) + ndtri(POWER)) * error, step * fewest_lost))


def times_more_samples(error: float, step: float, alpha: float, *, loss: float) -> float:
    """Return how many times as many samples a test at level `alpha` needs to find a `loss` with probability `POWER`.

    The error shrinks with the square root of the number of samples, the step with the number itself.
    """
    of_error = minimum_detectable_effect(error, 0.0, alpha) / loss
    return max(of_error**2, minimum_detectable_effect(0.0, step, alpha) / loss)


def mcnemar(before: NDArray[np.bool_], after: NDArray[np.bool_], *, direction: Direction = "higher") -> Comparison:
    """Compare two proportions of (N,) paired outcomes by McNemar's test (1947) on the discordant pairs, with mid-p.

    The exact test counts the whole probability of the observed split as evidence against the loss, and with few
    discordant pairs its false-alarm rate is far below its level. Mid-p counts half of it (Fagerland, Lydersen and Laake
    2013, BMC Medical Research Methodology 13:91). For a given number of discordant pairs its rate can be up to twice
    the level. Over data sets, whose numbers of pairs vary, the rates at 0.05, 0.01 and 0.001 are at most 1.003 times
    the level. At no level of up to 0.05 is the rate more than 1.02 times the level if discordant pairs are rare, or
    1.06 times if half of all pairs are discordant, the most to expect of equally good models with independent errors.
    `benchmarks/levels.py` computes these rates.

    Without a discordant pair both p-values are 1. The interval is the adjusted Wald interval of Bonett and Price
    (2012).
    """
    n = len(after)
    lost, gained = int((before & ~after).sum()), int((~before & after).sum())
    worse, better = (lost, gained) if direction == "higher" else (gained, lost)
    spread = max(lost + gained - (gained - lost) ** 2 / n, 0.0) ** 0.5 / n
    return Comparison(
        difference=(gained - lost) / n,
        interval=_bonett_price(lost, gained, n),
        p_worse=_mid_tail(worse, lost + gained),
        p_better=_mid_tail(better, lost + gained),
        # n samples without a discordant pair do not prove that none exists, so one is assumed.
        error=max(spread, 1 / n),
        step=1 / n,
        method="McNemar, mid-p",
    )


def paired_t(before: Floats, after: Floats, *, direction: Direction = "higher") -> Comparison:
    """Compare two means of (N,) paired outcomes by Student's paired test, corrected for skewness.

    A few samples with large gains that the set happens to miss make Student's test call a loss far more often than its
    level. Each p-value is the larger one of Student's t and of Hall's cubic transformation of t (Hall 1992, Journal of
    the Royal Statistical Society B 54). Samples are less skewed than a skewed population, so the transformation takes
    their skewness times `SKEWNESS_FACTOR` plus one standard error. `benchmarks/levels.py` measures the level.

    Raises:
        MeasurementError: a single pair has no spread.
    """
    n = len(after)
    if n < 2:
        raise MeasurementError(f"{n} pair of outcomes has no spread; give at least 2")
    change = after - before
    found = _from_error(
        float(change.mean()), float(change.std(ddof=1)) / n**0.5, freedom=n - 1, direction=direction, method="paired t"
    )
    if n < FEWEST_FOR_SKEWNESS or np.ptp(change) <= ROUNDING * np.abs(change).max():
        return found
    gains = change if direction == "higher" else -change
    student, skewness = float(gains.mean() / gains.std(ddof=1)) * n**0.5, float(skew(gains, bias=False))
    return replace(
        found,
        p_worse=max(found.p_worse, _skewed_tail(-student, -skewness, n)),
        p_better=max(found.p_better, _skewed_tail(student, skewness, n)),
        method="paired t, skewness-corrected",
    )


def delong(
    before: tuple[Floats, Floats], after: tuple[Floats, Floats], *, direction: Direction = "higher"
) -> Comparison:
    """Compare the AUROC of two models' scores, each of the same positives (P,) and negatives (Q,) (DeLong et al. 1988).

    Raises:
        MeasurementError: a side has fewer than two samples.
    """
    fewest = min(len(after[0]), len(after[1]))
    if fewest < 2:
        raise MeasurementError(f"an AUROC over {fewest} sample on one side has no spread; give at least 2")
    old, new = _placements(*before), _placements(*after)
    difference = float(new[0].mean() - old[0].mean())
    variance = sum(float(np.var(one - other, ddof=1)) / len(one) for one, other in zip(new, old, strict=True))
    return _from_error(difference, variance**0.5, freedom=np.inf, direction=direction, method="DeLong, paired")


def bootstrap(
    before: Evidence, after: Evidence, *, direction: Direction, difference: float | None = None
) -> Comparison:
    """Compare two values of a statistic of sums by the paired stratified bootstrap.

    The p-value is that of the difference over its bootstrap standard error under Student's t, or the share of recentred
    replicates that are as large as the difference, if that is larger (Davison and Hinkley 1997, section 4.4). Evidence
    can be coarser than the exact values; replicates are then centred on their `difference` (after minus before).

    Raises:
        MeasurementError: the statistic is undefined on these samples, or on most of their replicates.
    """
    if before.same_numbers(after):
        return _from_error(
            0.0 if difference is None else difference,
            0.0,
            freedom=np.inf,
            direction=direction,
            method="paired bootstrap",
        )
    new, old = resample(after, before)
    change = new - old
    difference = float(change[0]) if difference is None else difference
    replicates = change[1:][np.isfinite(change[1:])]
    if not np.isfinite(difference) or len(replicates) < len(change) / 2:
        raise MeasurementError("the value is undefined on these samples, or on most replicates of them")
    spread = replicates - np.median(replicates)
    low, high = np.quantile(spread, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    found = _from_error(
        difference,
        float(replicates.std(ddof=1)),
        freedom=sum(blocks_of(n) - 1 for n in after.shape().values()),
        direction=direction,
        method="paired bootstrap",
    )
    sign = 1 if direction == "higher" else -1
    return replace(
        found,
        interval=Interval(difference - float(high), difference - float(low), LEVEL, "basic bootstrap"),
        p_worse=max(found.p_worse, _visible_tail(-sign * spread, -sign * difference)),
        p_better=max(found.p_better, _visible_tail(sign * spread, sign * difference)),
    )


def unpaired(before: tuple[float, Interval], after: tuple[float, Interval], *, direction: Direction) -> Comparison:
    """Compare two values by their intervals alone, as if their samples were independent: weaker than a paired test.

    The error of the difference comes from the sides of the intervals that face each other (Zou and Donner 2008,
    Statistics in Medicine 27). The interval of a median rank can end at its value on one side, which says nothing about
    that side, so that errors from whole widths would call a change from rank 1 to rank 2 certain. If the sides that
    face each other have no width, both p-values are 1.
    """
    (old, of_old), (new, of_new) = before, after
    z_old, z_new = (float(ndtri(0.5 + one.level / 2)) for one in (of_old, of_new))
    below = float(np.hypot((of_old.high - old) / z_old, (new - of_new.low) / z_new))
    above = float(np.hypot((old - of_old.low) / z_old, (of_new.high - new) / z_new))
    half = float(ndtri(0.5 + LEVEL / 2))
    found = _from_error(
        new - old, below if new > old else above, freedom=np.inf, direction=direction, method="unpaired intervals"
    )
    return replace(
        found,
        interval=Interval(new - old - half * below, new - old + half * above, LEVEL, found.method),
        error=max(below, above),
    )


def _from_error(difference: float, error: float, *, freedom: float, direction: Direction, method: str) -> Comparison:
    """Return the comparison of a difference with this standard error; an error of 0 gives p-values of 1."""
    better = difference if direction == "higher" else -difference
    half = float(stdtrit(freedom, 0.5 + LEVEL / 2)) * error
    return Comparison(
        difference=difference,
        interval=Interval(difference - half, difference + half, LEVEL, method),
        p_worse=float(stdtr(freedom, better / error)) if error > 0 else 1.0,
        p_better=float(stdtr(freedom, -better / error)) if error > 0 else 1.0,
        error=error,
        step=0.0,
        method=method,
    )


def _skewed_tail(student: float, skewness: float, n: int) -> float:
    """Return the one-sided p-value of a mean above 0 of n values, by Hall's transformation of Student's t."""
    error = (6 / n) ** 0.5
    # Only a long tail of gains, which these samples may have missed, makes a loss look more certain than it is.
    if skewness < -error:
        skewness = SKEWNESS_FACTOR * skewness - error
    corrected = (
        student + skewness * student**2 / (3 * n**0.5) + skewness**2 * student**3 / (27 * n) + skewness / (6 * n**0.5)
    )
    return float(stdtr(n - 1, -corrected))


def _mid_tail(successes: int, n: int) -> float:
    """Return the probability of more than `successes` heads of n coins, plus half that of as many."""
    return float(bdtrc(successes - 1, n, 0.5) + bdtrc(successes, n, 0.5)) / 2 if n else 1.0


def _bonett_price(lost: int, gained: int, n: int) -> Interval:
    p_lost, p_gained = (lost + 1) / (n + 2), (gained + 1) / (n + 2)
    centre = p_gained - p_lost
    half = float(ndtri(0.5 + LEVEL / 2)) * ((p_lost + p_gained - centre**2) / (n + 2)) ** 0.5
    return Interval(max(-1.0, centre - half), min(1.0, centre + half), LEVEL, "Bonett-Price")


def _placements(positives: Floats, negatives: Floats) -> tuple[Floats, Floats]:
    """Return the share of negatives below each positive, and the share of positives above each negative."""
    p, q = len(positives), len(negatives)
    # From scipy 1.18 on, the ranks of float32 are float32.
    inside, outside = positives.astype(np.float64), negatives.astype(np.float64)
    together = rankdata(np.concatenate([inside, outside]))
    of_positives = (together[:p] - rankdata(inside)) / q
    of_negatives = 1 - (together[p:] - rankdata(outside)) / p
    return of_positives, of_negatives


def _visible_tail(spread: Floats, loss: float) -> float:
    beyond = int((spread >= loss).sum())
    return (beyond + 1) / (len(spread) + 1) if beyond >= VISIBLE else 0.0
