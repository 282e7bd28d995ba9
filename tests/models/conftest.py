from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
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


def train(folder, *options):
    """Run open_clip's own training on two batches and return the checkpoint it saved."""
    (folder / "tiny-clip.json").write_text(json.dumps(TINY))
    command = [sys.executable, "-c", TRAIN, folder / "tiny-clip.json", folder / "logs", *options]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return folder / "logs" / "run" / "checkpoints" / "epoch_1.pt"


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A folder with the config ``tiny-clip.json`` and the run ``logs/run`` of a real training."""
    folder = tmp_path_factory.mktemp("trained")
    train(folder)
    return folder


@pytest.fixture(scope="session")
def config(trained):
    return trained / "tiny-clip.json"


@pytest.fixture(scope="session")
def checkpoint(trained):
    return trained / "logs" / "run" / "checkpoints" / "epoch_1.pt"


@pytest.fixture(scope="session")
def parameters(checkpoint):
    return torch.load(checkpoint, weights_only=True)["state_dict"]


@pytest.fixture
def folder(tmp_path, parameters):
    """A ``local-dir:`` folder."""
    from safetensors.torch import save_file

    (tmp_path / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": TINY, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}})
    )
    save_file(parameters, tmp_path / "open_clip_model.safetensors")
    return tmp_path
