"""The line through a shipped panel's accuracies on ImageNet and on one shifted set."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from pytest_clip_robust.core.arrays import Floats
from pytest_clip_robust.errors import MeasurementError, did_you_mean
from pytest_clip_robust.names import REFERENCE_PANELS
from pytest_clip_robust.stats.robust_line import ResampledLines, RobustLine, fit_robust_line, resample_lines

FOLDER = Path(__file__).parent
ID_SET = "imagenet-1k"
LEAST_ID_ACCURACY = 0.5
"""Models with a lower accuracy on ImageNet are left out of the fit: over a wider range the models are on a curve."""

CLASSES: Mapping[str, int] = {
    ID_SET: 1000,
    "imagenet-v2": 1000,
    "imagenet-sketch": 1000,
    "imagenet-r": 200,
    "imagenet-a": 200,
    "objectnet": 113,
}
"""How many classes the published accuracies on a set are over."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PanelLine:
    """The line of the panel `panel` on the set `published_as`, with what it was fitted to.

    models: N names. x, y: (N,) accuracies (0-1) on ImageNet and on the set.
    same_classes: whether `x` is over the classes of the set, with logits restricted to them, or over all 1,000.
    line: through these models. resampled: lines through replicates of the panel, in which the models of one
        architecture are drawn together. digest: SHA-256 of the panel's file.
    """

    panel: str
    published_as: str
    models: tuple[str, ...]
    x: Floats
    y: Floats
    same_classes: bool
    line: RobustLine
    resampled: ResampledLines
    digest: str


@cache
def panel_line(panel: str, published_as: str) -> PanelLine:
    """Fit the line of a shipped panel (`names.REFERENCE_PANELS`) on the set `published_as`, by Huber on probit axes.

    Raises:
        MeasurementError: there is no such panel, or it has no results on the set.
    """
    if panel not in REFERENCE_PANELS:
        known = ", ".join(REFERENCE_PANELS)
        raise MeasurementError(f"no panel {panel!r}{did_you_mean(panel, REFERENCE_PANELS)}; expected one of {known}")
    if published_as not in REFERENCE_PANELS[panel]:
        near = did_you_mean(published_as, REFERENCE_PANELS[panel])
        raise MeasurementError(
            f"panel {panel!r} has no results on {published_as!r}{near}; it has {', '.join(REFERENCE_PANELS[panel])}"
        )
    file = FOLDER / f"{panel}.csv"
    with file.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    same_classes = f"{published_as}.id" in rows[0] or CLASSES[published_as] == CLASSES[ID_SET]
    base = f"{published_as}.id" if f"{published_as}.id" in rows[0] else ID_SET
    kept = [row for row in rows if row[base] and row[published_as] and float(row[ID_SET]) >= LEAST_ID_ACCURACY]
    x, y = (np.array([float(row[column]) for row in kept]) for column in (base, published_as))
    models = tuple(row["model"] for row in kept)
    return PanelLine(
        panel=panel,
        published_as=published_as,
        models=models,
        x=x,
        y=y,
        same_classes=same_classes,
        line=fit_robust_line(x, y),
        resampled=resample_lines(x, y, groups=[architecture(model) for model in models]),
        digest=hashlib.sha256(file.read_bytes()).hexdigest(),
    )


def architecture(model: str) -> str:
    """Return the architecture of a model of timm or open_clip: its name without tag.

    >>> architecture("resnet50.a1_in1k"), architecture("ViT-B-32@openai")
    ('resnet50', 'ViT-B-32')
    """
    return re.split("[.@]", model, maxsplit=1)[0]
