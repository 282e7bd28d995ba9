"""A simulated showroom: models that answer the same samples, measured by the package's properties.

Every sample has a latent vector that all models share, and so has every class. A model sees a sample's vector with
noise of its own, independent of other models, so that two models agree on most samples and are equally good. Sets,
sizes and gates are those of the default profile on the showroom, and accuracies are similar; the 27 gates of prompt
sets are left out. A model that is worse adds more noise. Dense features do not get worse, and a classifier of captions
does not depend on the model at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.measurement import Interval, Measurement
from pytest_clip_robust.core.predictions import Predictions
from pytest_clip_robust.names import CORRUPTION_KINDS, FACTORS, OOD_SCORES
from pytest_clip_robust.properties import (
    accuracy,
    calibration,
    composition,
    correspondence,
    corruptions,
    modality,
    ood,
    retrieval,
    shape_bias,
    shift,
    visual_factors,
)
from pytest_clip_robust.scoring import confidence, cues, ood_scores
from pytest_clip_robust.scoring.decisions import CorruptedAnswers
from pytest_clip_robust.scoring.matches import KeypointMatches, ViewMatches
from pytest_clip_robust.scoring.pairs import Contrasts, contrast
from pytest_clip_robust.scoring.rankings import CaptionedImages, rank
from pytest_clip_robust.stats import roc

Floats = NDArray[np.float64]

CLASSES, WIDTH = 24, 48
SCALE = 24.0
OWN_NOISE = 0.65
ID_SIZE, SHIFT_SIZE = 384, 240
ID_SPREAD = 2.4
SHIFTS = {"cartoon": 2.9, "clutter": 3.15, "line": 3.5, "night": 2.55}
"""The spread of the samples of each shifted set around their classes."""

OOD_SETS = {"near": (324, 54, 0.3), "far": (240, 6, 0.55)}
"""Samples, classes, and how far samples are moved out of the space of ID classes: 0 not at all, 1 entirely."""

SEVERITIES = (3, 5)
CORRUPTED_IMAGES = 24
ITEMS = {"add_object": 120, "replace_object": 120, "swap_attribute": 80, "swap_relation": 80}
IMAGES, CAPTIONS, MATCHES = 120, 592, 100
SCENES, PAIRS, KEYPOINTS = 18, 144, 681
ANGLES = ((0, 30), (30, 60), (60, 90), (90, 120))
WITHOUT_INTERVAL = Interval(-np.inf, np.inf, 0.95, "left out")


def unit(rows: Floats) -> Floats:
    """Return rows of length 1."""
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


_WORLD = np.random.default_rng(7)
PROTOTYPES = unit(_WORLD.normal(size=(CLASSES, WIDTH)))
STRANGERS = {name: unit(_WORLD.normal(size=(classes, WIDTH))) for name, (_, classes, _) in OOD_SETS.items()}
NEGATIVES = unit(_WORLD.normal(size=(60, WIDTH)))
ONTO_CLASSES = PROTOTYPES.T @ np.linalg.pinv(PROTOTYPES.T)


@dataclass(frozen=True)
class Samples:
    """The samples of one run, drawn from `seed`; `sizes` replaces the number of samples of some sets."""

    seed: int
    sizes: Mapping[str, int] = field(default_factory=dict)

    def rng(self, name: str) -> np.random.Generator:
        """Return the random numbers of one set."""
        return np.random.default_rng([self.seed, *name.encode()])

    def classified(self, name: str, n: int, spread: float | Floats) -> tuple[Floats, NDArray[np.int64]]:
        """Draw latent vectors (N, D) and labels (N,) of samples around their classes."""
        rng, n = self.rng(name), self.sizes.get(name, n)
        labels = rng.permutation(np.arange(n) % CLASSES)
        return PROTOTYPES[labels] + np.reshape(spread, (-1, 1)) * noise(rng, n), labels


@dataclass(frozen=True)
class Model:
    """A model with noise of its own, drawn from `seed`; `noises` are those of the sets on which it is worse or better.

    The key ``""`` is the noise on all sets that are not named.
    """

    samples: Samples
    seed: int
    noises: Mapping[str, float] = field(default_factory=dict)

    def sees(self, name: str, latent: Floats, *, part: str = "") -> Floats:
        """Return the model's features of samples, of length 1; `part` keeps the noise of several calls apart."""
        rng = np.random.default_rng([self.samples.seed, self.seed, *f"{name}|{part}".encode()])
        own = self.noises.get(name, self.noises.get("", OWN_NOISE))
        return unit(latent + own * noise(rng, len(latent)))

    def predictions(self, name: str, latent: Floats, labels: NDArray[np.int64]) -> Predictions:
        """Return the answers to labelled samples."""
        return predicted(name, self.sees(name, latent), labels)

    @cached_property
    def of_id(self) -> Predictions:
        """The answers to the ID set."""
        return self.predictions("id", *self.samples.classified("id", ID_SIZE, ID_SPREAD))

    @cached_property
    def fitted(self) -> tuple[NDArray[np.bool_], float]:
        """The half of the ID set to fit on, and the temperature fitted there."""
        half = confidence.halves(self.of_id)
        return half, confidence.fit_temperature(self.of_id.rows(half))


