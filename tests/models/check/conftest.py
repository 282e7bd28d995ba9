from __future__ import annotations

import json

import open_clip
import pytest
from fitted_models import SMALL, fitted
from safetensors.torch import save_file


@pytest.fixture
def save_fitted(tmp_path):
    """Write a fitted model as a folder of open_clip, and its parameters and config as files of their own."""

    def save(*, quick, stated, drop=(), **changes):
        state = {
            name: one.contiguous().clone() for name, one in fitted(quick=quick).state_dict().items() if name not in drop
        }
        state |= changes
        config = {**SMALL, "quick_gelu": stated}
        mean = {"mean": list(open_clip.OPENAI_DATASET_MEAN), "std": list(open_clip.OPENAI_DATASET_STD)}
        (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": mean}))
        (tmp_path / "small-clip.json").write_text(json.dumps(SMALL))
        save_file(state, tmp_path / "open_clip_model.safetensors")
        return tmp_path

    return save
