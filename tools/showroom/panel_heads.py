"""Classifiers of the panel: linear heads that are trained on class labels, on frozen features.

    python -m showroom.panel_heads --data DIR --out DIR

``showroom-lite0-head`` is a head on the image features of ``showroom-lite0``, a fine-tuning. The others are heads on
the pooled features of a tower: models that never saw a text, which the study compares CLIP models with.
"""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open_clip
import timm
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression

from pytest_clip_robust import content_digest

from . import panel_renders, panel_towers
from .panel import write_card
from .train import PREPROCESS, read_renders, write_manifest

STRENGTH = 0.1
"""Inverse strength of the L2 penalty on standardised features, as scikit-learn's C."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A classifier on a tower; `base` is the CLIP model whose projection is below the head, or ``""``."""

    tower: str
    base: str = ""


HEADS = {
    "showroom-lite0-head": Head(tower="lite0", base="showroom-lite0"),
    **{f"showroom-{tower}-labels": Head(tower=tower) for tower in panel_towers.TOWERS},
}


class HeadModel:
    """A classifier of the kind ``py:``: a locked trunk, a linear projection, and a linear head.

    Without a CLIP model below the head, the projection is the classifier itself: features are its logits.
    """

    def __init__(self, folder: Path) -> None:
        """Read the folder that `write` wrote."""
        self.card = tomllib.loads((folder / "card.toml").read_text(encoding="utf-8"))
        settings = tomllib.loads((folder / "head.toml").read_text(encoding="utf-8"))
        parameters = load_file(folder / "head.safetensors")
        self.identity = content_digest(parameters, settings)
        self.classes = settings["classes"]
        self._unit = settings["unit"]
        self._parts = {name: parameters.pop(name) for name in ("projection", "shift", "weight", "offset")}
        self._trunk = timm.create_model(settings["trunk"], num_classes=0).eval()
        self._trunk.load_state_dict(parameters)
        self._trunk = self._trunk.to(memory_format=torch.channels_last)
        self._transform = image_transform_v2(PreprocessCfg(**PREPROCESS | {"size": settings["side"]}), is_train=False)

    def preprocess(self, image: Image.Image) -> torch.Tensor:
        """Return the (3, H, W) pixels of an RGB image."""
        pixels: torch.Tensor = self._transform(image)
        return pixels

    def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return (B, D) features of (B, 3, H, W) pixels."""
        return self.project(self._trunk(pixels))

    def project(self, pooled: torch.Tensor) -> torch.Tensor:
        """Return (B, D) features of (B, F) pooled features."""
        features = pooled @ self._parts["projection"].T + self._parts["shift"]
        return F.normalize(features, dim=-1) if self._unit else features

    def classify(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (B, C) logits of (B, D) features."""
        logits: NDArray[np.float32] = features @ self._parts["weight"].numpy().T + self._parts["offset"].numpy()
        return logits


def load(folder: Path) -> HeadModel:
    """Return the classifier in a folder, for ``py:showroom.panel_heads:load?folder=...``."""
    return HeadModel(folder)


def main() -> None:
    """Train the classifiers that do not exist yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default=",".join(HEADS), help="names of models, separated by commas")
    options = parser.parse_args()
    for name in options.only.split(","):
        if not (options.out / name / "manifest.json").exists():
            train(name, HEADS[name], data=options.data, out=options.out)


def train(name: str, head: Head, *, data: Path, out: Path) -> None:
    """Train one classifier and write it to ``out / name``."""
    tower = panel_towers.load(head.tower, data=data, out=out)
    renders, held_out = (
        read_renders(panel_renders.write(kind, data, out), tower)
        for kind in (panel_renders.BASE, panel_renders.VALIDATION)
    )
    project: Callable[[torch.Tensor], torch.Tensor] = lambda rows: rows  # noqa: E731 - one of two
    if head.base:
        below = open_clip.create_model(f"local-dir:{out / head.base}").visual.head.proj
        project = lambda rows: F.normalize(below(rows), dim=-1)  # noqa: E731 - as above
    with torch.inference_mode():
        features, tried = (project(one.features).numpy() for one in (renders, held_out))
    weight, offset, classes = fit(features, renders.labels)
    answers = [classes[int(i)] for i in (tried @ weight.T + offset).argmax(axis=1)]
    print(f"{name}: validation {np.mean(np.array(answers) == np.array(held_out.labels)):.3f}", flush=True)
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    outer = torch.from_numpy(weight), torch.from_numpy(offset)
    inner = (below.weight.detach(), below.bias.detach()) if head.base else outer
    if not head.base:
        outer = torch.eye(len(classes)), torch.zeros(len(classes))
    parts = dict(zip(("projection", "shift", "weight", "offset"), (*inner, *outer), strict=True))
    tensors = {key: one.contiguous() for key, one in (tower.parameters | parts).items()}
    save_file(tensors, folder / "head.safetensors")
    names = ", ".join(f'"{one}"' for one in classes)
    settings = [f'trunk = "{tower.name}"', f"side = {tower.side}", f"unit = {'true' if head.base else 'false'}"]
    (folder / "head.toml").write_text("\n".join([*settings, f"classes = [{names}]"]) + "\n", encoding="utf-8")
    size = {"parameters": sum(one.numel() for one in tensors.values())}
    write_card(folder, size | card(head, images=len(renders.labels), out=out))
    write_manifest(folder)


def fit(features: NDArray[np.float32], labels: list[str]) -> tuple[NDArray[np.float32], NDArray[np.float32], list[str]]:
    """Return weight (C, D), offset (C,) and the C class names of logistic regression on (N, D) features.

    It is fitted on standardised features, and its standardisation is part of the weight and the offset.
    """
    mean, deviation = features.mean(axis=0), features.std(axis=0) + 1e-6
    model = LogisticRegression(C=STRENGTH, max_iter=300).fit((features - mean) / deviation, labels)
    weight = model.coef_ / deviation
    offset = model.intercept_ - weight @ mean
    return weight.astype(np.float32), offset.astype(np.float32), [str(one) for one in model.classes_]


def card(head: Head, *, images: int, out: Path) -> dict[str, str | int]:
    """Return the facts of the model card of a classifier that was trained on so many renders."""
    tower = panel_towers.TOWERS[head.tower]
    if head.base:
        below = tomllib.loads((out / head.base / "card.toml").read_text(encoding="utf-8"))
        tuned = {"fine_tuning": "classifier head", "fine_tuned_on": f"{images:,} showroom renders"}
        return {**tower.architecture, **below, **tuned}
    from_imagenet = not tower.epochs
    return {
        **tower.architecture,
        "data": "showroom and ImageNet-1k" if from_imagenet else "showroom",
        "pairs": images + 1_281_167 * from_imagenet,
        "loss": "cross-entropy",
        "licence": "Apache-2.0",
        "fine_tuning": "supervised",
    }


if __name__ == "__main__":
    main()
