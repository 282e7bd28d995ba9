"""Questions with listed options: which options, in which orders and words, and what an answer to them means."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.config.sections import OPTIONS, MultimodalSettings
from pytest_clip_robust.core.arrays import Ints
from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.datasets.questions.question_set import QuestionSet, folded
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.scoring.named_answers import NamedAnswers, Reading, spoken
from pytest_clip_robust.scoring.option_orders import balanced_orders, in_orders

READERS_KEPT = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """M questions about N samples, each with K options in one order; see `scoring.forced_choice.Choices`.

    images: what is asked about. image_of: (N,) the sample's image. questions: M images and the texts that are asked.
    class_names, labels, samples, of_sample, shown: as in `Choices`. kinds: N kinds of questions, or "".
    names: all names of each class, the one that is listed first.
    """

    images: ImageSet
    image_of: Ints
    questions: Sequence[tuple[int, str]]
    class_names: tuple[str, ...]
    labels: Ints
    samples: Sequence[str]
    of_sample: Ints
    shown: Ints
    kinds: Sequence[str]
    names: tuple[tuple[str, ...], ...]
    fingerprint: str

    def read(self, text: str, listed: tuple[int, ...]) -> Reading:
        """Return the place that an answer chooses in a list of classes."""
        return _reader(tuple(self.names[one] for one in listed)).read(text)


def listed_classes(images: ImageSet, settings: MultimodalSettings) -> Listed:
    """Return questions about images: the true class and others, in balanced orders.

    Raises:
        MeasurementError: the set has fewer classes of different names than options are listed.
    """
    words = [spoken(name) for name in images.class_names]
    candidates = np.stack([_candidates(images, position, words, settings.options) for position in range(len(images))])
    of_sample, shown = in_orders(candidates, balanced_orders(settings.options))
    names = [
        (name, *(one for one in others if one != name))
        for name, others in zip(images.class_names, images.prompt_names, strict=True)
    ]
    return _listed(
        images,
        settings,
        image_of=np.arange(len(images)),
        texts=[""] * len(images),
        names=names,
        labels=images.labels,
        samples=images.samples,
        of_sample=of_sample,
        shown=shown,
        fingerprint=images.fingerprint,
    )


def listed_questions(found: QuestionSet, settings: MultimodalSettings, *, published: bool = False) -> Listed:
    """Return the questions of a set, their options in balanced orders, or once in their own order if `published`.

    Raises:
        MeasurementError: the questions do not all have the same number of options.
    """
    sizes = {len(options) for options in found.options}
    if len(sizes) > 1:
        raise MeasurementError(
            f"{found.name!r} has questions with {min(sizes)} to {max(sizes)} options; give those of each number as a "
            "set of their own"
        )
    kept = _spread(found.kinds, settings.questions)
    place: dict[str, int] = {}
    names: list[tuple[str, ...]] = []
    for question in kept:
        for option in found.options[question]:
            if folded(option) not in place:
                place[folded(option)] = len(names)
                names.append((option, *found.synonyms.get(option, ())))
    options = np.array([[place[folded(one)] for one in found.options[question]] for question in kept])
    size = sizes.pop()
    orders = np.arange(size)[None] if published else balanced_orders(size)
    of_sample, shown = in_orders(options, orders)
    samples = found.samples
    return _listed(
        found.images,
        settings,
        image_of=found.image_of[kept],
        texts=[found.texts[question] for question in kept],
        names=names,
        labels=options[np.arange(len(kept)), found.truths[kept]],
        samples=[samples[question] for question in kept],
        of_sample=of_sample,
        shown=shown,
        kinds=[found.kinds[question] for question in kept],
        fingerprint=found.fingerprint,
    )


def _listed(
    images: ImageSet,
    settings: MultimodalSettings,
    *,
    image_of: Ints,
    texts: Sequence[str],
    names: Sequence[tuple[str, ...]],
    labels: Ints,
    samples: Sequence[str],
    of_sample: Ints,
    shown: Ints,
    fingerprint: str,
    kinds: Sequence[str] = (),
) -> Listed:
    """Put the questions into words; a sample without a text of its own is asked the run's question."""
    questions = [
        (
            int(image_of[sample]),
            f"{texts[sample] or settings.question} "
            + settings.listing.replace(OPTIONS, ", ".join(names[one][0] for one in listed)),
        )
        for sample, listed in zip(of_sample.tolist(), shown.tolist(), strict=True)
    ]
    return Listed(
        images=images,
        image_of=image_of,
        questions=questions,
        class_names=tuple(of_class[0] for of_class in names),
        labels=labels,
        samples=samples,
        of_sample=of_sample,
        shown=shown,
        kinds=kinds or [""] * len(samples),
        names=tuple(names),
        fingerprint=fingerprint,
    )


def _candidates(images: ImageSet, position: int, words: Sequence[tuple[str, ...]], count: int) -> Ints:
    """Return the classes between which a sample is decided: the true one first, and others that its name decides.

    words: of the names of all classes.

    Names of equal wording are never listed together. No model has a part in the choice: options that a model finds hard
    would favour every other model.
    """
    label = int(images.labels[position])
    seed = hashlib.sha256(f"{images.samples[position]}|{images.class_ids[label]}".encode()).digest()
    order = np.random.default_rng(np.frombuffer(seed, np.uint32)).permutation(len(words))
    chosen = {words[label]: label}
    for other in order.tolist():
        if len(chosen) == count:
            break
        chosen.setdefault(words[other], other)
    if len(chosen) < count:
        raise MeasurementError(
            f"{images.name!r} has {len(chosen)} classes of different names; expected at least {count}, as many as "
            "options are listed"
        )
    return np.array(list(chosen.values()))


def _spread(kinds: Sequence[str], count: int) -> NDArray[np.int64]:
    """Return the positions of `count` questions, ascending, spread evenly over kinds and within them; 0 returns all."""
    if not 0 < count < len(kinds):
        return np.arange(len(kinds))
    places = {kind: np.flatnonzero(np.array(kinds) == kind) for kind in sorted(set(kinds))}
    quota = dict.fromkeys(places, 0)
    while sum(quota.values()) < count:
        fewest = min((kind for kind in quota if quota[kind] < len(places[kind])), key=lambda kind: quota[kind])
        quota[fewest] += 1
    chosen = [
        of_kind[np.linspace(0, len(of_kind) - 1, quota[kind]).round().astype(int)] for kind, of_kind in places.items()
    ]
    return np.sort(np.concatenate(chosen))


@lru_cache(maxsize=READERS_KEPT)
def _reader(names: tuple[tuple[str, ...], ...]) -> NamedAnswers:
    return NamedAnswers(names)
