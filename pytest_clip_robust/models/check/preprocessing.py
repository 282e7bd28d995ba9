"""Preprocessing, measured with test pictures, and compared with what the model's family was trained with.

Black and white pictures give mean and standard deviation, a red one the order of the channels, and a wide one with a
gradient the way in which pictures that are not square are fitted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from pytest_clip_robust import showroom
from pytest_clip_robust.core.checks import Check, judged, not_applicable
from pytest_clip_robust.models.check.encoding import pixels_of
from pytest_clip_robust.models.check.inside import modules_of
from pytest_clip_robust.models.spec import OPEN_CLIP, ModelSpec
from pytest_clip_robust.system.files import user_path
from pytest_clip_robust.system.quiet import quiet

OPENAI = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
KNOWN = {
    "as OpenAI's": OPENAI,
    "as SigLIP's": HALF,
    "as ImageNet's": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "neither": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
"""Mean and standard deviation of RGB in [0, 1], by name."""

TRANSFORMERS: dict[str, Mapping[str, Any]] = {
    "clip": {"mean": OPENAI[0], "std": OPENAI[1], "resize_mode": "shortest"},
    "metaclip_2": {"mean": OPENAI[0], "std": OPENAI[1]},
    "altclip": {"mean": OPENAI[0], "std": OPENAI[1]},
    "chinese_clip": {"mean": OPENAI[0], "std": OPENAI[1]},
    "siglip": {"mean": HALF[0], "std": HALF[1], "resize_mode": "squash"},
    "siglip2": {"mean": HALF[0], "std": HALF[1]},
}
"""By model type of transformers; families that publish several preprocessings are left out."""

EQUAL = 0.006
"""Difference of a mean or deviation below which two are equal: some round 0.5 to 127/255."""
MODES = {
    "shortest": "the middle is cut out",
    "squash": "squashed",
    "longest": "padded",
}


class Measured(NamedTuple):
    """The measured preprocessing: mean and deviation of RGB in [0, 1], pixels (height, width).

    mode: ``shortest`` (the middle is cut out), ``squash`` or ``longest`` (padded), as open_clip names them.
    swapped: whether the channels are in the order blue, green, red.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: tuple[int, int]
    mode: str
    swapped: bool


def measure(encoder: Any) -> Measured | None:
    """Measure an encoder's preprocessing; None if it does not turn pictures into (3, H, W) or is not affine."""
    plain = [Image.new("RGB", (256, 256), colour) for colour in ("black", "white", (128, 128, 128), (255, 0, 0))]
    pixels = [pixels_of(encoder, [one])[0] for one in (*plain, _wide())]
    if any(one.ndim != 3 or one.shape[0] != 3 for one in pixels):
        return None
    black, white, grey, red = (_centre(one) for one in pixels[:4])
    range_ = white - black
    if not (range_ > 0).all() or not np.allclose(grey, black + range_ * 128 / 255, atol=0.02 * float(range_.max())):
        return None
    std = 1 / range_
    share = (red - black) / range_
    wide = (pixels[4].numpy().astype(np.float64) - black[:, None, None]) / range_[:, None, None]
    return Measured(
        tuple((-black * std).round(4).tolist()),
        tuple(std.round(4).tolist()),
        (int(pixels[0].shape[1]), int(pixels[0].shape[2])),
        _mode(wide),
        bool(share[0] < share[2]),
    )


def check_normalising(measured: Measured | None, expected: Sequence[Mapping[str, Any]]) -> Check:
    """Judge mean, standard deviation and the order of the channels; `expected` are the family's preprocessings."""
    if measured is None:
        return not_applicable("pixels", "preprocess does not return (3, H, W) pixels of colours")
    shown = f"mean {_numbers(measured.mean)}, deviation {_numbers(measured.std)} ({_name(measured.mean, measured.std)})"
    if measured.swapped:
        return judged("pixels", f"{shown}, blue first", warning="convert pictures to RGB: the channels are in reverse")
    if max(measured.std) < 0.02:
        fix = "divide pixels by 255 before the mean is subtracted"
        return judged("pixels", shown, expected="RGB in [0, 1]", failure=fix)
    pairs = [(one["mean"], one["std"]) for one in expected if "mean" in one and "std" in one]
    if not pairs:
        known = _name(measured.mean, measured.std) != "unusual"
        warning = "" if known else "no known family has these values: compare them with those of the training"
        return judged("pixels", shown, warning=warning)
    matches = any(_equal(measured.mean, mean) and _equal(measured.std, std) for mean, std in pairs)
    mean, std = pairs[0]
    expected_text = f"mean {_numbers(mean)}, deviation {_numbers(std)} ({_name(mean, std)})"
    warning = "" if matches else f"its family was trained with mean {_numbers(mean)} and deviation {_numbers(std)}"
    return judged("pixels", shown, expected=expected_text, warning=warning)


