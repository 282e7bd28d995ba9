"""The logits of one model for every image of one data set, with the labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.measurement import Provenance
from pytest_clip_robust.errors import MeasurementError


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """The logits of one model for every image of one data set, with the labels.

    logits: (N, C) float32, the model's own ``scale * cosine + bias``, before any softmax or sigmoid.
    labels: (N,) int64 in ``[0, C)``.
    class_names: C names to display; class_ids: C ids (a WordNet id, or the name) that are the same in every set.
    samples: N file names or row names.
    annotations: named (N,) boolean columns, such as the visual factors.
    textures: (N,) int64 in ``[0, C)``, for cue-conflict sets, whose `labels` are the shapes; else None.
    scale, bias: those of the logits, so that ``(logits - bias) / scale`` are the cosines.
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
                f"{where}: {n_classes} logits per sample, {len(self.class_names)} names and {len(self.class_ids)} ids"
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
        columns = {**self.annotations} if self.textures is None else {**self.annotations, "textures": self.textures}
        for name, column in columns.items():
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

        ImageNet-R and ImageNet-A are scored in this way: logits of their 200 classes only, before any softmax.

        Raises:
            MeasurementError: a class is not among this set's classes, or no sample is left.
        """
        position = {class_id: i for i, class_id in enumerate(self.class_ids)}
        missing = [class_id for class_id in class_ids if class_id not in position]
        if missing:
            raise MeasurementError(
                f"{self.dataset!r} lacks {len(missing)} of {len(class_ids)} requested classes, first {missing[0]!r}"
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
