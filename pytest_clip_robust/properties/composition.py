"""Compositional understanding: does a caption that is true of the image beat one that differs in a detail?

A tie is wrong. A caption can give itself away: negatives made by a rule or a language model are often longer, odder or
less likely. Two baselines say how far one gets without looking. ``blind`` puts the mean image in the place of the
image; ``text_only`` is a classifier of word n-grams that has learnt from the set's other images.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import expit

from pytest_clip_robust.core.arrays import Floats, Ints
from pytest_clip_robust.core.measurement import Direction, Interval, Measurement, Miss
from pytest_clip_robust.errors import MeasurementError, did_you_mean
from pytest_clip_robust.scoring.pairs import Contrasts, Matches
from pytest_clip_robust.scoring.rankings import MISSES_KEPT, shorten
from pytest_clip_robust.stats import clusters
from pytest_clip_robust.stats.intervals import wilson

WINOGROUND: Mapping[str, float] = {"text": 1 / 4, "image": 1 / 4, "group": 1 / 6}
"""Winoground's scores, and what each is by chance."""

KINDS = (
    "replace_object",
    "replace_attribute",
    "replace_relation",
    "swap_object",
    "swap_attribute",
    "swap_relation",
    "add_object",
    "add_attribute",
    "attribution",
    "relation",
    "order",
)
"""What a negative changes, by the names that suites ask for: SugarCrepe's seven, the showroom's, ARO's three."""


def accuracy(found: Contrasts, kind: str = "") -> Measurement:
    """Measure how often the true caption beats every false one, as ``composition.accuracy``; a tie is wrong.

    `details` has the same ``blind``, the ``text_only`` baseline, and the accuracy of every kind. Items of one image
    go together in the interval.

    Raises:
        MeasurementError: no item is of `kind`.
    """
    rows = _rows(found, kind)
    right = found.right[rows]
    return _measurement(
        found,
        "accuracy",
        rows,
        right.astype(np.float64),
        clusters.proportion_interval(right, found.images[rows]),
        kind=kind,
        misses=_worst_misses(found, rows[~right]),
        details=_baselines(found, rows) | ({} if kind else _by_kind(found)),
    )


def gain_over_blind(found: Contrasts, kind: str = "") -> Measurement:
    """Measure accuracy less accuracy without the image, as ``composition.gain_over_blind``: what looking adds.

    Raises:
        MeasurementError: as for `accuracy`.
    """
    rows = _rows(found, kind)
    gains = found.right[rows].astype(np.float64) - found.blind_right[rows]
    interval = clusters.mean_interval(gains, found.images[rows], bounds=(-1.0, 1.0))
    details = {"accuracy": float(found.right[rows].mean())} | _baselines(found, rows)
    return _measurement(found, "gain_over_blind", rows, gains, interval, kind=kind, details=details)


def text_only(found: Contrasts, kind: str = "") -> Measurement:
    """Measure how often a classifier of the captions alone is right, as ``composition.text_only_ngram_cv5``.

    Near 0.5 the captions give nothing away; towards 1 the set can be solved without looking, whatever the model.

    Raises:
        MeasurementError: as for `accuracy`, or the classifier was not asked.
    """
    rows = _rows(found, kind)
    if found.text_only is None:
        raise MeasurementError(f"{found.dataset!r}: the captions alone were not classified")
    values = found.text_only[rows]
    interval = clusters.proportion_interval(values, found.images[rows])
    return _measurement(found, "text_only_ngram_cv5", rows, values, interval, kind=kind, direction="lower")


def winoground(found: Matches, score: str) -> Measurement:
    """Measure Winoground's ``text``, ``image`` or ``group`` score, as ``composition.winoground_<score>``.

    text: for both images the matching caption scores higher; image: for both captions the matching image does; group:
    both (Thrush et al. 2022). A tie is wrong. By chance 1/4, 1/4 and 1/6. The captions alone cannot give anything
    away, since each is true of one of the images.

    Raises:
        MeasurementError: there is no such score.
    """
    if score not in WINOGROUND:
        raise MeasurementError(f"no Winoground score {score!r}; it is one of {', '.join(WINOGROUND)}")
    c = found.cosines
    text = (c[:, 0, 0] > c[:, 1, 0]) & (c[:, 1, 1] > c[:, 0, 1])
    image = (c[:, 0, 0] > c[:, 0, 1]) & (c[:, 1, 1] > c[:, 1, 0])
    right = {"text": text, "image": image, "group": text & image}[score]
    details = {"chance": WINOGROUND[score]}
    for kind in sorted(set(found.kinds)):
        details[f"accuracy.{kind}"] = float(right[np.array(found.kinds) == kind].mean())
    return Measurement(
        metric=f"composition.winoground_{score}",
        value=float(right.mean()),
        n=len(right),
        interval=wilson(int(right.sum()), len(right)),
        direction="higher",
        dataset=found.dataset,
        outcomes=right.astype(np.float32),
        samples=found.samples,
        details=details | ({"captions_truncated": found.cut} if found.cut else {}),
        provenance=found.provenance,
    )


def _rows(found: Contrasts, kind: str) -> Ints:
    rows = np.flatnonzero([one == kind for one in found.kinds]) if kind else np.arange(len(found))
    if not len(rows):
        raise MeasurementError(
            f"{found.dataset!r} has no items of the kind {kind!r}{did_you_mean(kind, set(found.kinds))}; "
            f"it has {', '.join(sorted(set(found.kinds)))}"
        )
    return rows


def _baselines(found: Contrasts, rows: Ints) -> dict[str, float]:
    details = {
        "chance": float((1 / found.choices[rows]).mean()),
        "blind": float(found.blind_right[rows].mean()),
    }
    if found.text_only is not None:
        details["text_only"] = float(found.text_only[rows].mean())
    return details


def _by_kind(found: Contrasts) -> dict[str, float]:
    kinds = np.array(found.kinds)
    return {f"accuracy.{kind}": float(found.right[kinds == kind].mean()) for kind in sorted(set(found.kinds))}


def _worst_misses(found: Contrasts, wrong: Ints) -> tuple[Miss, ...]:
    leads = found.false - found.true
    worst = wrong[np.argsort(-leads[wrong], kind="stable")[:MISSES_KEPT]]
    return tuple(
        Miss(
            sample=found.samples[row],
            truth=shorten(found.true_texts[row]),
            predicted=shorten(found.false_texts[row]),
            confidence=float(expit(found.scale * leads[row])),
        )
        for row in worst.tolist()
    )


def _measurement(
    found: Contrasts,
    name: str,
    rows: Ints,
    values: Floats,
    interval: Interval,
    *,
    kind: str,
    direction: Direction = "higher",
    misses: tuple[Miss, ...] = (),
    details: Mapping[str, float] | None = None,
) -> Measurement:
    return Measurement(
        metric=f"{found.metric}.{name}",
        value=float(values.mean()),
        n=len(values),
        interval=interval,
        direction=direction,
        dataset=found.dataset,
        subset=kind,
        outcomes=values.astype(np.float32),
        samples=[found.samples[row] for row in rows.tolist()],
        evidence=clusters.mean_evidence(found.dataset, values, found.images[rows]),
        misses=misses,
        details=dict(details or {}) | ({"captions_truncated": found.cut} if found.cut else {}),
        provenance=found.provenance,
    )
