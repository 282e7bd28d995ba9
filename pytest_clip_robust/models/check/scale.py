"""Scale and bias of the logits, as trained models have them."""

from __future__ import annotations

import math
from typing import Any

from pytest_clip_robust.core.checks import Check, judged, not_applicable
from pytest_clip_robust.models.sanity import BIASES, SCALES, USUAL_SCALES

CLIP_LIMIT = 100.0
"""Training with the softmax loss clips the scale to 100."""
STARTS = {False: 1 / 0.07, True: 10.0}
"""Scale at the start of a training, with the softmax loss and with the sigmoid loss."""
USUAL_BIASES = (-30.0, 0.0)
"""A pair is rarely one of those that match, so the bias of the sigmoid loss is negative: SigLIP has -13 to -17."""


def check_scale(encoder: Any) -> Check:
    """Judge the scale and bias of an encoder's logits."""
    if not hasattr(encoder, "scale"):
        return not_applicable("scale", "the model has no text tower")
    scale, bias = float(encoder.scale), float(getattr(encoder, "bias", 0.0))
    sigmoid = bias != 0
    low, high = USUAL_SCALES if sigmoid else (USUAL_SCALES[0], CLIP_LIMIT)
    expected = f"{low:g} to {high:g}"
    if sigmoid:
        expected += f", bias {USUAL_BIASES[0]:g} to {USUAL_BIASES[1]:g}"
    return judged(
        "scale",
        f"scale {scale:.4g}, bias {bias:.4g}",
        expected=expected,
        failure=_impossible(scale, bias),
        warning=_unusual(scale, bias, low, high),
    )


def _impossible(scale: float, bias: float) -> str:
    if not SCALES[0] <= scale <= SCALES[1]:
        stored = math.log(scale) if 0 < scale < math.inf else 0.0
        if stored >= 1:
            return f"it seems that logit_scale={stored:.4g} was stored instead of its logarithm {math.log(stored):.4g}"
        return "store logit_scale as the logarithm of the scale, such as 4.6052 for 100"
    if not BIASES[0] <= bias <= BIASES[1]:
        return "give the bias that the sigmoid loss was trained with, such as -12.9"
    if bias > 0:
        return "the bias of the sigmoid loss is negative: check its sign"
    return ""


def _unusual(scale: float, bias: float, low: float, high: float) -> str:
    if math.isclose(scale, STARTS[bias != 0], rel_tol=1e-5):
        return "this is the value before training: check that logit_scale is loaded; calibration depends on it"
    if not low * 0.999 <= scale <= high * 1.001:
        return "trained models have other scales: check logit_scale; calibration depends on it"
    if bias < USUAL_BIASES[0]:
        return "trained models have a larger bias: check logit_bias"
    return ""