def noise(rng: np.random.Generator, n: int) -> Floats:
    """Return n random vectors of a length of about 1."""
    return rng.normal(size=(n, WIDTH)) / WIDTH**0.5


def predicted(name: str, features: Floats, labels: NDArray[np.int64]) -> Predictions:
    """Return the zero-shot answers that follow from features (N, D) of length 1."""
    names = tuple(f"class {i}" for i in range(CLASSES))
    return Predictions(
        dataset=name,
        logits=(SCALE * features @ PROTOTYPES.T).astype(np.float32),
        labels=labels,
        class_names=names,
        class_ids=names,
        samples=[str(i) for i in range(len(labels))],
        scale=SCALE,
    )


def measure(model: Model) -> dict[str, Measurement]:
    """Return all gates of one model by name."""
    every = [*of_id(model), *of_ood(model), *of_factors(model), *of_cues(model), *of_corruptions(model)]
    every += [*of_captions(model), *of_correspondence(model)]
    for name in SHIFTS:
        every += of_shift(model, name)
    return {one.key: one for one in every}


def of_id(model: Model) -> Iterator[Measurement]:
    """Yield accuracy and calibration on the ID set."""
    found = model.of_id
    yield from (accuracy.top_k(found), accuracy.top_k(found, k=5), accuracy.mean_per_class(found))
    half, temperature = model.fitted
    yield from _calibration(found, found.rows(~half), temperature)


def of_shift(model: Model, name: str) -> Iterator[Measurement]:
    """Yield accuracy and calibration on one shifted set."""
    found = model.predictions(name, *model.samples.classified(name, SHIFT_SIZE, SHIFTS[name]))
    yield shift.accuracy_under_shift(found)
    yield shift.relative_robustness(model.of_id, found)
    yield from _calibration(found, found, model.fitted[1])


def _calibration(found: Predictions, for_scaled: Predictions, temperature: float) -> Iterator[Measurement]:
    scaled = confidence.softmax_confidences(for_scaled, temperature=temperature)
    for confidences in (confidence.softmax_confidences(found), scaled):
        yield from (calibration.measure(confidences, metric) for metric in calibration.METRICS)


def of_ood(model: Model) -> Iterator[Measurement]:
    """Yield the detection of both OOD sets by eight scores, and its mean over sets and over classes."""
    half = model.fitted[0]
    features = {"id": model.sees("id", model.samples.classified("id", ID_SIZE, ID_SPREAD)[0])}
    classes: dict[str, NDArray[np.int64] | None] = {"id": None}
    for name, (n, n_classes, moved) in OOD_SETS.items():
        classes[name] = of_class = np.arange(n) % n_classes
        latent = 0.5 * STRANGERS[name][of_class] + ID_SPREAD * noise(model.samples.rng(name), n)
        features[name] = model.sees(name, latent - moved * latent @ ONTO_CLASSES)
    for score in OOD_SCORES:
        scores = {
            name: ood_scores.Scores(
                dataset=name, score=score, values=_scores(score, rows, model, half), classes=classes[name]
            )
            for name, rows in features.items()
        }
        if score in ood_scores.OF_FEATURES:
            scores["id"] = replace(scores["id"], values=scores["id"].values[~half])
        of_sets = {
            metric: [ood.measure(scores["id"], scores[name], metric) for name in OOD_SETS] for metric in ood.METRICS
        }
        for metric, found in of_sets.items():
            yield from found
            if metric in {"auroc", "fpr95_id"}:
                yield ood.group_mean(found, "all")
                yield from (ood.class_mean(scores["id"], scores[name], metric) for name in OOD_SETS)


