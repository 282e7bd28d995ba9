"""Compositional understanding: does a caption that is true of the image beat one that differs in a detail?

A tie is wrong. A caption can give itself away: negatives made by a rule or a language model are often longer, odder or
less likely. Two baselines say how far one gets without looking. ``blind`` puts the mean image in the place of the
image; ``text_only`` is a classifier of word n-grams that has learnt from the set's other images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack
from scipy.special import expit

from pytest_clip_robust.errors import MeasurementError, did_you_mean
from pytest_clip_robust.measurement import Direction, Interval, Measurement, Miss, Provenance
from pytest_clip_robust.properties.retrieval import MISSES_KEPT, shorten
from pytest_clip_robust.properties.units import cosines, unit_rows
from pytest_clip_robust.stats import clusters
from pytest_clip_robust.stats.intervals import wilson

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

FOLDS, FEWEST_GROUPS = 5, 10
WORD = r"[^\s.,;!?]+"

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrasts:
    """How I images like their true caption, and how much they like the false one that they like best.

    true, false: (I,) cosines; blind_true, blind_false: the same with the mean of the other images in the image's
    place. images: (I,) which image; choices: (I,) how many captions to choose from; kinds: I words for what the false
    captions change.
    true_texts, false_texts: I captions, the false one that is liked best. cut: how many captions the model cut.
    text_only: (I,) 1 where a classifier of the captions alone is right, 0 where it is wrong, one half where it cannot
    tell, or None where there was too little to learn from. metric: the first part of every metric's id.
    """

    dataset: str
    true: Floats
    false: Floats
    blind_true: Floats
    blind_false: Floats
    images: Ints
    choices: Ints
    kinds: Sequence[str]
    samples: Sequence[str]
    true_texts: Sequence[str]
    false_texts: Sequence[str]
    text_only: Floats | None = None
    metric: str = "composition"
    scale: float = 1.0
    cut: int = 0
    provenance: Provenance = field(default_factory=Provenance)

    def __len__(self) -> int:
        return len(self.true)

    @property
    def right(self) -> NDArray[np.bool_]:
        """Tell where the true caption beats every false one."""
        won: NDArray[np.bool_] = self.true > self.false
        return won

    @property
    def blind_right(self) -> NDArray[np.bool_]:
        """Tell where it does so without the image."""
        won: NDArray[np.bool_] = self.blind_true > self.blind_false
        return won


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """Two images and two captions an item, (I, 2, 2) cosines: ``[item, caption, image]``; equal positions match."""

    dataset: str
    cosines: Floats
    kinds: Sequence[str]
    samples: Sequence[str]
    cut: int = 0
    provenance: Provenance = field(default_factory=Provenance)

    def __len__(self) -> int:
        return len(self.cosines)


def contrast(
    images: NDArray[np.floating],
    captions: NDArray[np.floating],
    *,
    texts: Sequence[str],
    image_of: Ints,
    true_of: Ints,
    false_items: Ints,
    false_of: Ints,
    **about: object,
) -> Contrasts:
    """Compare the captions of I items, given the features of N images (N, D) and M captions (M, D) of any length.

    texts: M captions. image_of, true_of: (I,) each item's image and true caption. false_items, false_of: (F,) the items
    that false captions belong to, in order, and those captions. `about` are the other fields of Contrasts.

    Raises:
        MeasurementError: an item has no false caption, a feature has no direction, or there is a single image.
    """
    counts = np.bincount(false_items, minlength=len(image_of))
    if not len(image_of) or not counts.all() or (np.diff(false_items) < 0).any():
        raise MeasurementError("every item needs a false caption, and false captions the order of their items")
    if len(images) < 2:
        raise MeasurementError("a single image has no others whose mean stands for none in particular; give at least 2")
    seen, known = unit_rows(images, "image"), unit_rows(captions, "caption")
    blind = unit_rows(seen.sum(axis=0, dtype=np.float64) - seen, "mean image")
    starts = np.cumsum(counts) - counts
    scores = cosines(seen, known, image_of[false_items], false_of)
    liked = np.lexsort((-scores, false_items))[starts]
    build: Callable[..., Contrasts] = Contrasts
    return build(
        true=cosines(seen, known, image_of, true_of),
        false=scores[liked],
        blind_true=cosines(blind, known, image_of, true_of),
        blind_false=np.maximum.reduceat(cosines(blind, known, image_of[false_items], false_of), starts),
        images=image_of,
        choices=counts + 1,
        true_texts=[texts[i] for i in true_of.tolist()],
        false_texts=[texts[i] for i in false_of[liked].tolist()],
        **about,
    )


def match(
    images: NDArray[np.floating], captions: NDArray[np.floating], *, image_of: Ints, text_of: Ints, **about: object
) -> Matches:
    """Compare two images with two captions an item, given the features of all (N, D), (M, D); image_of, text_of (I, 2).

    Raises:
        MeasurementError: a feature has no direction.
    """
    seen, known = unit_rows(images, "image"), unit_rows(captions, "caption")
    found = np.stack(
        [cosines(seen, known, image_of[:, image], text_of[:, text]) for text in (0, 1) for image in (0, 1)], axis=1
    )
    build: Callable[..., Matches] = Matches
    return build(cosines=found.reshape(-1, 2, 2), **about)


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
        details=details | ({"captions_cut": found.cut} if found.cut else {}),
        provenance=found.provenance,
    )


def tell_texts_apart(true_texts: Sequence[str], false_texts: Sequence[str], groups: Ints) -> Floats | None:
    """Tell P true captions from false ones by their words alone: 1 right, 0 wrong, one half where it cannot tell.

    Logistic regression on the difference of the captions' counts of words, of pairs of neighbouring words, and of all
    words; learnt from four fifths of the `groups` (P,), such as images, and asked about the rest. None where there are
    too few groups to learn from.
    """
    from sklearn.feature_extraction.text import CountVectorizer  # noqa: PLC0415 - a second, paid where it is asked
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415
    from sklearn.model_selection import GroupKFold  # noqa: PLC0415

    if len(np.unique(groups)) < FEWEST_GROUPS:
        return None
    words = CountVectorizer(ngram_range=(1, 2), token_pattern=WORD, dtype=np.float64)
    words.fit([*true_texts, *false_texts])
    apart = words.transform(true_texts) - words.transform(false_texts)
    lengths = np.array([len(a.split()) - len(b.split()) for a, b in zip(true_texts, false_texts, strict=True)])
    features = hstack([csr_array(apart), csr_array(lengths[:, None].astype(np.float64))], format="csr")
    margins = np.zeros(len(groups))
    for known, asked in GroupKFold(FOLDS).split(features, groups=groups):
        # Half of the differences are turned round, so that there are two classes to tell.
        signs = np.where(np.arange(len(known)) % 2, -1.0, 1.0)
        learner = LogisticRegression(fit_intercept=False, max_iter=1000)
        margins[asked] = learner.fit(features[known] * signs[:, None], signs).decision_function(features[asked])
    return (np.sign(np.round(margins, 9)) + 1) / 2


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
        details=dict(details or {}) | ({"captions_cut": found.cut} if found.cut else {}),
        provenance=found.provenance,
    )