def check_resizing(measured: Measured | None, expected: Sequence[Mapping[str, Any]], encoder: Any) -> Check:
    """Judge size, interpolation and how pictures that are not square are fitted."""
    if measured is None:
        return not_applicable("resizing", "preprocess does not return (3, H, W) pixels of colours")
    settings = _settings(encoder)
    interpolation = str(settings.get("interpolation", ""))
    height, width = measured.size
    shown = f"{width} x {height}, {MODES.get(measured.mode, measured.mode)}" + (interpolation and f", {interpolation}")
    modes = [str(one["resize_mode"]) for one in expected if "resize_mode" in one]
    kinds = [str(one["interpolation"]) for one in expected if "interpolation" in one]
    warning = ""
    if modes and measured.mode not in modes:
        warning = f"the pictures of its family's training were {MODES.get(modes[0], modes[0])}: set resize_mode"
    elif interpolation and kinds and interpolation not in kinds:
        warning = f"its family was trained with {kinds[0]} interpolation"
    wanted = ", ".join([*(MODES.get(one, one) for one in modes[:1]), *kinds[:1]])
    return judged("resizing", shown, expected=wanted, warning=warning)


def family_of(spec: ModelSpec, encoder: Any) -> list[Mapping[str, Any]]:
    """Return the preprocessings with which models of this family were published; empty if the family is not known."""
    for module in modules_of(encoder).values():
        kind = getattr(getattr(module, "config", None), "model_type", None)
        if kind in TRANSFORMERS:
            return [TRANSFORMERS[kind]]
    if spec.kind not in {OPEN_CLIP, "local-dir", "hf-hub"}:
        return []
    with quiet():
        return _family_of_open_clip(spec)


def _family_of_open_clip(spec: ModelSpec) -> list[Mapping[str, Any]]:
    import open_clip  # noqa: PLC0415 - slow, and other kinds of models do without it

    from pytest_clip_robust.models.open_clip.families import known_preprocess, published_preprocess  # noqa: PLC0415

    if spec.kind == OPEN_CLIP and spec.name not in showroom.model_names():
        name = Path(spec.name).stem if spec.name.endswith(".json") else spec.name.replace("/", "-")
        config = open_clip.get_model_config(name) or {}
        return [*published_preprocess(name)] or [*known_preprocess(config)]
    if spec.kind == "hf-hub":
        return []  # its config was fetched with the weights, and states the preprocessing
    folder = showroom.model_folder(spec.name) if spec.kind == OPEN_CLIP else user_path(spec.name)
    try:
        config = json.loads((folder / "open_clip_config.json").read_text(encoding="utf-8"))["model_cfg"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [*known_preprocess(config)]


def _settings(encoder: Any) -> Mapping[str, Any]:
    """Return the preprocessing settings of a model of open_clip."""
    for module in modules_of(encoder).values():
        settings = getattr(getattr(module, "visual", None), "preprocess_cfg", None)
        if isinstance(settings, Mapping):
            return settings
    return {}


def _wide() -> Image.Image:
    """Return a picture twice as wide as high, from black at the left to white at the right."""
    ramp = np.linspace(0, 255, 512).round().astype(np.uint8)
    return Image.fromarray(np.broadcast_to(ramp[None, :, None], (256, 512, 3)).copy())


def _centre(pixels: torch.Tensor) -> NDArray[np.float64]:
    _, height, width = pixels.shape
    centre: NDArray[np.float64] = pixels[:, height // 2, width // 2].double().numpy()
    return centre


def _mode(wide: NDArray[np.float64]) -> str:
    """Return how the wide picture was fitted, from its (3, H, W) values in [0, 1]."""
    grey = wide.mean(axis=0)
    middle, top = grey[grey.shape[0] // 2], grey[0]
    if middle.max() - middle.min() < 0.75:
        return "shortest"
    return "longest" if top.max() - top.min() < 0.25 else "squash"


def _equal(values: Sequence[float], others: Sequence[float]) -> bool:
    return bool(np.abs(np.array(values) - np.array(others)).max() <= EQUAL)


def _name(mean: Sequence[float], std: Sequence[float]) -> str:
    return next((name for name, one in KNOWN.items() if _equal(mean, one[0]) and _equal(std, one[1])), "unusual")


def _numbers(values: Sequence[float]) -> str:
    """Return three numbers, or one if they are equal."""
    shown = [f"{float(value):.3f}" for value in values]
    return shown[0] if len(set(shown)) == 1 else " ".join(shown)
