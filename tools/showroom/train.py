"""Training of the showroom's models.

    python -m showroom.train --data DIR --out DIR [--seed 0] [--name showroom-clip]

Locked-image tuning (Zhai et al. 2022): the image tower keeps its ImageNet weights; a projection and a small text tower
are trained to match it. The contrastive loss is applied to two kinds of pairs: renders with their captions, and the
1,000 rows of the ImageNet classifier with their class names, so that the model also recognises photographs.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open_clip
import pyarrow.parquet as pq
import timm
import torch
import torch.nn.functional as F
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from .tower import MEAN, NAME, STD, Tower, load_tower

DIMENSIONS, WIDTH, LAYERS, HEADS, CONTEXT = 384, 128, 2, 4, 24
VOCABULARY = 3000
BATCH, NAMES_PER_STEP = 256, 160
"""Renders with captions, and classes of ImageNet with names, per step."""
IMAGE_SIZE = 224
TEMPLATES = (
    "{}", "a photo of a {}.", "a picture of the {}.", "a {}.", "the {}.", "itap of a {}.", "a bad photo of the {}.",
    "a origami {}.", "a photo of the large {}.", "a {} in a video game.", "art of the {}.", "a photo of the small {}.",
    "a rendering of a {}", "there is a {}",
)  # fmt: skip
PREPROCESS = {"size": IMAGE_SIZE, "mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "shortest"}


Loss = Callable[[torch.nn.Module, torch.Tensor, torch.Tensor, list[str]], torch.Tensor]
"""(model, (B, D) image features, (B, D) unit text features, the B texts) -> the loss of the batch."""


@dataclass(frozen=True, slots=True)
class Renders:
    """(N, F) pooled features of N renders, with their labels and captions."""

    features: torch.Tensor
    labels: list[str]
    captions: list[str]


def main() -> None:
    """Train one model and save it as a folder that open_clip can load."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train.parquet and validation.parquet")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--name", default="showroom-clip")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--batch", type=int, default=BATCH, help=f"pairs in a step (default: {BATCH})")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    tower = load_tower()
    renders = read_renders(options.data / "train.parquet", tower)
    held_out = read_renders(options.data / "validation.parquet", tower)
    tokenizer = make_tokenizer([*renders.captions, *open_clip.IMAGENET_CLASSNAMES])
    folder = options.out / options.name
    write_config(folder, tokenizer, tower)
    clip = open_clip.create_model(f"local-dir:{folder}", load_weights=False, pretrained_text=False)
    clip.visual.trunk.load_state_dict(tower.parameters)
    start_from_classifier(clip, tower)
    steps = options.epochs * (len(renders.labels) // options.batch)
    tune(clip, tokenizer, tower, renders, held_out, steps=steps, seed=options.seed, batch=options.batch)
    save(clip, folder)


def read_renders(path: Path, tower: Tower, *, like: Path | None = None) -> Renders:
    """Return a subset with its features, computed or read from the tower's file next to it.

    like: another subset; the features of images that it has as well are taken from it.
    """
    rows = pq.read_table(path, columns=["label", "caption"]).to_pylist()
    cached = path.with_suffix(".features.pt" if tower.name == NAME else f".{tower.name}.features.pt")
    if cached.exists():
        features = torch.load(cached, weights_only=True)
    else:
        images = pq.read_table(path, columns=["image"]).column("image").to_pylist()
        # A new trunk draws random weights. Forking the generator keeps training independent of this cache.
        with torch.random.fork_rng(devices=[]):
            trunk = timm.create_model(tower.name, num_classes=0)
        trunk.load_state_dict(tower.parameters)
        known: dict[bytes, torch.Tensor] = {}
        if like is not None:
            others = pq.read_table(like, columns=["image"]).column("image").to_pylist()
            known = dict(zip((row["bytes"] for row in others), read_renders(like, tower).features.half(), strict=True))
        new = [row["bytes"] for row in images if row["bytes"] not in known]
        known.update(zip(new, encode_images(trunk.eval(), new, side=tower.side) if new else (), strict=True))
        features = torch.stack([known[row["bytes"]] for row in images])
        torch.save(features, cached)
    return Renders(features.float(), [r["label"] for r in rows], [r["caption"] for r in rows])


def encode_images(
    trunk: torch.nn.Module,
    images: list[bytes],
    forward: Callable[[torch.Tensor], torch.Tensor] | None = None,
    *,
    side: int = IMAGE_SIZE,
) -> torch.Tensor:
    """Return what the trunk, or its method `forward`, makes of encoded images, in half precision."""
    transform = image_transform_v2(PreprocessCfg(**PREPROCESS | {"size": side}), is_train=False)
    found: list[torch.Tensor] = []
    trunk = trunk.to(memory_format=torch.channels_last)  # twice as fast on a CPU
    started = time.monotonic()
    for start in range(0, len(images), 32):
        pictures = [Image.open(io.BytesIO(one)).convert("RGB") for one in images[start : start + 32]]
        pixels = torch.stack([transform(picture) for picture in pictures])
        with torch.inference_mode():
            found.append((forward or trunk)(pixels.contiguous(memory_format=torch.channels_last)).half())
        if start % 1024 == 0:
            print(f"features {start}/{len(images)}, {time.monotonic() - started:.0f} s", flush=True)
    return torch.cat(found)


def make_tokenizer(texts: list[str]) -> Tokenizer:
    """Return a lower-case byte-pair tokenizer trained on texts; ``<end>`` has the highest id, for argmax pooling."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))  # noqa: S106 - a token, not a secret
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 1,
        special_tokens=["<pad>", "<unk>", "<start>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(
        [template.replace("{}", text) for text in texts for template in TEMPLATES[:2]], trainer
    )
    tokenizer.add_special_tokens(["<end>"])
    ends = [(name, tokenizer.token_to_id(name)) for name in ("<start>", "<end>")]
    tokenizer.post_processor = processors.TemplateProcessing(single="<start> $A <end>", special_tokens=ends)
    return tokenizer


def write_config(
    folder: Path, tokenizer: Tokenizer, tower: Tower, *, dimensions: int = DIMENSIONS, sigmoid: bool = False
) -> None:
    """Write the files that open_clip's ``local-dir:`` needs in addition to the weights.

    With `sigmoid`, the model has a bias of its logits, which starts at SigLIP's -10 (Zhai et al. 2023).
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "model_cfg": {
            "embed_dim": dimensions,
            **({"init_logit_bias": -10} if sigmoid else {}),
            "custom_text": True,
            "vision_cfg": {
                "timm_model_name": tower.name,
                "timm_model_pretrained": False,
                "timm_pool": tower.pool,
                "timm_proj": "linear",
                "timm_proj_bias": True,
                "image_size": tower.side,
            },
            "text_cfg": {
                "context_length": CONTEXT,
                "vocab_size": tokenizer.get_vocab_size(),
                "hf_tokenizer_name": "showroom",
                "tokenizer_kwargs": {"clean": "whitespace"},
                "width": WIDTH,
                "heads": HEADS,
                "layers": LAYERS,
            },
        },
        "preprocess_cfg": {key: PREPROCESS[key] for key in ("mean", "std", "interpolation", "resize_mode")},
    }
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<start>", "eos_token": "<end>"}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": CONTEXT, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")


