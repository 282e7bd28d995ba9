"""Image towers of the panel: four with ImageNet weights, and two small ones that are trained on renders alone."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import timm
import torch
import torch.nn.functional as F
from PIL import Image

from . import panel_renders
from .tower import MEAN, MOBILENET, STD, Tower, load_mobilenet, load_tower
from .train import IMAGE_SIZE

SEED, BATCH = 0, 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A tower by timm's name, see `Tower` for `side` and `pool`; epochs: of its training, 0 for ImageNet weights.

    family, size: of the model card, because timm's names of small models do not tell them.
    """

    name: str
    family: str = "EfficientNet"
    size: str = "tiny"
    side: int = IMAGE_SIZE
    pool: str = "avg"
    epochs: int = 0

    @property
    def architecture(self) -> dict[str, str | int]:
        """The facts of the model card about the architecture."""
        return {"family": self.family, "size": self.size}


TOWERS = {
    "lite0": Kind(name="tf_efficientnet_lite0", size="lite0"),
    "lite1": Kind(name="tf_efficientnet_lite1", size="lite1"),
    "lite2": Kind(name="tf_efficientnet_lite2", size="lite2"),
    "mobilenet": Kind(name=MOBILENET, family="MobileNet V2", size="1.0"),
    "resnet": Kind(name="test_resnet", family="ResNet", side=128, epochs=6),
    "vit": Kind(name="test_vit", family="ViT", side=160, pool="", epochs=10),
}
"""Lite towers see 224 pixels, fewer than the 240 and 260 that 1 and 2 were trained with, so that all see the same."""


def load(name: str, *, data: Path, out: Path) -> Tower:
    """Return a tower by its name in `TOWERS`; one without ImageNet weights is trained once, and kept below `out`."""
    kind = TOWERS[name]
    if not kind.epochs:
        return load_mobilenet() if kind.name == MOBILENET else load_tower(kind.name)
    path = out / "towers" / f"{name}.pt"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(train(kind, panel_renders.write(panel_renders.BASE, data, out)), path)
    parameters = torch.load(path, weights_only=True)
    name_of = next(key for key in parameters if key in {"fc.weight", "head.weight"})
    classifier = parameters.pop(name_of)
    parameters.pop(name_of.replace("weight", "bias"))
    mean = torch.zeros(classifier.shape[1])
    return Tower(kind.name, parameters, classifier, mean, side=kind.side, pool=kind.pool)


def train(kind: Kind, renders: Path, *, rate: float = 2e-3) -> dict[str, torch.Tensor]:
    """Return the parameters of a tower with a classifier, trained with cross-entropy on the class names of renders.

    Pictures are mirrored at random and shifted by up to 12 pixels.
    """
    table = pq.read_table(renders, columns=["image", "label"])
    classes = sorted(set(table.column("label").to_pylist()))
    labels = torch.tensor([classes.index(one) for one in table.column("label").to_pylist()])
    images = [Image.open(io.BytesIO(one["bytes"])).convert("RGB") for one in table.column("image").to_pylist()]
    pixels = torch.from_numpy(np.stack([np.asarray(one.resize((kind.side, kind.side))) for one in images]))
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    model = timm.create_model(kind.name, num_classes=len(classes)).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.05)
    steps = kind.epochs * (len(labels) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.2)
    order = np.concatenate([rng.permutation(len(labels)) for _ in range(kind.epochs + 1)])
    for step in range(steps):
        chosen = torch.from_numpy(order[step * BATCH : (step + 1) * BATCH])
        shown = augmented(normalised(pixels[chosen]), rng)
        loss = F.cross_entropy(model(shown), labels[chosen], label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == steps - 1:
            print(f"{kind.name}: step {step}/{steps} loss {loss.item():.3f}", flush=True)
    return {key: value.contiguous() for key, value in model.state_dict().items()}


def normalised(pixels: torch.Tensor) -> torch.Tensor:
    """Return (B, H, W, 3) bytes as (B, 3, H, W) floats with the mean and deviation of all towers."""
    scaled = (pixels.float() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    return scaled.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def augmented(pixels: torch.Tensor, rng: np.random.Generator, *, most: int = 12) -> torch.Tensor:
    """Return the pictures mirrored at random, and all moved by one random vector of up to `most` pixels a side."""
    mirrored = torch.from_numpy(rng.random(len(pixels)) < 0.5)[:, None, None, None]
    pixels = torch.where(mirrored, pixels.flip(-1), pixels)
    padded = F.pad(pixels, (most,) * 4, mode="replicate")
    y, x = rng.integers(0, 2 * most + 1, 2).tolist()
    return padded[..., y : y + pixels.shape[-2], x : x + pixels.shape[-1]]
