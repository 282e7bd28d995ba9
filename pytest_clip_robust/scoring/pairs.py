"""Cosines of images with true and false captions, and of pairs of images with pairs of captions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
    """Cosines of I items with their true caption and with the false caption of the highest cosine.

    true, false: (I,) cosines with the item's image; blind_true, blind_false: with the mean of all other images instead.
    images: (I,) positions of images; choices: (I,) numbers of captions to choose from; kinds: I names of what the false
        captions change.
    true_texts, false_texts: I captions each. truncated: the number of captions longer than the model's context.
    text_only: (I,) 1 if a classifier of the captions alone is correct, 0 if it is wrong, 0.5 if it is undecided; None
        if the set has too few images to fit one. metric: the first part of every metric's id.
    groups: (I,) the number of each item's group, from 0, by the name of a score that counts whole groups.
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
    truncated: int = 0
    groups: Mapping[str, Ints] = field(default_factory=dict)
    provenance: Provenance = field(default_factory=Provenance)

    def __len__(self) -> int:
        return len(self.true)

    @property
    def right(self) -> NDArray[np.bool_]:
        """(I,) whether the true caption has a higher cosine than every false one."""
        won: NDArray[np.bool_] = self.true > self.false
        return won

    @property
    def blind_right(self) -> NDArray[np.bool_]:
        """(I,) the same with the mean of all other images instead of the image."""
        won: NDArray[np.bool_] = self.blind_true > self.blind_false
        return won


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """Items of two images and two captions: (I, 2, 2) cosines ``[item, caption, image]``; equal positions match.

    kinds: I names of what differs between the captions. truncated: the number of captions longer than the context.
    """

    dataset: str
    cosines: Floats
    kinds: Sequence[str]
    samples: Sequence[str]
    truncated: int = 0
    provenance: Provenance = field(default_factory=Provenance)

    def __len__(self) -> int:
        return len(self.cosines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Paraphrases:
    """Cosines between the captions of T triplets: two true ones of an image, and a false one.

    same: (T,) of the two true captions with each other; first, second: (T,) of each of them with the false one.
    images: (T,) positions of images; kinds: T names of what the false caption changes. truncated: the number of
        captions longer than the model's context.
    """

    dataset: str
    same: Floats
    first: Floats
    second: Floats
    images: Ints
    kinds: Sequence[str]
    samples: Sequence[str]
    truncated: int = 0
    provenance: Provenance = field(default_factory=Provenance)

    def __len__(self) -> int:
        return len(self.same)

    @property
    def right(self) -> NDArray[np.bool_]:
        """(T,) whether the true captions are closer to each other than each of them is to the false one."""
        won: NDArray[np.bool_] = (self.same > self.first) & (self.same > self.second)
        return won


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

    texts: M captions. image_of, true_of: (I,) positions of each item's image and true caption. false_items, false_of:
    (F,) the items of false captions, ascending, and positions of those captions. `about` are the other fields.

    Raises:
        MeasurementError: an item has no false caption, a feature cannot be normalised, or there is only one image.
    """
    counts = np.bincount(false_items, minlength=len(image_of))
    if not len(image_of) or not counts.all() or (np.diff(false_items) < 0).any():
        raise MeasurementError("every item needs a false caption, and false captions must be sorted by item")
    if len(images) < 2:
        raise MeasurementError("the blind baseline needs other images, and there is only one image; give at least 2")
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
    """Compare two images with two captions per item, given the features of N images (N, D) and M captions (M, D).

    image_of, text_of: (I, 2) positions of images and captions. `about` are the other fields of Matches.

    Raises:
        MeasurementError: a feature cannot be normalised.
    """
    seen, known = unit_rows(images, "image"), unit_rows(captions, "caption")
    found = np.stack(
        [cosines(seen, known, image_of[:, image], text_of[:, text]) for text in (0, 1) for image in (0, 1)], axis=1
    )
    build: Callable[..., Matches] = Matches
    return build(cosines=found.reshape(-1, 2, 2), **about)


def paraphrase(captions: NDArray[np.floating], *, triplets: Ints, **about: object) -> Paraphrases:
    """Compare the captions of T triplets with each other, given the features of M captions (M, D) of any length.

    triplets: (T, 3) positions of two true captions and a false one. `about` are the other fields of Paraphrases.

    Raises:
        MeasurementError: a feature cannot be normalised.
    """
    known = unit_rows(captions, "caption")
    pairs = {"same": (0, 1), "first": (0, 2), "second": (1, 2)}
    found = {name: cosines(known, known, triplets[:, a], triplets[:, b]) for name, (a, b) in pairs.items()}
    build: Callable[..., Paraphrases] = Paraphrases
    return build(**found, **about)


def tell_texts_apart(true_texts: Sequence[str], false_texts: Sequence[str], groups: Ints) -> Floats | None:
    """Return whether a classifier of words finds the true one of P pairs of captions: 1 yes, 0 no, 0.5 undecided.

    Logistic regression on the difference of the captions' counts of words, of pairs of neighbouring words, and of all
    words, with 5-fold cross-validation over `groups` (P,), such as images. None for fewer than 10 groups.
    """
    from sklearn.feature_extraction.text import CountVectorizer  # noqa: PLC0415 - takes a second
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
        # The sign of every second difference is changed, so that there are two classes to separate.
        signs = np.where(np.arange(len(known)) % 2, -1.0, 1.0)
        learner = LogisticRegression(fit_intercept=False, max_iter=1000)
        margins[asked] = learner.fit(features[known] * signs[:, None], signs).decision_function(features[asked])
    return (np.sign(np.round(margins, 9)) + 1) / 2
