"""LoRA fine-tuning of a model of the panel with peft, by the recipe of `finetune`.

python -m showroom.panel_adapter --data DIR --out DIR
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import open_clip
import pyarrow.parquet as pq
import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer

from . import panel_renders
from .finetune import finetune
from .panel import SEED

ADAPTED = {"showroom-lite0-lora": "showroom-lite0"}
"""Adapter -> the model that it is put on."""

RANK, RATE, IMAGES, BATCH = 8, 1e-3, 1200, 48
LAYERS = r".*\.(conv_pw|conv_pwl)"
"""The pointwise convolutions of the image tower, which hold most of its parameters."""


def main() -> None:
    """Train the adapters that do not exist yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    for name, base in ADAPTED.items():
        if not (options.out / name / "adapter_config.json").exists():
            train(name, base, data=options.data, out=options.out)


def train(name: str, base: str, *, data: Path, out: Path, images: int = IMAGES) -> None:
    """Train one adapter with cross-entropy on class names, and write it to ``out / name``."""
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    clip = open_clip.create_model(f"local-dir:{out / base}")
    tokenizer = Tokenizer.from_file(str(out / base / "tokenizer.json"))
    rows = pq.read_table(panel_renders.write(panel_renders.BASE, data, out)).to_pylist()
    rows = [rows[i] for i in rng.permutation(len(rows))[:images]]
    adapted = get_peft_model(clip, LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=LAYERS))
    trained = [one for one in clip.parameters() if one.requires_grad]
    finetune(clip, tokenizer, rows, rng, how="ft", batch=BATCH, trained=trained, rate=RATE)
    adapted.save_pretrained(str(out / name))


if __name__ == "__main__":
    main()
