from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers_built_once import build_tokenizers_once
from training_runs import TINY, train

build_tokenizers_once()


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


@pytest.fixture
def photo():
    pixels = np.random.default_rng(3).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    return Image.fromarray(pixels)
