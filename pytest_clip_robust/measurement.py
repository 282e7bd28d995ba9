"""The two values that pass between layers: Predictions go into a property, a Measurement comes out.

Both are plain frozen data over NumPy arrays, so that a notebook can use the properties without pytest or torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.evidence import Evidence, mean_evidence

Direction = Literal["higher", "lower"]
"""Which way is better."""


def together(*digests: str) -> str:
    """Return one digest for several; equal ones count once."""
    distinct = list(dict.fromkeys(digests))
    return distinct[0] if len(distinct) == 1 else hashlib.sha256("|".join(distinct).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a number comes from. Numbers that differ in any digest are never compared.

    Each digest is lower-case hexadecimal, or ``""`` where it does not apply.
    """

    model: str = ""
    weights: str = ""
    preprocess: str = ""
    precision: str = ""
    data: str = ""
    prompts: str = ""

    def beside(self, *others: Provenance) -> Provenance:
        """Return where a number comes from that was made of this and `others`: their data and prompts together."""
        return replace(
            self,
            data=together(self.data, *(other.data for other in others)),
            prompts=together(self.prompts, *(other.prompts for other in others)),
        )


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval ``[low, high]`` in the units of its value."""

    low: float
    high: float
    level: float
    method: str


@dataclass(frozen=True, slots=True)
class Miss:
    """One sample that was decided wrongly; `confidence` is the probability (0-1) given to `predicted`."""

    sample: str
    truth: str
    predicted: str
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What a property found.

    `metric` carries its convention (``calibration.ece_15_equal_width``); only equal ids are compared.
    `subset` names the part of `dataset` that was measured (a factor, a severity), or is ``""`` for all of it.
    `outcomes` (n,) holds one number a sample, in the order of `samples`, where the property is a mean over samples.
    `evidence` is what a comparison with another model on the same samples needs; outcomes make up their own.
    `misses` come worst first: the wrong decisions held with the highest confidence.
    `remark` says in words what the number cannot, such as over- or underconfidence.
    `plot` has named columns of equal length: the points of a curve, or the bins of a diagram.
    """

    metric: str
    value: float
    n: int
    interval: Interval
    direction: Direction
    dataset: str
    subset: str = ""
    outcomes: NDArray[np.float32] | None = None
    samples: Sequence[str] = ()
    evidence: Evidence | None = None
    misses: tuple[Miss, ...] = ()
    details: Mapping[str, float] = field(default_factory=dict)
    remark: str = ""
    plot: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        if not np.isfinite(self.value):
            raise MeasurementError(f"{self.key}: value={self.value} is not finite, so it cannot be judged")
        if self.n < 1:
            raise MeasurementError(f"{self.key}: n={self.n}, so there is nothing to measure")
        if self.evidence is None and self.outcomes is not None:
            object.__setattr__(self, "evidence", mean_evidence(self.dataset, self.outcomes))

    @property
    def key(self) -> str:
        """Name this measurement within a run: ``metric[dataset/subset]``."""
        return f"{self.metric}[{'/'.join(part for part in (self.dataset, self.subset) if part)}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """What a model says of every image of one data set.

    logits: (N, C) float32, the model's own ``scale * cosine + bias``, never squashed.
    labels: (N,) int64 in ``[0, C)``.
    class_names: C names as shown to people; class_ids: C stable ids (a WordNet id, or the name) that match across sets.
    samples: N file names or row names.
    annotations: named (N,) boolean columns, such as the visual factors.
    textures: (N,) int64 in ``[0, C)``, the second true answer of a cue-conflict set; None for other sets.
    scale, bias: what turned cosines into logits; ``(logits - bias) / scale`` are the cosines.
    """

    dataset: str
    logits: NDArray[np.float32]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    class_ids: tuple[str, ...]
    samples: Sequence[str]
    annotations: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    textures: NDArray[np.int64] | None = None
    scale: float = 1.0
    bias: float = 0.0
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        where = f"predictions on {self.dataset!r}"
        if self.logits.ndim != 2 or len(self.labels) != len(self.logits) or len(self.samples) != len(self.logits):
            raise MeasurementError(
                f"{where}: logits {self.logits.shape}, labels {self.labels.shape} and {len(self.samples)} samples "
                "disagree; expected (N, C), (N,) and N"
            )
        if len(self.labels) == 0:
            raise MeasurementError(f"{where}: no samples, so there is nothing to measure")
        n_classes = self.logits.shape[1]
        if not len(self.class_names) == len(self.class_ids) == n_classes:
            raise MeasurementError(
                f"{where}: {n_classes} logits a sample for {len(self.class_names)} names and {len(self.class_ids)} ids"
            )
        for name, classes in (("labels", self.labels), ("textures", self.textures)):
            if classes is not None and (classes.min() < 0 or classes.max() >= n_classes):
                raise MeasurementError(
                    f"{where}: {name} span {classes.min()}..{classes.max()}, expected 0..{n_classes - 1}"
                )
        finite = np.atleast_1d(np.isfinite(self.logits).all(axis=1))
        if not finite.all():
            row = int(np.flatnonzero(~finite)[0])
            raise MeasurementError(
                f"{where}: {int((~finite).sum())} of {len(finite)} samples have NaN or infinite logits, "
                f"first {self.samples[row]!r}; the checkpoint or the precision is broken"
            )
        beside = {**self.annotations} if self.textures is None else {**self.annotations, "textures": self.textures}
        for name, column in beside.items():
            if column.shape != self.labels.shape:
                raise MeasurementError(f"{where}: column {name!r} has shape {column.shape}, not {self.labels.shape}")

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, keep: NDArray[np.bool_]) -> Predictions:
        """Keep the samples where `keep` (N,) is true."""
        kept = np.flatnonzero(keep)
        return replace(
            self,
            logits=self.logits[kept],
            labels=self.labels[kept],
            samples=[self.samples[i] for i in kept.tolist()],
            annotations={name: column[kept] for name, column in self.annotations.items()},
            textures=None if self.textures is None else self.textures[kept],
        )

    def restricted_to(self, class_ids: Sequence[str]) -> Predictions:
        """Keep the classes `class_ids`, in that order, and the samples labelled with one of them.

        This is how ImageNet-R and -A are scored: logits sliced to their 200 classes before any softmax.

        Raises:
            MeasurementError: a class is not among this set's classes, or no sample is left.
        """
        position = {class_id: i for i, class_id in enumerate(self.class_ids)}
        missing = [class_id for class_id in class_ids if class_id not in position]
        if missing:
            raise MeasurementError(
                f"{self.dataset!r} lacks {len(missing)} of {len(class_ids)} wanted classes, first {missing[0]!r}"
            )
        columns = np.array([position[class_id] for class_id in class_ids], dtype=np.int64)
        new_label = np.full(len(self.class_ids), -1, dtype=np.int64)
        new_label[columns] = np.arange(len(columns))
        labels = new_label[self.labels]
        kept = np.flatnonzero(labels >= 0)
        return replace(
            self,
            logits=self.logits[np.ix_(kept, columns)],
            labels=labels[kept],
            class_names=tuple(self.class_names[i] for i in columns),
            class_ids=tuple(class_ids),
            samples=[self.samples[i] for i in kept.tolist()],
            annotations={name: column[kept] for name, column in self.annotations.items()},
            textures=None if self.textures is None else new_label[self.textures[kept]],
        )
