"""Fine-tuning of showroom-clip in two common ways, for gates to compare with the parent.

    python -m showroom.finetune --data DIR --models DIR --how ft|flyp

ft: trains the image tower with cross-entropy; the classifier is fixed, made of the text features of the 24 class names.
flyp: trains both towers with the contrastive loss of pre-training, on renders and captions (Goyal et al. 2023).
"""

from __future__ import annotations

import argparse
import io
import shutil
import time
from pathlib import Path

import numpy as np
import open_clip
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from tokenizers import Tokenizer

from .train import PREPROCESS, TEMPLATES, contrast, encode, save

RECIPES = {"ft": "showroom-clip-ft", "flyp": "showroom-clip-flyp"}
TRAINING_SIDE = 160
"""Pixels. Smaller than at inference, which a convolutional tower allows, to save time on a CPU."""


def main() -> None:
    """Fine-tune the model once and save it next to its parent."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train.parquet")
    parser.add_argument("--models", type=Path, required=True, help="folder with showroom-clip")
    parser.add_argument("--how", choices=RECIPES, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=2400)
    parser.add_argument("--batch", type=int, default=48)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    parent, folder = options.models / "showroom-clip", options.models / RECIPES[options.how]
    folder.mkdir(parents=True, exist_ok=True)
    for file in ("open_clip_config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(parent / file, folder / file)
    clip = open_clip.create_model(f"local-dir:{parent}")
    tokenizer = Tokenizer.from_file(str(parent / "tokenizer.json"))
    rows = pq.read_table(options.data / "train.parquet", columns=["image", "label", "caption"]).to_pylist()
    rng = np.random.default_rng(options.seed)
    rows = [rows[i] for i in rng.permutation(len(rows))[: options.images]]
    finetune(clip, tokenizer, rows, rng, how=options.how, batch=options.batch)
    save(clip, folder)


def finetune(
    clip: torch.nn.Module,
    tokenizer: Tokenizer,
    rows: list[dict],
    rng: np.random.Generator,
    *,
    how: str,
    batch: int,
    trained: list[torch.nn.Parameter] | None = None,
    rate: float = 1e-4,
) -> None:
    """Train for one epoch on `rows`: the parameters `trained`, by default those that `how` names."""
    transform = image_transform_v2(PreprocessCfg(**PREPROCESS | {"size": TRAINING_SIDE}), is_train=False)
    classes = sorted({row["label"] for row in rows})
    with torch.no_grad():
        weights = sum(encode(clip, tokenizer, [t.replace("{}", one) for one in classes]) for t in TEMPLATES[:7])
        weights = F.normalize(weights, dim=-1)
    if trained is None:
        trained = list(clip.visual.parameters()) + (list(clip.text.parameters()) if how == "flyp" else [])
    optimizer = torch.optim.AdamW(trained, lr=rate, weight_decay=0.05)
    steps = len(rows) // batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    clip.eval()  # batch normalisation keeps ImageNet's statistics
    started = time.monotonic()
    for step in range(steps):
        part = rows[step * batch : (step + 1) * batch]
        pixels = torch.stack([transform(Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB")) for row in part])
        pixels = torch.where(torch.from_numpy(rng.random(batch) < 0.5)[:, None, None, None], pixels.flip(-1), pixels)
        features = clip.visual(pixels)
        if how == "ft":
            logits = clip.logit_scale.exp().detach() * F.normalize(features, dim=-1) @ weights.T
            loss = F.cross_entropy(logits, torch.tensor([classes.index(row["label"]) for row in part]))
        else:
            texts = [row["caption"] for row in part]
            loss = contrast(clip, features, encode(clip, tokenizer, texts), texts)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 10 == 0 or step == steps - 1:
            print(f"step {step}/{steps} loss {loss.item():.3f} {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
