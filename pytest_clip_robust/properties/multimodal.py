"""Classification by large multimodal models: accuracy, preferred places, and answers that cannot be read.

All numbers are of `Choices`. An id ends with the number of candidates and with the way of answering
(`Choices.variant`). No answer is a wrong answer. Comparisons with the CLIP tower are in `tower_gain`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import Floats, Ints
from pytest_clip_robust.core.evidence import Column, Evidence, Stratum, Sums, Term, sums_evidence
from pytest_clip_robust.core.measurement import Measurement, Metric
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.scoring.forced_choice import GENERATED, WAYS, Choices, worst_choices
from pytest_clip_robust.stats import clusters
from pytest_clip_robust.stats.intervals import wilson
from pytest_clip_robust.stats.resampling import interval_of

ACCURACY = Metric("multimodal.accuracy_{variant}", direction="higher", tolerance=0.01, headline=False)
EVERY_ORDER = Metric("multimodal.accuracy_in_every_order_{variant}", direction="higher", tolerance=0.01, headline=False)
POSITION_BIAS = Metric("multimodal.position_bias_{variant}", direction="lower", tolerance=0.02, headline=False)
PARSE_FAILURES = Metric("multimodal.parse_failures_{variant}", direction="lower", tolerance=0.01, headline=False)
REFUSALS = Metric("multimodal.refusals_{variant}", direction="lower", tolerance=0.01, headline=False)

MOST_LIKELY = WAYS[0]
"""The way of answering that takes one pass over an image: comparisons on many sets are made with it."""


def accuracy(found: Choices, part: str = "") -> Measurement:
    """Measure the share of correct answers, averaged over orders, as ``multimodal.accuracy_<variant>``.

    `part` is the subset that the measurement names, if `found` is one (`Choices.part`), such as a kind of question.
    The interval is Wilson's at the effective number of independent questions. Free-text answers (``generated``) are a
    headline, other variants are details. `misses` begin with samples without an answer.
    """
    metric = replace(ACCURACY.named(variant=found.variant), headline=found.how == GENERATED)
    details = _unanswered(found)
    return _rate(found, metric, found.right, chance=1 / found.shown.shape[1], details=details, subset=part)


def accuracy_in_every_order(found: Choices) -> Measurement:
    """Measure the share of samples that are right in all orders, ``multimodal.accuracy_in_every_order_<variant>``.

    A model that always chooses the same place gets 0. The interval is Wilson's. There is no chance level, as it depends
    on whether guesses in several orders are independent.

    Raises:
        MeasurementError: a sample was asked once only.
    """
    if found.questions.min() < 2:
        raise MeasurementError(
            f"{found.dataset!r}: {int((found.questions < 2).sum())} samples were asked once only; ask in several orders"
        )
    right = found.shares == 1
    return Measurement.of(
        found,
        EVERY_ORDER.named(variant=found.variant),
        float(right.mean()),
        wilson(int(right.sum()), len(right)),
        outcomes=right,
        samples=found.samples,
        misses=worst_choices(found),
        details={"accuracy": float(found.shares.mean())},
    )


def position_bias(found: Choices) -> Measurement:
    """Measure the share of answers that would have to move for places to be chosen as often as they are true, 0 to 1.

    The total variation distance between the places of answers and those of true classes, as
    ``multimodal.position_bias_<variant>``. Questions without an answer count for the truths alone. `details` and `plot`
    have both shares of every place. The interval resamples samples; it is recentred, since a distance is larger on
    every replicate.

    Raises:
        MeasurementError: no question has an answer.
    """
    size = found.shown.shape[1]
    answered = np.flatnonzero(found.places >= 0)
    if not len(answered):
        raise MeasurementError(f"{found.dataset!r}: no answer to any of {len(found.places)} questions, so no place")
    answers = _counts(found.of_sample[answered], found.places[answered], len(found), size)
    truths = _counts(found.of_sample, found.truths, len(found), size)
    evidence = _bias_evidence(found.dataset, answers, truths)
    of_answers, of_truths = answers.sum(axis=0) / len(answered), truths.sum(axis=0) / len(found.places)
    value = float(np.abs(of_answers - of_truths).sum() / 2)
    favourite = int((of_answers - of_truths).argmax())
    return Measurement.of(
        found,
        POSITION_BIAS.named(variant=found.variant),
        value,
        interval_of(evidence, value=value, bounds=(0.0, 1.0)),
        evidence=evidence,
        details={f"answers.{i + 1}": float(share) for i, share in enumerate(of_answers)}
        | {f"truths.{i + 1}": float(share) for i, share in enumerate(of_truths)},
        remark=f"prefers place {favourite + 1} of {size}" if value > 0 else "prefers no place",
        plot={"place": np.arange(1.0, size + 1), "answers": of_answers, "truths": of_truths},
    )


def parse_failures(found: Choices) -> Measurement:
    """Measure the share of questions whose answer names no single one, as ``multimodal.parse_failures_<variant>``.

    Refusals are apart. `details` has the share of every reason. The interval is Wilson's at the effective size.

    Raises:
        MeasurementError: the model was not asked for free text.
    """
    _read(found)
    return _rate(found, PARSE_FAILURES, (found.places < 0) & ~_is(found, "refused"), details=_unanswered(found))


def refusals(found: Choices) -> Measurement:
    """Measure the share of questions that the model declines to answer, as ``multimodal.refusals_<variant>``.

    The interval is Wilson's at the effective size.

    Raises:
        MeasurementError: the model was not asked for free text.
    """
    _read(found)
    return _rate(found, REFUSALS, _is(found, "refused"), details=_unanswered(found))


def _rate(
    found: Choices,
    metric: Metric,
    chosen: NDArray[np.bool_],
    *,
    chance: float | None = None,
    details: Mapping[str, float] | None = None,
    subset: str = "",
) -> Measurement:
    """Measure the share of questions that are `chosen` (M,), as the mean over samples."""
    shares = found.share_of(chosen)
    several = len(chosen) if len(chosen) > len(shares) else 0
    return Measurement.of(
        found,
        metric.named(variant=found.variant),
        float(shares.mean()),
        clusters.proportion_interval(shares, np.arange(len(shares)), trials=several),
        subset=subset,
        outcomes=shares,
        samples=found.samples,
        misses=worst_choices(found),
        details=details,
        chance=chance,
    )


def _unanswered(found: Choices) -> dict[str, float]:
    """Return the share of questions without an answer, and of every reason."""
    if not found.reasons:
        return {}
    reasons = sorted(set(found.reasons) - {"named", "letter"})
    return {"unanswered": float((found.places < 0).mean())} | {
        f"unanswered.{reason}": float(_is(found, reason).mean()) for reason in reasons
    }


def _is(found: Choices, reason: str) -> NDArray[np.bool_]:
    return np.array([one == reason for one in found.reasons], dtype=np.bool_)


def _read(found: Choices) -> None:
    if not found.reasons:
        raise MeasurementError(
            f"{found.dataset!r}: answers by {found.how!r} are not read from text, so none can fail; ask for free text"
        )


def _counts(samples: Ints, places: Ints, n: int, size: int) -> NDArray[np.int32]:
    """Return (N, K) how often each place occurs for each sample."""
    found = np.bincount(samples * size + places, minlength=n * size).reshape(n, size)
    return found.astype(np.int32)


def _bias_evidence(dataset: str, answers: NDArray[np.int32], truths: NDArray[np.int32]) -> Evidence:
    size = answers.shape[1]
    columns = {
        f"{name}.{i + 1}": of[:, i] for name, of in (("answers", answers), ("truths", truths)) for i in range(size)
    }

    def terms(columns: Mapping[str, Column]) -> list[Term]:
        return [Term(columns[f"{name}.{i + 1}"]) for name in ("answers", "truths") for i in range(size)]

    def statistic(sums: Sequence[Sums]) -> Floats:
        counts = np.hstack(sums[0])
        of_answers, of_truths = counts[:, :size], counts[:, size:]
        with np.errstate(invalid="ignore"):
            apart = of_answers / of_answers.sum(axis=1, keepdims=True) - of_truths / of_truths.sum(
                axis=1, keepdims=True
            )
        distance: Floats = np.abs(apart).sum(axis=1) / 2
        return distance

    return sums_evidence([Stratum(name=dataset, columns=columns)], terms, statistic)


OF_CHOICES = {
    "accuracy_in_every_order": accuracy_in_every_order,
    "position_bias": position_bias,
    "parse_failures": parse_failures,
    "refusals": refusals,
}
"""The properties of answers in free text, in addition to accuracy, by the names that suites use."""