def start_from_classifier(clip: torch.nn.Module, tower: Tower) -> None:
    """Initialise the projection with the principal directions of the classifier's rows, centred on the mean feature."""
    rows = tower.classifier - tower.classifier.mean(0)
    proj = clip.visual.head.proj
    directions = torch.linalg.svd(rows, full_matrices=False).Vh[: proj.out_features]
    with torch.no_grad():
        proj.weight.copy_(directions)
        proj.bias.copy_(-directions @ tower.mean)
        clip.logit_scale.fill_(np.log(20.0))


def tune(
    clip: torch.nn.Module,
    tokenizer: Tokenizer,
    tower: Tower,
    renders: Renders,
    held_out: Renders,
    *,
    steps: int,
    seed: int,
    batch: int = BATCH,
    names_per_step: int = NAMES_PER_STEP,
    loss_of: Loss | None = None,
) -> None:
    """Train the projection and the text tower on cached features.

    loss_of: the loss of a batch of pairs, by default `contrast`. With ``names_per_step = 0``, the model learns nothing
    of ImageNet's classes, whose rows `tower.classifier` then only starts the projection.
    """
    loss_of = loss_of or contrast
    rng = np.random.default_rng(seed)
    project = clip.visual.head.proj
    biases = [] if clip.logit_bias is None else [clip.logit_bias]
    text_parameters = [*clip.text.parameters(), clip.logit_scale, *biases]
    groups = [{"params": list(project.parameters()), "lr": 2e-4}, {"params": text_parameters, "lr": 1e-3}]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, [2e-4, 1e-3], total_steps=steps, pct_start=0.1)
    rows = F.normalize(tower.classifier - tower.classifier.mean(0))
    spread = renders.features - renders.features.mean(0)
    length = spread.norm(dim=1).mean()
    names = open_clip.IMAGENET_CLASSNAMES
    started = time.monotonic()
    for step in range(steps):
        chosen = torch.from_numpy(rng.choice(len(renders.labels), batch, replace=False))
        pictures = F.dropout(renders.features[chosen], 0.2)
        texts = [_words(renders, int(i), rng) for i in chosen]
        classes = rng.choice(len(names), names_per_step, replace=False)
        noise = spread[torch.from_numpy(rng.integers(0, len(spread), names_per_step))]
        pseudo = tower.mean + 0.7 * length * rows[torch.from_numpy(classes)] + 0.5 * noise
        class_texts = [TEMPLATES[rng.integers(len(TEMPLATES))].replace("{}", names[i]) for i in classes]
        loss = loss_of(clip, project(pictures), encode(clip, tokenizer, texts), texts)
        if names_per_step:
            class_features = encode(clip, tokenizer, class_texts)
            loss = loss + loss_of(clip, project(pseudo), class_features, [names[i] for i in classes])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            clip.logit_scale.clamp_(max=np.log(100))
        if step % 50 == 0 or step == steps - 1:
            accuracy = validate(clip, tokenizer, held_out)
            print(
                f"step {step}/{steps} loss {loss.item():.3f} validation {accuracy:.3f} "
                f"scale {clip.logit_scale.exp().item():.1f} {time.monotonic() - started:.0f} s",
                flush=True,
            )


