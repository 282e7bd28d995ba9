"""Published protocols of classification by LMMs as metrics of their own, to compare with published numbers only.

Each differs from `properties.multimodal` in a way that changes the ranking of models, which its docstring states.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pytest_clip_robust.core.measurement import Measurement, Metric
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.scoring.forced_choice import Choices
from pytest_clip_robust.scoring.published_readings import (
    NO_SYNONYMS,
    contains_label,
    first_letter_reading,
    imagenet_d_reading,
)
from pytest_clip_robust.stats.intervals import wilson

IMAGENET_D = Metric("multimodal.accuracy_imagenet_d_protocol", direction="higher", tolerance=0.01, headline=False)
SUBSTRING = Metric("multimodal.accuracy_{ways}_label_substring", direction="higher", tolerance=0.01, headline=False)
FIRST_LETTER = Metric("multimodal.accuracy_{ways}_first_letter", direction="higher", tolerance=0.01, headline=False)


def imagenet_d_accuracy(found: Choices, *, synonyms: Mapping[str, Sequence[str]] = NO_SYNONYMS) -> Measurement:
    """Measure accuracy by ImageNet-D's protocol (Zhang et al. 2024), as ``multimodal.accuracy_imagenet_d_protocol``.

    Two candidates, the truth always listed first, read by `imagenet_d_reading`. Samples whose answer names both or
    neither are dropped. Flaws: a model that prefers the first place gains by it, and cannot be told from one that sees;
    a model that answers only what it is sure of gains by what is dropped. `details` has the share that was dropped, and
    the accuracy with dropped samples as wrong. The interval is Wilson's over the samples that are left.

    Raises:
        MeasurementError: there is no text, a question has other than two candidates or the truth not first, a sample
            was asked several times, or every sample is dropped.
    """
    _check_texts(found)
    if found.shown.shape[1] != 2 or found.truths.any() or found.questions.max() > 1:
        raise MeasurementError(
            f"{found.dataset!r}: ImageNet-D's protocol asks once per sample between two names, the true one first"
        )
    readings = [
        imagenet_d_reading(text, (found.class_names[true], found.class_names[false]), synonyms=synonyms)
        for text, (true, false) in zip(found.texts, found.shown.tolist(), strict=True)
    ]
    kept = np.array([one.position is not None for one in readings])
    right = np.array([one.position == 0 for one in readings])
    if not kept.any():
        raise MeasurementError(f"{found.dataset!r}: ImageNet-D's protocol drops all of {len(kept)} samples")
    samples = [found.samples[i] for i in found.of_sample[kept].tolist()]
    return Measurement.of(
        found,
        IMAGENET_D,
        float(right[kept].mean()),
        wilson(int(right.sum()), int(kept.sum())),
        n=int(kept.sum()),
        outcomes=right[kept],
        samples=samples,
        details={"dropped": float(1 - kept.mean()), "accuracy_dropped_as_wrong": float(right.mean())},
    )


def label_substring_accuracy(found: Choices) -> Measurement:
    """Measure the share of answers that contain the label, as ``multimodal.accuracy_<ways>_label_substring``.

    The rule of VLMClassifier, with the flaws of `contains_label`. The interval is Wilson's.

    Raises:
        MeasurementError: there is no text, or a sample was asked several times.
    """
    labels = [found.class_names[found.labels[i]] for i in found.of_sample.tolist()]
    _check_texts(found)
    right = [contains_label(text, label) for text, label in zip(found.texts, labels, strict=True)]
    return _accuracy(found, SUBSTRING, right)


def first_letter_accuracy(found: Choices, marks: Sequence[str]) -> Measurement:
    """Measure accuracy by the first letter of each answer, as ``multimodal.accuracy_<ways>_first_letter``.

    FOCI's rule, with the flaws of `first_letter_reading`; FOCI asks in one random order without a seed. `marks` are the
    letters of the places. `details` has the share of answers that begin with none. The interval is Wilson's.

    Raises:
        MeasurementError: there is no text, a sample was asked several times, or there is not one mark per place.
    """
    _check_texts(found)
    if len(marks) != found.shown.shape[1]:
        raise MeasurementError(f"{len(marks)} marks for {found.shown.shape[1]} places; expected one each")
    places = [first_letter_reading(text, marks).position for text in found.texts]
    right = [place == truth for place, truth in zip(places, found.truths.tolist(), strict=True)]
    return _accuracy(found, FIRST_LETTER, right, details={"failures": places.count(None) / len(places)})


def _accuracy(
    found: Choices, metric: Metric, right: Sequence[bool], *, details: Mapping[str, float] | None = None
) -> Measurement:
    if found.questions.max() > 1:
        raise MeasurementError(f"{found.dataset!r}: the published protocol asks once per sample")
    outcomes = np.empty(len(found), np.bool_)
    outcomes[found.of_sample] = right
    return Measurement.of(
        found,
        metric.named(ways=found.ways),
        float(outcomes.mean()),
        wilson(int(outcomes.sum()), len(outcomes)),
        outcomes=outcomes,
        samples=found.samples,
        details=details,
    )


def _check_texts(found: Choices) -> None:
    if not found.texts:
        raise MeasurementError(f"{found.dataset!r}: a published protocol reads free text; give the answers as `texts`")
