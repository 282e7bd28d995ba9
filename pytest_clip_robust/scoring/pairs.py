"""True captions against false ones, and pairs of images against pairs of captions, scored by cosine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack

from pytest_clip_robust.core.arrays import Floats, Ints
from pytest_clip_robust.core.measurement import Provenance
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.scoring.vectors import cosines, unit_rows

FOLDS, FEWEST_GROUPS = 5, 10


WORD = r"[^\s.,;!?]+"


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
