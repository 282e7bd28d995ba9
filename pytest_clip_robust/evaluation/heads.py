"""Answers of models with classes of their own, a head or saved answers, matched with the classes of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import Ints, row_slices
from pytest_clip_robust.datasets.images.labels import ClassList, class_list, named_classes
from pytest_clip_robust.errors import DataError, MeasurementError
from pytest_clip_robust.evaluation.classes import Classes
from pytest_clip_robust.models.outputs import float_array
from pytest_clip_robust.models.protocols import Classifies
from pytest_clip_robust.system.text import printable

NAMES_SHOWN = 3


class OwnClasses:
    """The classes that a model answers among."""

    def __init__(self, classes: str | Sequence[str], label: str) -> None:
        """Read the list of classes, in the form of `Classifies`; `label` is the model's, for messages.

        Raises:
            DataError: the list does not exist.
        """
        self.listed = own_classes(classes, label)
        self._label = label

    def knows(self, classes: Classes) -> bool:
        """Return whether each of `classes` is one of the model's."""
        return bool((match_classes(classes, self.listed) >= 0).all())

    def columns(self, classes: Classes) -> Ints:
        """Return (C,) the position of each of C classes among the model's.

        Raises:
            MeasurementError: a class is not one of them.
        """
        columns = match_classes(classes, self.listed)
        unknown = np.flatnonzero(columns < 0)
        if len(unknown):
            named = ", ".join(repr(printable(classes.ids[i])) for i in unknown[:NAMES_SHOWN])
            raise MeasurementError(
                f"{self._label} answers among the {len(self.listed)} classes of {self.listed.source}, without "
                f"{len(unknown)} of the {len(classes.ids)} classes of {classes.source!r}, such as {named}: "
                "measure it on sets with its classes"
            )
        return columns


class Head:
    """The head of one model: logits among the classes of a data set, where it knows all of them.

    Logits of other classes are left out before any softmax, as ImageNet-A and ImageNet-R are scored.
    """

    def __init__(self, head: Classifies, label: str) -> None:
        """Read the head's list of classes; `label` is the model's, for messages.

        Raises:
            DataError: the list does not exist.
        """
        self._head, self._label = head, label
        self.classes = OwnClasses(head.classes, label)

    def logits(self, features: NDArray[np.float32], classes: Classes) -> NDArray[np.float32]:
        """Return the (N, C) logits of (N, D) features among C classes.

        Raises:
            MeasurementError: a class is not among the head's, or the head's logits do not fit its list.
        """
        columns = self.classes.columns(classes)
        logits = np.empty((len(features), len(columns)), np.float32)
        for part in row_slices(len(features)):
            logits[part] = self._checked(self._head.classify(features[part]))[:, columns]
        return logits

    def _checked(self, logits: Any) -> NDArray[np.float32]:
        rows = float_array(logits)
        listed = self.classes.listed
        if rows.ndim != 2 or rows.shape[1] != len(listed):
            raise MeasurementError(
                f"the head of {self._label} returns logits of shape {rows.shape}; expected {len(listed)} per image, "
                f"one for each class of {listed.source}"
            )
        return rows


def own_classes(classes: str | Sequence[str], label: str) -> ClassList:
    """Return the list of a model's own classes: a class list by name or file, or the classes themselves.

    Raises:
        DataError: the list does not exist, is empty, or names a class twice.
    """
    if isinstance(classes, str):
        return class_list(classes)
    lines = list(classes)
    if not lines or not all(isinstance(line, str) for line in lines):
        raise DataError(f"the classes of {label} are not names: expected a class list, or one id or name per class")
    return named_classes(lines, source=label)


def match_classes(classes: Classes, known: ClassList) -> Ints:
    """Return (C,) the position in `known` of each of C classes, by id or else by name; -1 where none, or not one, fits.

    Two classes never share a position: neither of them has one then.
    """
    found = np.full(len(classes.ids), -1, np.int64)
    for i, (one, names) in enumerate(zip(classes.ids, classes.names, strict=True)):
        places = known.matches(one) if not one.isdecimal() else ()
        if len(places) != 1:
            places = tuple({place for name in names for place in known.matches(name) if not name.isdecimal()})
        if len(places) == 1:
            found[i] = places[0]
    shared, counts = np.unique(found[found >= 0], return_counts=True)
    found[np.isin(found, shared[counts > 1])] = -1
    return found
