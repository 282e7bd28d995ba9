"""Compositional understanding: whether a true caption beats false ones that differ in a detail.

A tie is wrong. Captions can give the answer away: false captions made by a rule or a language model are often longer,
odder or less likely. Two baselines show how far one gets without the image: ``blind`` uses the mean of all other images
instead of the image; ``text_only`` is a classifier of word n-grams, fitted on the set's other images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from scipy.special import expit

from pytest_clip_robust.core.arrays import Floats, Ints
from pytest_clip_robust.core.measurement import Interval, Measurement, Metric, Miss
from pytest_clip_robust.errors import MeasurementError, did_you_mean
from pytest_clip_robust.scoring.pairs import Contrasts, Matches, Paraphrases
from pytest_clip_robust.scoring.rankings import MISSES_KEPT, shorten
from pytest_clip_robust.stats import clusters
from pytest_clip_robust.stats.intervals import wilson

WINOGROUND: Mapping[str, float] = {"text": 1 / 4, "image": 1 / 4, "group": 1 / 6}
"""Winoground's scores and their chance levels."""

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
"""What false captions change, by the names that suites use: SugarCrepe's seven, the showroom's, and ARO's three."""

ACCURACY = Metric("{set}.accuracy", direction="higher", tolerance=0.01, headline=True)
GAIN = Metric("{set}.gain_over_blind", direction="higher", tolerance=0.01, headline=False)
TEXT_ONLY = Metric("{set}.text_only_ngram_cv5", direction="lower", tolerance=0.01, headline=False)
SCORE = Metric("composition.winoground_{score}", direction="higher", tolerance=0.01, headline=False)
COMPOSITION = "composition"


def accuracy(found: Contrasts, kind: str = "") -> Measurement:
    """Measure how often the true caption beats every false one, as ``composition.accuracy``; a tie is wrong.

    `details` has the same number for ``blind`` and ``text_only``, the chance level, and the accuracy of every kind.
    Items of one image are one cluster in the interval. It is a headline over all kinds, and a detail for one of them.

    Raises:
        MeasurementError: no item is of `kind`.
    """
    rows = rows_of(found, kind)
    right = found.right[rows]
    return _measurement(
        found,
        ACCURACY if found.metric == COMPOSITION and not kind else ACCURACY.as_detail(),
        rows,
        right.astype(np.float64),
        clusters.proportion_interval(right, found.images[rows]),
        kind=kind,
        misses=worst_misses(found, rows[~right]),
        details=_baselines(found, rows) | ({} if kind else _by_kind(found)),
        chance=_chance(found, rows),
    )


def gain_over_blind(found: Contrasts, kind: str = "") -> Measurement:
    """Measure accuracy minus accuracy without the image, as ``composition.gain_over_blind``, -1 to 1.

    Raises:
        MeasurementError: as for `accuracy`.
    """
    rows = rows_of(found, kind)
    gains = found.right[rows].astype(np.float64) - found.blind_right[rows]
    interval = clusters.mean_interval(gains, found.images[rows], bounds=(-1.0, 1.0))
    details = {"accuracy": float(found.right[rows].mean())} | _baselines(found, rows)
    return _measurement(found, GAIN, rows, gains, interval, kind=kind, details=details)


def text_only(found: Contrasts, kind: str = "") -> Measurement:
    """Measure how often a classifier of the captions alone is correct, as ``composition.text_only_ngram_cv5``.

    Near 0.5 the captions give nothing away; near 1 any model can solve the set without the images. It has no `chance`:
    guessing is the best result here, and no sign of a weak model.

    Raises:
        MeasurementError: as for `accuracy`, or the captions were not classified.
    """
    rows = rows_of(found, kind)
    if found.text_only is None:
        raise MeasurementError(f"{found.dataset!r}: the captions alone were not classified")
    values = found.text_only[rows]
    return _measurement(
        found, TEXT_ONLY, rows, values, clusters.proportion_interval(values, found.images[rows]), kind=kind
    )


def winoground(found: Matches, score: str) -> Measurement:
    """Measure Winoground's ``text``, ``image`` or ``group`` score, as ``composition.winoground_<score>``.

    text: for both images the matching caption scores higher; image: for both captions the matching image does; group:
    both (Thrush et al. 2022). A tie is wrong. Chance levels are 1/4, 1/4 and 1/6. The captions alone give nothing away,
    since each is true of one of the images. The group score is a headline.

    Raises:
        MeasurementError: the score is unknown.
    """
    if score not in WINOGROUND:
        raise MeasurementError(f"no Winoground score {score!r}; it is one of {', '.join(WINOGROUND)}")
    c = found.cosines
    text = (c[:, 0, 0] > c[:, 1, 0]) & (c[:, 1, 1] > c[:, 0, 1])
    image = (c[:, 0, 0] > c[:, 0, 1]) & (c[:, 1, 1] > c[:, 1, 0])
    right = {"text": text, "image": image, "group": text & image}[score]
    details: dict[str, float] = {}
    for kind in sorted(set(found.kinds)):
        details[f"accuracy.{kind}"] = float(right[np.array(found.kinds) == kind].mean())
    return Measurement.of(
        found,
        replace(SCORE.named(score=score), headline=score == "group"),
        float(right.mean()),
        wilson(int(right.sum()), len(right)),
        outcomes=right,
        samples=found.samples,
        details=details | truncation(found),
        chance=WINOGROUND[score],
    )


def rows_of(found: Contrasts, kind: str) -> Ints:
    """Return the positions of the items of a kind, or of all items for ``""``.

    Raises:
        MeasurementError: no item is of `kind`.
    """
    rows = np.flatnonzero([one == kind for one in found.kinds]) if kind else np.arange(len(found))
    if not len(rows):
        raise MeasurementError(
            f"{found.dataset!r} has no items of the kind {kind!r}{did_you_mean(kind, set(found.kinds))}; "
            f"it has {', '.join(sorted(set(found.kinds)))}"
        )
    return rows


def _baselines(found: Contrasts, rows: Ints) -> dict[str, float]:
    details = {"blind": float(found.blind_right[rows].mean())}
    if found.text_only is not None:
        details["text_only"] = float(found.text_only[rows].mean())
    return details


def _chance(found: Contrasts, rows: Ints) -> float:
    """Return the accuracy of a model that guesses among the captions of each item."""
    return float((1 / found.choices[rows]).mean())


def _by_kind(found: Contrasts) -> dict[str, float]:
    kinds = np.array(found.kinds)
    return {f"accuracy.{kind}": float(found.right[kinds == kind].mean()) for kind in sorted(set(found.kinds))}


def worst_misses(found: Contrasts, wrong: Ints) -> tuple[Miss, ...]:
    """Return the misses among the items at the positions `wrong`, the most confident first."""
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
    metric: Metric,
    rows: Ints,
    values: Floats,
    interval: Interval,
    *,
    kind: str,
    misses: tuple[Miss, ...] = (),
    details: Mapping[str, float] | None = None,
    chance: float | None = None,
) -> Measurement:
    return Measurement.of(
        found,
        metric.named(set=found.metric),
        float(values.mean()),
        interval,
        n=len(values),
        subset=kind,
        outcomes=values,
        samples=[found.samples[row] for row in rows.tolist()],
        evidence=clusters.mean_evidence(found.dataset, values, found.images[rows]),
        misses=misses,
        details=dict(details or {}) | truncation(found),
        chance=chance,
    )


def truncation(found: Contrasts | Matches | Paraphrases) -> dict[str, float]:
    """Return the number of captions that the model truncated as a detail, if there are any."""
    return {"captions_truncated": found.truncated} if found.truncated else {}
