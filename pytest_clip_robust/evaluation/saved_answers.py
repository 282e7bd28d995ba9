"""Saved answers of a model, matched with the samples and classes of a data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import Floats, Ints
from pytest_clip_robust.core.predictions import TopAnswers
from pytest_clip_robust.datasets.images.cue_names import read_cues
from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.errors import MeasurementError, NotApplicableError
from pytest_clip_robust.evaluation.classes import Classes, classes_of
from pytest_clip_robust.evaluation.heads import OwnClasses
from pytest_clip_robust.models.saved_predictions import SavedPredictions
from pytest_clip_robust.scoring.cues import NO_ANSWER
from pytest_clip_robust.system.text import printable

_NameOf = Callable[[str], str]
Array = NDArray[np.float32]


class SavedAnswers:
    """The saved answers of one model.

    normalised: whether the logits are logarithms of probabilities, so that their level says nothing.
    """

    def __init__(self, saved: SavedPredictions, label: str) -> None:
        """Read the list of classes; `label` is the model's, for messages.

        Raises:
            DataError: the list does not exist.
        """
        self._saved, self._label = saved, label
        self._classes = None if saved.classes is None else OwnClasses(saved.classes, label)
        self.normalised = saved.normalised
        self._used: dict[int, tuple[str, str]] = {}
        self._rows: dict[str, Ints] = {}

    def knows(self, classes: Classes) -> bool:
        """Return whether the model answered among `classes`, or at least named one of them in words."""
        if self._classes is None:
            return bool({*classes.ids, *(name for names in classes.names for name in names)} & set(self._saved.answers))
        return self._classes.knows(classes)

    def logits(self, images: ImageSet, classes: Classes) -> Array:
        """Return the (N, C) logits of a set's images among C classes.

        Raises:
            MeasurementError: an image or a class is not in the file, or an image is in it twice with other values.
            NotApplicableError: the file has no logits.
        """
        if self._saved.logits is None or self._classes is None:
            raise NotApplicableError(
                f"{self._label} has the answers to {images.name!r} and not the logits of all classes"
            )
        rows, columns = self.rows(images), self._classes.columns(classes)
        logits: Array = self._saved.logits[rows][:, columns]
        return logits

    def top(self, images: ImageSet) -> TopAnswers | None:
        """Return the answers to a set's images among its classes, or None if logits are known.

        An answer that is not one of the set's classes is wrong.

        Raises:
            MeasurementError: an image is not in the file, or twice with different answers.
        """
        if self._saved.logits is not None:
            return None
        rows = self.rows(images)
        position = self._positions(classes_of(images))
        confidence = self._saved.confidence
        return TopAnswers(
            answers=np.array([position.get(self._saved.answers[row], NO_ANSWER) for row in rows.tolist()], np.int64),
            confidence=None if confidence is None else confidence[rows],
        )

    def top_among(self, images: ImageSet, classes: Classes) -> Floats | None:
        """Return (N,) the logarithm of the answers' confidences, if only these are known.

        Raises:
            NotApplicableError: the model answered among more classes than `classes`, or its confidences are unknown.
        """
        if self._saved.logits is not None:
            return None
        if self._saved.confidence is None:
            raise NotApplicableError(f"{self._label} has the answers to {images.name!r} and not their confidences")
        if self._classes is not None and len(self._classes.listed) != len(classes.ids):
            raise NotApplicableError(
                f"{self._label} answered among {len(self._classes.listed)} classes, not the {len(classes.ids)} of "
                f"{classes.source!r}"
            )
        confidence = np.maximum(self._saved.confidence[self.rows(images)], np.finfo(np.float64).tiny)
        found: Floats = np.log(confidence)
        return found

    def rows(self, images: ImageSet) -> Ints:
        """Return (N,) the row of each image, matched by path, else by file name, both without suffixes.

        Raises:
            MeasurementError: an image is not in the file, or two rows with other values could be meant.
        """
        key = f"{images.name}|{images.fingerprint}"
        if key not in self._rows:
            self._rows[key] = self._match(images)
        return self._rows[key]

    def _match(self, images: ImageSet) -> Ints:
        for name_of in (_without_suffix, _file_name, _cue_name):
            by_name = self._by_name(images.name, name_of)
            found = [by_name.get(name_of(sample), []) for sample in images.samples]
            if any(found):
                break
        missing = [sample for sample, rows in zip(images.samples, found, strict=True) if not rows]
        if missing:
            raise MeasurementError(
                f"{self._label} has no answer to {len(missing)} of the {len(images)} images of {images.name!r}, such "
                f"as {printable(missing[0])!r}; its first sample is {printable(self._saved.samples[0])!r}"
            )
        for sample, rows in zip(images.samples, found, strict=True):
            if len(rows) > 1 and not all(self._same(rows[0], row) for row in rows[1:]):
                raise MeasurementError(
                    f"{self._label} has {len(rows)} different answers to {printable(sample)!r} of {images.name!r}: "
                    "give the samples their paths, or a column dataset"
                )
        self._check_used(images, [rows[0] for rows in found])
        return np.array([rows[0] for rows in found], np.int64)

    def _check_used(self, images: ImageSet, rows: Sequence[int]) -> None:
        """Check that no row was the answer to another image before, of a set with the same file names."""
        for row, digest in zip(rows, images.digests, strict=True):
            before, name = self._used.setdefault(row, (digest, images.name))
            if before != digest:
                raise MeasurementError(
                    f"{self._label} has one answer to {printable(self._saved.samples[row])!r}, and {name!r} and "
                    f"{images.name!r} have different images of that name: add a column dataset with these names"
                )

    def _by_name(self, dataset: str, name_of: _NameOf) -> dict[str, list[int]]:
        rows: dict[str, list[int]] = {}
        for row in self._rows_of(dataset):
            rows.setdefault(name_of(self._saved.samples[row]), []).append(row)
        return rows

    def _rows_of(self, dataset: str) -> Sequence[int]:
        """Return the rows of a data set: those that name it, or all if the file does not tell sets apart."""
        if self._saved.datasets is None:
            return range(len(self._saved.samples))
        own = self._of_dataset.get(dataset)
        if own is None:
            raise MeasurementError(
                f"{self._label} has no rows of data set {dataset!r}; its column dataset names "
                f"{', '.join(sorted(map(printable, self._of_dataset)))}"
            )
        return own

    @cached_property
    def _of_dataset(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for row, name in enumerate(self._saved.datasets or ()):
            found.setdefault(name, []).append(row)
        return found

    def _positions(self, classes: Classes) -> dict[str, int]:
        """Return the position among a set's classes of every answer that means one of them."""
        if self._classes is None:
            named = {name: i for i, names in enumerate(classes.names) for name in names}
            return named | {one: i for i, one in enumerate(classes.ids)}
        columns = self._classes.columns(classes).tolist()
        listed = self._classes.listed
        of_column = {column: i for i, column in enumerate(columns)}
        found = {answer: listed.find(answer) for answer in set(self._saved.answers)}
        unknown = sorted(answer for answer, column in found.items() if column is None)
        if unknown:
            raise MeasurementError(
                f"{self._label} has {len(unknown)} answers that are not among the {len(listed)} classes of "
                f"{listed.source}, such as {printable(unknown[0])!r}"
            )
        return {answer: of_column[column] for answer, column in found.items() if column in of_column}

    def _same(self, row: int, other: int) -> bool:
        saved = self._saved
        if saved.logits is not None:
            return bool(np.array_equal(saved.logits[row], saved.logits[other]))
        confidence = saved.confidence
        same_confidence = confidence is None or confidence[row] == confidence[other]
        return saved.answers[row] == saved.answers[other] and bool(same_confidence)


def _without_suffix(sample: str) -> str:
    return str(PurePosixPath(sample).with_suffix("")) if PurePosixPath(sample).name else sample


def _file_name(sample: str) -> str:
    return PurePosixPath(sample).stem


def _cue_name(sample: str) -> str:
    """Return the part of a cue-conflict image's name that is the same in tables of decisions."""
    cues = read_cues(sample)
    return sample if cues is None else cues.stem
