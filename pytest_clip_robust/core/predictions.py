"""The answers of one model for every image of one data set, with the labels: logits, or only what is known of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.measurement import Provenance
from pytest_clip_robust.errors import MeasurementError, NotApplicableError


@dataclass(frozen=True, slots=True, kw_only=True)
class TopAnswers:
    """N answers without their logits, and perhaps with their confidences.

    answers: (N,) int64 classes, or -1 for an answer that is not one of the set's classes.
    confidence: (N,) the probability (0-1) of each answer, or None if that is not known either.
    """

    answers: NDArray[np.int64]
    confidence: NDArray[np.float64] | None = None

    def rows(self, kept: NDArray[np.int64]) -> TopAnswers:
        """Keep the answers at the positions `kept`."""
        return TopAnswers(
            answers=self.answers[kept], confidence=None if self.confidence is None else self.confidence[kept]
        )


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
    top: for saved answers without logits; `logits` are then NaN, and `all_logits` raises. `answers` are always known.
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
    top: TopAnswers | None = None
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
        self._check_top(n_classes, where)
        finite = np.atleast_1d(np.isfinite(self.logits).all(axis=1))
        if self.top is None and not finite.all():
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

    @property
    def answers(self) -> NDArray[np.int64]:
        """(N,) the class with the highest logit, the first of equal ones, or -1 for an answer outside of the set."""
        if self.top is not None:
            return self.top.answers
        answers: NDArray[np.int64] = self.logits.argmax(axis=1)
        return answers

    def all_logits(self, purpose: str) -> NDArray[np.float32]:
        """Return the (N, C) logits; `purpose` begins the message if they are not known.

        Raises:
            NotApplicableError: only the answers are known.
        """
        if self.top is not None:
            who = self.provenance.model or "the model"
            raise NotApplicableError(
                f"{purpose} needs the logits of all classes; only the answers of {who} to {self.dataset!r} are known"
            )
        return self.logits

    def _check_top(self, n_classes: int, where: str) -> None:
        if self.top is None:
            return
        answers, confidence = self.top.answers, self.top.confidence
        if answers.shape != self.labels.shape or (confidence is not None and confidence.shape != answers.shape):
            raise MeasurementError(
                f"{where}: {answers.shape} answers; expected {self.labels.shape}, and as many confidences"
            )
        if answers.min() < -1 or answers.max() >= n_classes:
            raise MeasurementError(
                f"{where}: answers span {answers.min()}..{answers.max()}, expected -1..{n_classes - 1}"
            )
        if confidence is not None and not ((confidence >= 0) & (confidence <= 1)).all():
            raise MeasurementError(
                f"{where}: a confidence is NaN or outside of 0..1; expected probabilities of the answers"
            )

    def rows(self, keep: NDArray[np.bool_]) -> Predictions:
        """Keep the samples where `keep` (N,) is true."""
        kept = np.flatnonzero(keep)
        return replace(
            self,
            logits=self.logits[kept],
            top=None if self.top is None else self.top.rows(kept),
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
            NotApplicableError: only answers are known, which were chosen among all classes.
        """
        self.all_logits(f"{self.dataset!r} restricted to {len(class_ids)} classes")
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
