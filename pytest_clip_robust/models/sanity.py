"""Checks that every loaded model must pass before anything is measured."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from pytest_clip_robust.errors import ClipRobustError, ModelError
from pytest_clip_robust.models.outputs import float_array
from pytest_clip_robust.models.protocols import EncodesImages, LoadedModel, PreprocessSteps
from pytest_clip_robust.system.text import one_line

TEXTS = ("a photo of a cat.", "an aerial view of a harbour.")
SCALES, BIASES = (0.1, 1000.0), (-100.0, 100.0)
"""Plausible scales and biases: CLIP is trained to a scale of 100, SigLIP to 117 and a bias of -13."""
USUAL_SCALES = (2.0, 250.0)
"""Scales that trained models are known to have; others are reported."""
SAME = 1e-4
"""Relative distance below which two features count as equal, at any precision."""


def check_model(model: LoadedModel) -> None:
    """Check scale and bias; encode two images twice and two texts once, and check the features, or the head's logits.

    A model that only has stored features or answers was checked when it was read.

    Raises:
        ModelError: scale or bias are not plausible, features or logits are not (B, D) arrays of finite numbers, the two
            towers disagree on D, different inputs have the same features, or the same input has different features.
    """
    who = f"model {model.spec.label}"
    _check_scale(model.scale, model.bias, who)
    if not isinstance(model.encoder, EncodesImages):
        return
    encoder = model.image_encoder
    pixels = torch.stack([_pixels(encoder, image, who) for image in _images()])
    images = _features(lambda: encoder.encode_image(pixels), f"{who}: encode_image")
    again = _features(lambda: encoder.encode_image(pixels), f"{who}: encode_image")
    if _distance(images, again) > SAME:
        raise ModelError(f"{who}: encoding one image twice gave different features; call .eval() on the model")
    checked = {"images": images}
    if model.has_texts:
        checked["texts"] = texts = _features(lambda: model.text_encoder.encode_text(list(TEXTS)), f"{who}: encode_text")
        if images.shape[1] != texts.shape[1]:
            raise ModelError(
                f"{who}: images have {images.shape[1]} dimensions and texts {texts.shape[1]}; expected the same number"
            )
    head = model.head
    if head is not None:
        _features(lambda: head.classify(images), f"{who}: classify")
    for what, features in checked.items():
        if _distance(features[:1], features[1:]) < SAME:
            raise ModelError(f"{who}: two different {what} have the same features, so its weights have collapsed")


def scale_notes(model: LoadedModel) -> tuple[str, ...]:
    """Return a note on a scale that is possible, but unlike that of a trained model."""
    low, high = USUAL_SCALES
    if not model.has_texts or low <= model.scale <= high:
        return ()
    usual = f"trained models have {low:g} to {high:g}, and calibration depends on it"
    return (f"its logits have scale {model.scale:.4g}; {usual}",)


def _check_scale(scale: float, bias: float, who: str) -> None:
    scale, bias = float(scale), float(bias)
    if not SCALES[0] <= scale <= SCALES[1]:
        stored = math.log(scale) if 0 < scale < math.inf else 0.0
        hint = f"; it seems that logit_scale={stored:.4g} was stored instead of its logarithm" if stored >= 1 else ""
        raise ModelError(f"{who}: scale={scale:.4g}; expected {SCALES[0]:g} to {SCALES[1]:g}{hint}")
    if not BIASES[0] <= bias <= BIASES[1]:
        raise ModelError(f"{who}: bias={bias:.4g}; expected {BIASES[0]:g} to {BIASES[1]:g}")


def steps_agree(steps: PreprocessSteps, preprocess: Callable[[Image.Image], Any]) -> bool:
    """Return whether both steps together equal `preprocess` bit for bit, on a large, a small and a tall image."""
    for seed, (width, height) in enumerate(((250, 167), (31, 97))):
        noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        image = Image.fromarray(noise)
        pixels = np.array(steps.resize(image))
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            return False
        whole = torch.as_tensor(np.asarray(preprocess(image)))
        if not torch.equal(steps.normalise(torch.from_numpy(pixels)[None])[0], whole):
            return False
    return True


def normalises_alike(steps: PreprocessSteps, device: str) -> bool:
    """Return whether `device` normalises every pixel value to the same bits as the CPU; GPUs may round divisions."""
    every_value = torch.arange(256, dtype=torch.uint8).view(1, 256, 1, 1).repeat(1, 1, 1, 3)
    on_device = steps.normalise(every_value.to(device)).cpu()
    return torch.equal(on_device, steps.normalise(every_value))


def _images() -> tuple[Image.Image, Image.Image]:
    """Return a noise image and a gradient: very different images that are the same on every machine."""
    noise = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    ramp = np.linspace(0, 255, 128, dtype=np.uint8)
    gradient = np.stack([np.broadcast_to(ramp, (96, 128))] * 3, axis=-1)
    return Image.fromarray(noise), Image.fromarray(gradient)


def _pixels(encoder: EncodesImages, image: Image.Image, who: str) -> torch.Tensor:
    try:
        pixels = torch.as_tensor(np.asarray(encoder.preprocess(image)), dtype=torch.float32)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # as above
        raise ModelError(f"{who}: preprocess failed: {type(error).__name__}: {one_line(error)}") from error
    if pixels.ndim != 3:
        raise ModelError(f"{who}: preprocess returns shape {tuple(pixels.shape)}; expected (C, H, W)")
    return pixels


def _features(encode: Any, what: str) -> NDArray[np.float32]:
    try:
        with torch.inference_mode():
            rows = float_array(encode())
    except (ClipRobustError, KeyboardInterrupt):
        raise
    except BaseException as error:  # also pytest.skip, which would end the test without a result
        raise ModelError(f"{what} failed: {type(error).__name__}: {one_line(error)}") from error
    if rows.ndim != 2 or len(rows) != 2 or not rows.size:
        raise ModelError(f"{what} returns shape {rows.shape} for 2 inputs; expected (2, D)")
    if not np.isfinite(rows).all() or not np.linalg.norm(rows, axis=1).all():
        raise ModelError(
            f"{what} returns NaN, infinite or zero features; check the weights, or try --clip-precision fp32"
        )
    return rows


def _distance(features: NDArray[np.float32], others: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(features - others) / np.linalg.norm(features))
