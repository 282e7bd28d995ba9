"""Deliberate damage to a model, to test how small a loss the gates detect.

    python -m showroom.damage DIR --out DIR --strength 0.1 [--layer visual.trunk.blocks.3.0.conv_pw.weight] [--seed 0]

Adds Gaussian noise to the weights of one layer; its standard deviation is `strength` times that of the weights. All
other weights are unchanged.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

WEIGHTS = "open_clip_model.safetensors"
LAYER = "visual.trunk.blocks.3.0.conv_pw.weight"


def main() -> None:
    """Write a damaged copy of a model folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="an open_clip folder with safetensors")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--strength", type=float, required=True)
    parser.add_argument("--layer", default=LAYER)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    weights = load_file(options.model / WEIGHTS)
    if options.layer not in weights:
        parser.error(f"{options.model} has no layer {options.layer!r}; one of its {len(weights)} is {LAYER!r}")
    weights[options.layer] = noisy(weights[options.layer], strength=options.strength, seed=options.seed)
    shutil.copytree(options.model, options.out, ignore=shutil.ignore_patterns(WEIGHTS))
    save_file(weights, options.out / WEIGHTS)
    (options.out / WEIGHTS).chmod(0o644)


def noisy(layer: torch.Tensor, *, strength: float, seed: int) -> torch.Tensor:
    """Return `layer` plus Gaussian noise of `strength` times its standard deviation."""
    noise = torch.randn(layer.shape, generator=torch.Generator().manual_seed(seed))
    return (layer.float() + strength * layer.float().std() * noise).to(layer.dtype)


if __name__ == "__main__":
    main()
