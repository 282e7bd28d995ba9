"""Panels of each aspect: the plots that its readers expect, as far as the records have their values."""

from __future__ import annotations

from collections.abc import Callable

from pytest_clip_robust.report.html.aspects.accuracy import factor_panels, shape_panels, shift_panels, zero_shot_panels
from pytest_clip_robust.report.html.aspects.calibration import calibration_panels
from pytest_clip_robust.report.html.aspects.corruption import corruption_panels
from pytest_clip_robust.report.html.aspects.detection import ood_panels
from pytest_clip_robust.report.html.aspects.invariance import invariance_panels
from pytest_clip_robust.report.html.aspects.matching import (
    composition_panels,
    correspondence_panels,
    retrieval_panels,
    word_order_panels,
)
from pytest_clip_robust.report.html.aspects.multimodal import multimodal_panels
from pytest_clip_robust.report.html.aspects.prompts import prompt_panels
from pytest_clip_robust.report.html.aspects.typographic import typographic_panels
from pytest_clip_robust.report.html.gates import Gates
from pytest_clip_robust.report.html.panel import Panel

PANELS: dict[str, Callable[[Gates], list[Panel]]] = {
    "calibration": calibration_panels,
    "composition": composition_panels,
    "correspondence": correspondence_panels,
    "corruption": corruption_panels,
    "invariance": invariance_panels,
    "multimodal": multimodal_panels,
    "ood": ood_panels,
    "prompts": prompt_panels,
    "retrieval": retrieval_panels,
    "shape_bias": shape_panels,
    "shift": shift_panels,
    "typographic": typographic_panels,
    "visual_factors": factor_panels,
    "word_order": word_order_panels,
    "zero_shot": zero_shot_panels,
}
"""The function of each aspect; an aspect of the user's own has rows for its gates and no plots."""


def panels_of(aspect: str, gates: Gates) -> list[Panel]:
    """Return the panels of an aspect; none if it has no plots."""
    return PANELS[aspect](gates) if aspect in PANELS else []
