"""Runs of open_clip's training, made by its own code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import open_clip
import torch

TINY = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 16, "head_width": 32},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}

TRAIN = """
import sys, open_clip
open_clip.add_model_config(sys.argv[1])
from open_clip_train.main import main
main("--model tiny-clip --dataset-type synthetic --train-num-samples 16 --batch-size 8 --epochs 1 --warmup 1 "
     "--workers 0 --device cpu --precision fp32 --name run".split() + ["--logs", sys.argv[2]] + sys.argv[3:])
"""


class Run(NamedTuple):
    """A checkpoint, and the model, preprocessing and tokenizer that open_clip's training had at its end."""

    checkpoint: Path
    config: Path
    model: Any
    preprocess: Any
    tokenizer: Any


def train(folder: Path, *options: str) -> Path:
    """Run open_clip's own training on two batches and return the checkpoint that it saved."""
    config = write_config(folder)
    command = [sys.executable, "-c", TRAIN, config, folder / "logs", *options]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return folder / "logs" / "run" / "checkpoints" / "epoch_1.pt"


def trained_run(folder: Path, *options: str) -> Run:
    """Train with `options`, and rebuild the trained model as open_clip's main function builds it."""
    checkpoint = train(folder, *options)
    run = _as_main_builds(folder, checkpoint, options)
    run.model.load_state_dict(torch.load(checkpoint, weights_only=True)["state_dict"])
    return run


def untrained_run(folder: Path, *options: str) -> Run:
    """Write what the training writes at the end of an epoch, without training: files as its code makes them."""
    checkpoint = folder / "logs" / "run" / "checkpoints" / "epoch_1.pt"
    checkpoint.parent.mkdir(parents=True)
    run = _as_main_builds(folder, checkpoint, options)
    generator = torch.Generator().manual_seed(0)
    for parameter in run.model.parameters():  # some start at 0 or 1, where mistakes do not show
        parameter.data += 0.02 * torch.randn(parameter.shape, generator=generator)
    arguments = vars(_arguments(options))
    lines = [f"{name}: {arguments[name]}\n" for name in sorted(arguments)]
    (checkpoint.parent.parent / "params.txt").write_text("".join(lines))
    optimizer = {"param_groups": [{"lr": np.float64(5e-4), "params": [0, 1]}], "state": {0: {"step": torch.ones(1)}}}
    state = {"epoch": 1, "name": "run", "state_dict": run.model.state_dict(), "optimizer": optimizer}
    torch.save(state, checkpoint)
    return run


def write_config(folder: Path) -> Path:
    """Write the config of the architecture ``tiny-clip``."""
    path = folder / "tiny-clip.json"
    path.write_text(json.dumps(TINY))
    return path


def _arguments(options: tuple[str, ...]) -> Any:
    from open_clip_train.params import parse_args

    arguments = parse_args(["--model", "tiny-clip", *options])
    if isinstance(arguments.force_image_size, list) and len(arguments.force_image_size) == 1:
        arguments.force_image_size = arguments.force_image_size[0]
    return arguments


def _as_main_builds(folder: Path, checkpoint: Path, options: tuple[str, ...]) -> Run:
    config = write_config(folder)
    open_clip.add_model_config(config)
    arguments = _arguments(options)
    sigmoid = {"init_logit_scale": np.log(10), "init_logit_bias": -10} if arguments.siglip else {}
    model, _, preprocess = open_clip.create_model_and_transforms(
        arguments.model,
        arguments.pretrained,
        force_quick_gelu=arguments.force_quick_gelu,
        force_custom_text=arguments.force_custom_text,
        force_patch_dropout=arguments.force_patch_dropout,
        force_image_size=arguments.force_image_size,
        force_context_length=arguments.force_context_length,
        image_mean=arguments.image_mean,
        image_std=arguments.image_std,
        image_interpolation=arguments.image_interpolation,
        image_resize_mode=arguments.image_resize_mode,
        **sigmoid,
    )
    tokenizer = open_clip.get_tokenizer(arguments.model, context_length=arguments.force_context_length)
    return Run(checkpoint, config, model.eval(), preprocess, tokenizer)
