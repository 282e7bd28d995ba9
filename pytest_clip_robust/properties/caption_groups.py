"""Scores of hard pairs that count whole groups: a group is right if all of its pairs are.

SugarCrepe++ (Dumpala et al. 2024) has two true captions per image, and both must beat the false one. What'sUp (Kamath
et al. 2023) has images of the same objects in opposite relations. A tie is wrong. The accuracy of single pairs is
``composition.accuracy``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import Ints
from pytest_clip_robust.core.measurement import Measurement, Metric
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.names import SUGARCREPE_PP, WHATSUP_PAIR, WHATSUP_SET
from pytest_clip_robust.properties.composition import truncation
from pytest_clip_robust.scoring.pairs import Contrasts, Paraphrases
from pytest_clip_robust.stats import clusters

OF_THREE = 1 / 3
"""The chance that a certain one of three random numbers is the lowest, or the highest."""


@dataclass(frozen=True, slots=True)
class GroupScore:
    """A metric of whole groups; `chance` is its value for random scores, None if its pairs are independent."""

    metric: Metric
    chance: float | None


def _metric(score: str, *, headline: bool) -> Metric:
    return Metric(f"composition.{score}", direction="higher", tolerance=0.01, headline=headline)


GROUP_SCORES: Mapping[str, GroupScore] = {
    SUGARCREPE_PP: GroupScore(_metric(SUGARCREPE_PP, headline=True), OF_THREE),
    WHATSUP_PAIR: GroupScore(_metric(WHATSUP_PAIR, headline=False), None),
    WHATSUP_SET: GroupScore(_metric(WHATSUP_SET, headline=False), None),
}
"""The scores by the last part of their ids."""

TEXT_ONLY = _metric("sugarcrepe_pp_text_only", headline=False)


def whole_groups(found: Contrasts, score: str) -> Measurement:
    """Measure the share of groups whose pairs are all right, as ``composition.<score>``, 0 to 1.

    - ``sugarcrepe_pp_image_to_text``: triplets whose two true captions both have a higher cosine with the image than
      the false one (Dumpala et al. 2024, image-text task). Chance is 1/3: the false caption is the lowest of three.
    - ``whatsup_pair``: pairs of images with opposite relations, such as left and right, that are both right.
    - ``whatsup_set``: sets of four images of the same two objects that are all right (Kamath et al. 2023). An image is
      right if its true caption beats the three others, so chance is 1/16 and 1/256.

    `details` have the accuracy of single pairs, the value without the image (``blind``), and that of every kind, if all
    pairs of a group are of one kind. Groups that begin with the same image are one cluster in the interval.

    Raises:
        MeasurementError: the set does not have the groups of this score.
    """
    if score not in GROUP_SCORES or score not in found.groups:
        known = ", ".join(found.groups) or "none"
        raise MeasurementError(f"{found.dataset!r} has no groups for the score {score!r}; it has {known}")
    groups = found.groups[score]
    right = _all_right(found.right, groups)
    first = np.unique(groups, return_index=True)[1]
    chance = GROUP_SCORES[score].chance
    if chance is None:
        chances = np.ones(len(right))
        np.multiply.at(chances, groups, 1 / found.choices)
        chance = float(chances.mean())
    return _measurement(
        found,
        GROUP_SCORES[score].metric,
        right,
        images=found.images[first],
        samples=[found.samples[i] for i in first.tolist()],
        details={"accuracy": float(found.right.mean()), "blind": float(_all_right(found.blind_right, groups).mean())}
        | _by_kind(found, right, groups),
        chance=chance,
    )


def text_only_task(found: Paraphrases) -> Measurement:
    """Measure how often two true captions are closest to each other: ``composition.sugarcrepe_pp_text_only``, 0 to 1.

    A triplet is right if the cosine of its true captions is higher than that of each of them with the false caption
    (Dumpala et al. 2024, text-only task). It measures the text tower alone; no image is used. Chance is 1/3. `details`
    have the value of every kind.
    """
    kinds = np.array(found.kinds)
    return _measurement(
        found,
        TEXT_ONLY,
        found.right,
        images=found.images,
        samples=found.samples,
        details={f"accuracy.{kind}": float(found.right[kinds == kind].mean()) for kind in sorted(set(found.kinds))},
        chance=OF_THREE,
    )


def _all_right(right: NDArray[np.bool_], groups: Ints) -> NDArray[np.bool_]:
    """Return (G,) whether all items of each group are right."""
    whole = np.ones(groups.max() + 1, np.bool_)
    np.logical_and.at(whole, groups, right)
    return whole


def _by_kind(found: Contrasts, right: NDArray[np.bool_], groups: Ints) -> dict[str, float]:
    kinds: dict[int, set[str]] = {}
    for group, kind in zip(groups.tolist(), found.kinds, strict=True):
        kinds.setdefault(group, set()).add(kind)
    if any(len(names) > 1 for names in kinds.values()):
        return {}
    of_group = np.array(["".join(kinds[group]) for group in range(len(right))])
    return {f"accuracy.{kind}": float(right[of_group == kind].mean()) for kind in sorted(set(found.kinds))}


def _measurement(
    found: Contrasts | Paraphrases,
    metric: Metric,
    right: NDArray[np.bool_],
    *,
    images: Ints,
    samples: Sequence[str],
    details: Mapping[str, float],
    chance: float,
) -> Measurement:
    return Measurement.of(
        found,
        metric,
        float(right.mean()),
        clusters.proportion_interval(right, images),
        n=len(right),
        outcomes=right,
        samples=samples,
        evidence=clusters.mean_evidence(found.dataset, right, images),
        details=dict(details) | truncation(found),
        chance=chance,
    )
