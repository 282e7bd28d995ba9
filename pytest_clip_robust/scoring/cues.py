"""Answers to cue-conflict images, and the public 16 classes as groups of ImageNet's 1,000 (Geirhos et al. 2019)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import Floats, Ints, row_slices
from pytest_clip_robust.core.measurement import Provenance
from pytest_clip_robust.core.predictions import Predictions
from pytest_clip_robust.errors import MeasurementError

Aggregation = Literal["mean", "sum", "max"]

IMAGENET_CLASSES = 1000
NO_ANSWER = -1

MEMBERS: Mapping[str, tuple[int | range, ...]] = {
    "airplane": (404,),
    "bear": (range(294, 298),),
    "bicycle": (444, 671),
    "bird": (
        8, range(10, 17), range(18, 21), range(22, 25), range(80, 84), range(87, 97), range(98, 101), range(127, 134),
        range(135, 146),
    ),
    "boat": (472, 554, 625, 814, 914),
    "bottle": (440, 720, 737, 898, 899, 901, 907),
    "car": (436, 511, 817),
    "cat": (range(281, 287),),
    "chair": (423, 559, 765, 857),
    "clock": (409, 530, 892),
    "dog": (
        range(152, 192), range(193, 204), range(205, 227), range(228, 242), 243, range(244, 251), range(252, 258), 259,
        261, 262, 263, range(265, 269),
    ),
    "elephant": (385, 386),
    "keyboard": (508, 878),
    "knife": (499,),
    "oven": (766,),
    "truck": (555, 569, 656, 675, 717, 734, 864, 867),
}  # fmt: skip
"""The 16 classes, each with the positions of its members among ImageNet's 1,000 (appendix of the paper)."""

SIXTEEN = tuple(MEMBERS)

_AGGREGATE: Mapping[str, Callable[[Floats], Floats]] = {
    "mean": lambda members: members.mean(axis=1),
    "sum": lambda members: members.sum(axis=1),
    "max": lambda members: members.max(axis=1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CueAnswers:
    """The answers of one observer, a model or a person, to N cue-conflict images.

    answers: (N,) positions in `class_names`, or -1 if the answer is not among them.
    shapes, textures: (N,) positions of the two true classes; samples: N names of images.
    choices: the number of classes that answers were chosen from; by default those of `class_names`.
    decision: how answers were reached, such as ``direct``.

    Raises:
        MeasurementError: lengths differ, or no image has different classes of shape and texture.
    """

    dataset: str
    answers: Ints
    shapes: Ints
    textures: Ints
    class_names: tuple[str, ...]
    samples: Sequence[str]
    choices: int | None = None
    decision: str = "direct"
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        sizes = {len(self.answers), len(self.shapes), len(self.textures), len(self.samples)}
        if len(sizes) > 1:
            raise MeasurementError(f"cue conflict {self.dataset!r}: columns of {sorted(sizes)} rows; expected one size")
        if not (self.shapes != self.textures).any():
            raise MeasurementError(
                f"cue conflict {self.dataset!r}: no image has the texture of another class than its shape's"
            )

    def __len__(self) -> int:
        return len(self.answers)

    @property
    def conflicting(self) -> NDArray[np.bool_]:
        """(N,) whether shape and texture are of different classes; only these images count."""
        conflicting: NDArray[np.bool_] = self.shapes != self.textures
        return conflicting


def answers_of(predictions: Predictions) -> CueAnswers:
    """Return the class of the highest logit as the answer to each image, with the decision ``direct``.

    Raises:
        MeasurementError: the set's textures are not known.
    """
    if predictions.textures is None:
        raise MeasurementError(
            f"{predictions.dataset!r} is not a cue-conflict set: it needs a column texture, or files named "
            "SHAPE1-TEXTURE2"
        )
    return CueAnswers(
        dataset=predictions.dataset,
        answers=predictions.answers,
        shapes=predictions.labels,
        textures=predictions.textures,
        class_names=predictions.class_names,
        samples=predictions.samples,
        provenance=predictions.provenance,
    )


def member_ids(name: str) -> list[int]:
    """Return the positions of the ImageNet classes that make up one of the 16.

    >>> member_ids("oven")
    [766]
    """
    return [i for member in MEMBERS[name] for i in (member if isinstance(member, range) else (member,))]


def sixteen_way(logits: NDArray[np.floating], *, aggregation: Aggregation = "mean") -> Ints:
    """Return (N,) answers among the 16 classes, given (N, 1000) ImageNet logits.

    The softmax is over all 1,000 classes; a class of the 16 has the mean, sum or maximum of its members' probabilities.
    The published numbers take the mean. Of equal classes the first counts.

    Raises:
        MeasurementError: samples do not have 1,000 logits each, or the aggregation is unknown.
    """
    if logits.ndim != 2 or logits.shape[1] != IMAGENET_CLASSES:
        raise MeasurementError(f"logits of shape {logits.shape}: the 16 classes are groups of ImageNet's 1,000")
    if aggregation not in _AGGREGATE:
        raise MeasurementError(f"{aggregation=}: expected one of {', '.join(_AGGREGATE)}")
    answers = np.empty(len(logits), np.int64)
    for rows in row_slices(len(logits)):
        part = logits[rows]
        # Dividing by the same number for all classes changes no answer, so the softmax needs no denominator.
        weights = np.exp(part.astype(np.float64) - part.max(axis=1, keepdims=True))
        grouped = [_AGGREGATE[aggregation](weights[:, member_ids(name)]) for name in SIXTEEN]
        answers[rows] = np.stack(grouped, axis=1).argmax(axis=1)
    return answers
