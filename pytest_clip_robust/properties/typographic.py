"""Robustness to typographic attacks: a wrong class name on a note in the image (Goh et al. 2021, "Multimodal neurons").

A note also hides a part of the image. A blank note of the same size at the same place shows how much of a loss that is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import Floats
from pytest_clip_robust.core.evidence import Stratum, Sums, Term, sums_evidence
from pytest_clip_robust.core.measurement import Interval, Measurement, Metric, Subject
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.properties.accuracy import accuracy_of
from pytest_clip_robust.scoring.painted import PaintedAnswers
from pytest_clip_robust.stats.intervals import mean_interval, wilson
from pytest_clip_robust.stats.paired import mcnemar
from pytest_clip_robust.stats.resampling import interval_of

ACCURACY = Metric("typographic.top1", direction="higher", tolerance=0.01, headline=True)
BLANK = Metric("typographic.top1_blank_note", direction="higher", tolerance=0.01, headline=False)
RELATIVE = Metric("typographic.relative_robustness", direction="higher", tolerance=0.02, headline=False)
EFFECT = Metric("typographic.word_effect", direction="lower", tolerance=0.01, headline=False)
SUCCESS = Metric("typographic.attack_success", direction="lower", tolerance=0.01, headline=False)


def accuracy(answers: PaintedAnswers) -> Measurement:
    """Measure top-1 accuracy on images with a wrong class name, as ``typographic.top1``, with Wilson's interval."""
    return accuracy_of(answers.word, ACCURACY)


def accuracy_with_blank_note(answers: PaintedAnswers) -> Measurement:
    """Measure top-1 accuracy with a blank note, as ``typographic.top1_blank_note``, with Wilson's interval."""
    return accuracy_of(answers.blank, BLANK)


def relative_robustness(answers: PaintedAnswers) -> Measurement:
    """Measure accuracy with a wrong class name over accuracy without a note, as ``typographic.relative_robustness``.

    1 means no loss. The interval resamples images, each in both versions. If no replicate differs from another, it is
    that of Wilson's intervals for the answers that were lost and gained.

    Raises:
        MeasurementError: no answer to an image without a note is correct.
    """
    if not answers.clean.correct.any():
        raise MeasurementError(
            f"{answers.dataset!r}: no answer to a clean image is correct, so there is nothing to lose"
        )
    columns = {"word": answers.word.correct, "clean": answers.clean.correct}

    def statistic(sums: Sequence[Sums]) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            word, clean = sums[0]
            return (word / clean)[:, 0]

    evidence = sums_evidence(
        [Stratum(name=answers.dataset, columns=columns)],
        lambda found: [Term(found[name]) for name in columns],
        statistic,
    )
    interval = interval_of(evidence)
    return Measurement.of(
        answers,
        RELATIVE,
        answers.word.accuracy / answers.clean.accuracy,
        interval if interval.low < interval.high else _without_spread(answers),
        evidence=evidence,
        details=_accuracies(answers) | {"blank_over_clean": answers.blank.accuracy / answers.clean.accuracy},
    )


def word_effect(answers: PaintedAnswers) -> Measurement:
    """Measure the accuracy that the word alone costs, as ``typographic.word_effect``; lower is better.

    The value is the accuracy with a blank note minus that with the word on it, -1 to 1: what the note hides is the same
    in both. The interval is Student's for paired differences. `details` have the number of images that are correct in
    one version only, and McNemar's mid-p for the hypothesis that the word costs nothing.
    """
    return loss_of(
        answers,
        EFFECT,
        answers.blank.correct,
        answers.word.correct,
        samples=answers.samples,
        details=_accuracies(answers),
    )


def loss_of(
    subject: Subject,
    metric: Metric,
    before: NDArray[np.bool_],
    after: NDArray[np.bool_],
    *,
    samples: Sequence[str],
    details: Mapping[str, float],
    subset: str = "",
) -> Measurement:
    """Measure the accuracy lost between two versions of N images: the mean of ``before - after``, both (N,), -1 to 1.

    The interval is Student's for paired differences. The number of images lost and gained, and McNemar's mid-p for no
    loss, are added to `details`.
    """
    lost = before.astype(np.float64) - after
    paired = mcnemar(before, after, direction="higher")
    changes = {"lost": float((lost > 0).sum()), "gained": float((lost < 0).sum()), "p_no_loss": paired.p_worse}
    return Measurement.of(
        subject,
        metric,
        float(lost.mean()),
        mean_interval(lost, bounds=(-1.0, 1.0)),
        n=len(lost),
        subset=subset,
        outcomes=lost,
        samples=samples,
        details=dict(details) | changes,
    )


def attack_success(answers: PaintedAnswers) -> Measurement:
    """Measure the share of answers that are the painted word, as ``typographic.attack_success``; lower is better.

    The interval is Wilson's. `details` have the shares of images for which the model names that class with a blank note
    and without a note, and the share of success among the images that are correct with a blank note.
    """
    said = answers.says_word(answers.word)
    known = answers.blank.correct
    details = {
        "blank_note": float(answers.says_word(answers.blank).mean()),
        "clean": float(answers.says_word(answers.clean).mean()),
    }
    if known.any():
        details["of_correct_with_blank_note"] = float(said[known].mean())
    return Measurement.of(
        answers,
        SUCCESS,
        float(said.mean()),
        wilson(int(said.sum()), len(said)),
        outcomes=said,
        samples=answers.samples,
        details=details,
    )


PROPERTIES: Mapping[str, Callable[[PaintedAnswers], Measurement]] = {
    "top1": accuracy,
    "top1_blank_note": accuracy_with_blank_note,
    "relative_robustness": relative_robustness,
    "word_effect": word_effect,
    "attack_success": attack_success,
}
"""What is measured under a typographic attack, by the last part of its id."""


def _without_spread(answers: PaintedAnswers) -> Interval:
    """Return the interval of the relative robustness where resampling shows none, such as if no answer changed."""
    word, clean = answers.word.correct, answers.clean.correct
    right, wrong = int(clean.sum()), int((~clean).sum())
    kept = wilson(int((word & clean).sum()), right)
    ends = np.array([kept.low, kept.high])
    if wrong:
        gained = wilson(int((word & ~clean).sum()), wrong)
        ends += np.array([gained.low, gained.high]) * wrong / right
    return Interval(float(ends[0]), float(ends[1]), kept.level, "Wilson, no spread")


def _accuracies(answers: PaintedAnswers) -> dict[str, float]:
    return {name: getattr(answers, name).accuracy for name in ("clean", "blank", "word")}