def _scores(score: str, features: Floats, model: Model, half: NDArray[np.bool_]) -> Floats:
    logits = (SCALE * features @ PROTOTYPES.T).astype(np.float32)
    if score in ood_scores.OF_LOGITS:
        return ood_scores.OF_LOGITS[score](logits, SCALE)
    if score == "neglabel":
        return ood_scores.negative_labels(logits, (SCALE * features @ NEGATIVES.T).astype(np.float32))
    latent, labels = model.samples.classified("id", ID_SIZE, ID_SPREAD)
    bank = model.sees("id", latent)[half]
    if score == "mahalanobis":
        return ood_scores.mahalanobis(features, bank, labels[half])
    return ood_scores.nearest_neighbours(features, bank)


def of_factors(model: Model) -> Iterator[Measurement]:
    """Yield accuracies and error ratios of 16 factors with 72 images each, and of as many images without a factor."""
    of_image = np.repeat(np.arange(len(FACTORS) + 1), 72)
    spreads = np.append(np.geomspace(2.2, 12, len(FACTORS)), 2.0)
    latent, labels = model.samples.classified("factors", len(of_image), spreads[of_image])
    columns = {name: of_image == i for i, name in enumerate(FACTORS)}
    found = replace(model.predictions("factors", latent, labels), annotations=columns)
    for name in FACTORS:
        yield visual_factors.accuracy(found, name)
        yield visual_factors.error_ratio(found, name)
    yield visual_factors.average(found)
    yield visual_factors.worst_factor(found)


def of_cues(model: Model) -> Iterator[Measurement]:
    """Yield shape bias and its parts on images with the shape of one class and the texture of another."""
    latent, shapes = model.samples.classified("cues", 224, 1.9)
    textures = (shapes + 1 + model.samples.rng("textures").integers(0, CLASSES - 1, len(shapes))) % CLASSES
    found = model.predictions("cues", latent + 0.55 * PROTOTYPES[textures], shapes)
    answers = cues.answers_of(replace(found, textures=textures))
    yield from (of_answers(answers) for of_answers in shape_bias.PROPERTIES.values())


def of_corruptions(model: Model) -> Iterator[Measurement]:
    """Yield accuracies and summaries of severity curves of 12 kinds at two severities."""
    latent, labels = (column[:CORRUPTED_IMAGES] for column in model.samples.classified("id", ID_SIZE, ID_SPREAD))
    clean = model.of_id.logits[:CORRUPTED_IMAGES].argmax(axis=1)
    every = []
    for strength, kind in zip(np.linspace(0.5, 9.0, len(CORRUPTION_KINDS)), CORRUPTION_KINDS, strict=True):
        damage = noise(model.samples.rng(kind), len(labels))
        answers = []
        for severity in SEVERITIES:
            hurt = latent + strength * severity / max(SEVERITIES) * damage
            found = predicted("id", model.sees("id", hurt, part=f"{kind}{severity}"), labels)
            yield corruptions.accuracy(found, kind, severity)
            answers.append(found.logits.argmax(axis=1))
        every.append(
            CorruptedAnswers(
                dataset="id",
                kind=kind,
                severities=SEVERITIES,
                answers=np.stack(answers),
                labels=labels,
                clean=clean,
                n_classes=CLASSES,
                samples=[str(i) for i in range(len(labels))],
            )
        )
    for kinds in ([one] for one in every):
        yield from (summary(kinds) for summary in corruptions.PROPERTIES.values())
    yield from (summary(every) for summary in corruptions.PROPERTIES.values())