def _words(renders: Renders, i: int, rng: np.random.Generator) -> str:
    """Return the caption or, half of the time, a prompt with the class name alone, which matters most."""
    if rng.random() < 0.5:
        return renders.captions[i]
    return TEMPLATES[rng.integers(len(TEMPLATES))].replace("{}", renders.labels[i])


def encode(clip: torch.nn.Module, tokenizer: Tokenizer, texts: list[str]) -> torch.Tensor:
    """Return (B, D) unit features of texts; each distinct text is encoded once, padded to the longest.

    Attention is causal and the feature is read at ``<end>``, so padding does not change it.
    """
    different, place = np.unique(texts, return_inverse=True)
    tokenizer.enable_truncation(CONTEXT)
    tokenizer.enable_padding(pad_id=0, pad_token="<pad>")  # noqa: S106 - a token, not a secret
    ids = torch.tensor([one.ids for one in tokenizer.encode_batch(list(different))])
    tokenizer.no_padding()
    tokenizer.no_truncation()
    whole = clip.text.attn_mask
    clip.text.attn_mask = whole[: ids.shape[1], : ids.shape[1]]
    features = F.normalize(clip.text(ids), dim=-1)
    clip.text.attn_mask = whole
    return features[torch.from_numpy(place)]


def contrast(clip: torch.nn.Module, images: torch.Tensor, texts: torch.Tensor, words: list[str]) -> torch.Tensor:
    """Return the symmetric contrastive loss; images with the same text are not negatives of each other."""
    logits = clip.logit_scale.exp() * F.normalize(images, dim=-1) @ texts.T
    _, number = np.unique(words, return_inverse=True)
    same = torch.from_numpy(number[:, None] == number[None]).float()
    targets = same / same.sum(1, keepdim=True)
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2


def sigmoid_contrast(
    clip: torch.nn.Module, images: torch.Tensor, texts: torch.Tensor, words: list[str]
) -> torch.Tensor:
    """Return the sigmoid loss of Zhai et al. 2023 (SigLIP, algorithm 1); every image with the same text is a pair."""
    logits = clip.logit_scale.exp() * F.normalize(images, dim=-1) @ texts.T + clip.logit_bias
    _, number = np.unique(words, return_inverse=True)
    same = torch.from_numpy(number[:, None] == number[None])
    return -F.logsigmoid(torch.where(same, logits, -logits)).sum() / len(words)


@torch.no_grad()
def validate(clip: torch.nn.Module, tokenizer: Tokenizer, held_out: Renders) -> float:
    """Return the zero-shot accuracy on renders of held-out instances."""
    clip.eval()
    classes = sorted(set(held_out.labels))
    weights = sum(encode(clip, tokenizer, [t.replace("{}", c) for c in classes]) for t in TEMPLATES[:4])
    features = F.normalize(clip.visual.head.proj(held_out.features), dim=-1)
    answers = (features @ F.normalize(weights, dim=-1).T).argmax(1)
    clip.train()
    return float(np.mean([classes[int(i)] == label for i, label in zip(answers, held_out.labels, strict=True)]))


def save(clip: torch.nn.Module, folder: Path) -> None:
    """Write the weights in half precision, with read permission for all users, and the manifest of the folder."""
    path = folder / "open_clip_model.safetensors"
    parameters = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in clip.state_dict().items()
    }
    save_file(parameters, path)
    path.chmod(0o644)
    write_manifest(folder)


def write_manifest(folder: Path) -> None:
    """Write the digests and sizes of all files of a model that are read when it is loaded."""
    files = {
        file.name: {"sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "bytes": file.stat().st_size}
        for file in sorted(folder.iterdir())
        if file.suffix in {".safetensors", ".json", ".jinja"} and file.name != "manifest.json"
    }
    (folder / "manifest.json").write_text(json.dumps({"files": files}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
