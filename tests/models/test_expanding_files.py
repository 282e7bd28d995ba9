"""Files of models that ask for more memory than there is are refused in one line before they are read."""

from __future__ import annotations

import gzip
import hashlib
import io
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pytest_clip_robust.encoding.store.shard import DamagedShardError, unpack
from pytest_clip_robust.errors import BaselineError, ModelError
from pytest_clip_robust.gates.baseline_files import read_columns
from pytest_clip_robust.models.checkpoint import read_checkpoint
from pytest_clip_robust.models.saved_predictions import load_predictions
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.system import expansion


@pytest.fixture(autouse=True)
def one_mib(monkeypatch):
    monkeypatch.setattr(expansion, "free_memory", lambda: 1 / 1024)


def test_a_checkpoint_of_compressed_members_is_refused(tmp_path):
    plain = io.BytesIO()
    torch.save({"state_dict": {"x": torch.zeros(2**19)}}, plain)
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(plain) as read, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for member in read.infolist():
            packed.writestr(member.filename, read.read(member))
    assert path.stat().st_size < 9000
    with pytest.raises(ModelError, match=r"checkpoint .*bomb.pt is refused: it is .* GiB when it is read") as raised:
        read_checkpoint(path)
    assert str(raised.value).isprintable()


def write_npz(path):
    np.savez_compressed(path, samples=np.array(["a"]), logits=np.zeros((1, 2**19), np.float32))


def write_parquet(path):
    pq.write_table(pa.table({"sample": ["a"] * 2**18, "answer": ["b"] * 2**18}), path, compression="zstd")


def write_csv(path):
    path.write_bytes(gzip.compress(b"sample,answer\n" + b"a,b\n" * 2**19))


@pytest.mark.parametrize(
    ("name", "write"), [("p.npz", write_npz), ("p.parquet", write_parquet), ("p.csv.gz", write_csv)]
)
def test_saved_predictions_that_grow_are_refused(tmp_path, name, write):
    write(tmp_path / name)
    assert (tmp_path / name).stat().st_size < 20_000
    with pytest.raises(ModelError, match=r"cannot be read: it is .* GiB when it is read") as raised:
        load_predictions(ModelSpec.parse(f"predictions:{tmp_path / name}"), device="cpu", precision="fp32")
    assert str(raised.value).isprintable()


def zeros(rows=2**17, dimensions=4):
    values = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(rows * dimensions, np.float32)), dimensions)
    table, file = pa.table({"digest": pa.array(["x"] * rows), "feature": values}), io.BytesIO()
    pq.write_table(table, file, compression="zstd")
    return file.getvalue()


def test_a_shard_of_a_pack_that_grows_is_refused():
    content = zeros()
    assert len(content) < 20_000
    with pytest.raises(DamagedShardError, match="GiB when it is read"):
        unpack(f"4d-{hashlib.sha256(content).hexdigest()}.parquet", content)


def test_columns_of_a_baseline_that_grow_are_refused(tmp_path):
    (tmp_path / "test_x.parquet").write_bytes(zeros())
    with pytest.raises(BaselineError, match=r"test_x.parquet cannot be read: it is .* GiB") as raised:
        read_columns(tmp_path / "test_x.parquet")
    assert str(raised.value).isprintable()
