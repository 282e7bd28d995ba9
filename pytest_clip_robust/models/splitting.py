"""Split the image transforms of open_clip and timm into resizing and normalising, so that resized pixels can be cached.

Resizing takes most of the time, and many models share it; normalising is arithmetic on single values. A transform is
split only if the two halves are shown to equal the whole.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import open_clip
import PIL
import torch
import torchvision
from numpy.typing import NDArray
from open_clip import transform as open_clip_transform
from PIL import Image, features
from timm.data import transforms as timm_transforms
from torchvision import transforms

from pytest_clip_robust.core.digest import digest
from pytest_clip_robust.models.protocols import PreprocessSteps
from pytest_clip_robust.models.sanity import steps_agree


class Resizing:
    """The steps of a transform that turn images into images: resizing, cropping, padding."""

    def __init__(self, steps: list[Any]) -> None:
        self._steps = steps

    def __call__(self, image: Image.Image) -> NDArray[np.uint8]:
        """Turn one RGB image into (H, W, 3) pixels."""
        for step in self._steps:
            image = step(image)
        return np.asarray(image)


class Normalising:
    """Divide by 255, subtract the mean, divide by the deviation; rounding depends on this order."""

    def __init__(self, mean: Any, deviation: Any) -> None:
        self._mean = torch.tensor(mean, dtype=torch.float32).view(3, 1, 1)
        self._deviation = torch.tensor(deviation, dtype=torch.float32).view(3, 1, 1)

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Turn (B, H, W, 3) uint8 into (B, 3, H, W) float32 in channels-last memory format."""
        if self._mean.device != pixels.device:
            self._mean, self._deviation = self._mean.to(pixels.device), self._deviation.to(pixels.device)
        return pixels.permute(0, 3, 1, 2).float().div_(255).sub_(self._mean).div_(self._deviation)


def split(preprocess: Any) -> PreprocessSteps | None:
    """Split a transform of open_clip or timm; return None if the halves are not known to equal the whole.

    `Compose` calls its steps in order, so the list can be cut between known steps. Normalising treats each value
    separately, and is tried with every value in every channel.
    """
    if type(preprocess) is not transforms.Compose or len(preprocess.transforms) < 3:
        return None
    *geometry, to_tensor, normalise = preprocess.transforms
    known = type(to_tensor) in _types("ToTensor", "MaybeToTensor") and type(normalise) is transforms.Normalize
    if not known or np.shape(normalise.mean) != (3,) or not all(_is_geometry(step) for step in geometry):
        return None
    steps = PreprocessSteps(
        identity=_identity(geometry),
        resize=Resizing(geometry),
        normalise=Normalising(normalise.mean, normalise.std),
    )
    every_value = np.tile(np.arange(256, dtype=np.uint8)[:, None, None], (1, 1, 3))
    ours = steps.normalise(torch.from_numpy(every_value)[None])[0]
    return steps if torch.equal(ours, normalise(to_tensor(every_value))) and steps_agree(steps, preprocess) else None


def _is_geometry(step: Any) -> bool:
    """Return whether `step` is known to turn an RGB image into another without randomness."""
    if type(step) in _types("ResizeKeepRatio"):
        return not (step.random_scale_prob or step.random_aspect_prob)
    plain = _types("Resize", "CenterCrop", "CenterCropOrPad", "MaybeConvertMode")
    return type(step) in plain or step is getattr(open_clip_transform, "_convert_to_rgb", None)


def _types(*names: str) -> set[type]:
    """Return the transform classes with these names; not every release of these libraries has all of them."""
    modules = (transforms, open_clip_transform, timm_transforms)
    found = [getattr(module, name, None) for module in modules for name in names]
    return {one for one in found if one is not None}


def _identity(geometry: list[Any]) -> str:
    """Return a digest of the steps' settings and of the versions of the libraries that decode and resize."""
    settings = {
        "steps": [_settings(step) for step in geometry],
        "pillow": [PIL.__version__, *(features.version(codec) for codec in ("jpg", "webp", "zlib"))],
        "torchvision": torchvision.__version__,
        "open_clip": open_clip.__version__,
    }
    return digest(settings)


def _settings(step: Any) -> list[object]:
    """Return the name and the settings of a step; a plain function has no settings."""
    settings = {
        name: repr(value) for name, value in vars(step).items() if not name.startswith("_") and name != "training"
    }
    return [getattr(step, "__qualname__", type(step).__qualname__), settings]