def of_captions(model: Model) -> Iterator[Measurement]:
    """Yield retrieval, geometry of the embedding space, composition and word order on captioned images."""
    rng = model.samples.rng("captions")
    images = unit(rng.normal(size=(IMAGES, WIDTH)))
    of_image = np.append(np.arange(IMAGES), rng.integers(0, IMAGES, CAPTIONS - IMAGES))
    seen = model.sees("captions", images, part="images")
    found = CaptionedImages(
        dataset="captions",
        images=seen.astype(np.float32),
        captions=model.sees("captions", images[of_image] + 2.0 * noise(rng, CAPTIONS)).astype(np.float32),
        pairs=np.stack([of_image, np.arange(CAPTIONS)], axis=1),
        image_names=[str(i) for i in range(IMAGES)],
        texts=[""] * CAPTIONS,
    )
    yield modality.modality_gap(found)
    yield modality.alignment(found)
    yield from (modality.uniformity(found, tower) for tower in modality.TOWERS)
    for ranking in rank(found).values():
        yield from (retrieval.recall(ranking, k) for k in retrieval.RECALLS)
        yield retrieval.median_rank(ranking)
        yield retrieval.mean_rank(ranking)
    kinds = [kind for kind, n in ITEMS.items() for _ in range(n)]
    items = _contrasts(model, seen, images, kinds, false=1, difference=0.5, metric="composition")
    for kind in ("", *ITEMS):
        yield from (
            one(items, kind) for one in (composition.accuracy, composition.gain_over_blind, composition.text_only)
        )
    ordered = _contrasts(model, seen, images, ["order"] * 120, false=3, difference=0.2, metric="word_order")
    yield from (composition.accuracy(ordered), composition.gain_over_blind(ordered))


def _contrasts(
    model: Model, seen: Floats, images: Floats, kinds: list[str], *, false: int, difference: float, metric: str
) -> Contrasts:
    """Return cosines with true captions, and with `false` captions each that are not as near to the image."""
    rng, n = model.samples.rng(metric), len(kinds)
    image_of, items = np.arange(n) % IMAGES, np.repeat(np.arange(n), false)
    true = images[image_of] + 0.5 * noise(rng, n)
    wrong = true[items] + difference * noise(rng, n * false)
    captions = model.sees("captions", np.vstack([true, wrong]), part=metric)
    return contrast(
        seen,
        captions,
        texts=[""] * len(captions),
        image_of=image_of,
        true_of=np.arange(n),
        false_items=items,
        false_of=n + np.arange(n * false),
        dataset="captions",
        kinds=kinds,
        samples=[str(i) for i in range(n)],
        text_only=(rng.random(n) < 0.75).astype(np.float64),
        metric=metric,
    )


def of_correspondence(model: Model) -> Iterator[Measurement]:
    """Yield recall of matches between views of 18 scenes, and PCK of keypoints."""
    rng, own = model.samples.rng("views"), np.random.default_rng([model.samples.seed, model.seed, 1])
    angles = np.tile([15.0, 45.0, 75.0, 105.0], PAIRS // 4)
    scenes = np.repeat(np.arange(SCENES), PAIRS // SCENES)
    hard = 0.8 * rng.normal(size=SCENES)[scenes] + 0.5 * rng.normal(size=PAIRS) + angles / 60
    shared = hard[:, None] + rng.normal(0, 1.2, (PAIRS, MATCHES)) + own.normal(0, 0.8, (PAIRS, MATCHES))
    views = ViewMatches(
        dataset="views",
        metres=list(0.1 * np.exp(shared)),
        pixels=list(25 * np.exp(shared)),
        angles=angles,
        scenes=[str(scene) for scene in scenes],
        samples=[str(pair) for pair in range(PAIRS)],
    )
    yield from (correspondence.recall(views, within) for within in correspondence.WITHIN)
    for within in correspondence.BY_ANGLE:
        yield from (correspondence.recall(views, within, angles=angle) for angle in ANGLES)
    errors = 0.3 * np.exp(rng.normal(size=KEYPOINTS) * 0.8 + own.normal(0, 0.5, KEYPOINTS))
    pair_of, sources = np.arange(KEYPOINTS) // 7, np.arange(KEYPOINTS // 7 + 1)
    yield correspondence.pck(
        KeypointMatches(
            dataset="keypoints",
            errors=errors,
            pair_of=pair_of,
            sources=sources,
            classes=sources % 6,
            viewpoints=np.full(len(sources), -1),
            class_names=tuple("abcdef"),
        )
    )


def leave_out_intervals() -> None:
    """Stop properties from computing the intervals of values, which take most of the time.

    They decide nothing but the comparison of values without evidence: those of classwise ECE and median ranks stay.
    """

    def nothing(*_: object, **__: object) -> Interval:
        return WITHOUT_INTERVAL

    for module in (calibration, correspondence, corruptions, shape_bias, shift, visual_factors):
        module.interval_of = nothing  # type: ignore[assignment]
    accuracy.wilson = corruptions.mean_interval = roc.bootstrap_interval = nothing  # type: ignore[assignment]
    roc.coarse_tallies = lambda *_: []  # type: ignore[assignment]
