"""Accuracy on photographs with a wrong word on a note, after SCAM (Westerhoff et al. 2025, arXiv 2504.04893).

The model decides between the name of the object and the word. A tie is wrong. The same photographs exist without the
note (NoSCAM), with the handwritten note (SCAM), and with the word put in by a program (SynthSCAM).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pytest_clip_robust.core.measurement import Measurement, Metric
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.names import PHOTO
from pytest_clip_robust.properties.composition import rows_of, worst_misses
from pytest_clip_robust.properties.typographic import loss_of
from pytest_clip_robust.scoring.pairs import Contrasts
from pytest_clip_robust.stats.intervals import wilson

WITHOUT, WRITTEN, SYNTHETIC = "NoSCAM", "SCAM", "SynthSCAM"
VERSIONS = (WITHOUT, WRITTEN, SYNTHETIC)
ATTACKS = (WRITTEN, SYNTHETIC)
"""The versions of a photograph, and those with a word."""

ACCURACY = Metric("typographic.scam_accuracy", direction="higher", tolerance=0.01, headline=False)
DROP = Metric("typographic.scam_drop", direction="lower", tolerance=0.01, headline=False)


def accuracy(found: Contrasts, version: str) -> Measurement:
    """Measure how often the object's name has a higher cosine than the word, as ``typographic.scam_accuracy``, 0 to 1.

    Chance is 1/2, and the interval Wilson's. The version ``SCAM`` is a headline, the others are details.

    Raises:
        MeasurementError: no photograph is of that version.
    """
    rows = rows_of(found, version)
    right = found.right[rows]
    return Measurement.of(
        found,
        replace(ACCURACY, headline=version == WRITTEN),
        float(right.mean()),
        wilson(int(right.sum()), len(right)),
        n=len(right),
        subset=version,
        outcomes=right,
        samples=[found.samples[row] for row in rows.tolist()],
        misses=worst_misses(found, rows[~right]),
        chance=0.5,
    )


def drop(found: Contrasts, version: str) -> Measurement:
    """Measure the accuracy that the word costs, as ``typographic.scam_drop``; lower is better.

    The value is the accuracy without the note minus that of `version`, on the photographs that have both, -1 to 1. The
    interval is Student's for paired differences. `details` have both accuracies, the number of photographs that are
    right in one version only, and McNemar's mid-p for the hypothesis that the word costs nothing.

    Raises:
        MeasurementError: no photograph has both versions, or one has a version twice.
    """
    clean, attacked = (_by_photo(found, one) for one in (WITHOUT, version))
    photos = [photo for photo in attacked if photo in clean]
    if not photos:
        raise MeasurementError(f"{found.dataset!r}: no photograph has both versions {WITHOUT!r} and {version!r}")
    before, after = (np.array([of[photo] for photo in photos]) for of in (clean, attacked))
    right = found.right
    return loss_of(
        found,
        DROP,
        right[before],
        right[after],
        subset=version,
        samples=[found.samples[row] for row in after.tolist()],
        details={"without_note": float(right[before].mean()), "with_word": float(right[after].mean())},
    )


def _by_photo(found: Contrasts, version: str) -> dict[int, int]:
    """Return the row of every photograph in one version."""
    rows: dict[int, int] = {}
    for row in rows_of(found, version).tolist():
        photo = int(found.groups[PHOTO][row])
        if rows.setdefault(photo, row) != row:
            raise MeasurementError(f"{found.dataset!r}: {found.samples[row]!r} is a photograph with two {version!r}")
    return rows
