"""Files that grow when they are read are measured before they are read."""

from __future__ import annotations

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pytest_clip_robust.system import expansion
from pytest_clip_robust.system.expansion import ExpansionError, check_gzip, check_parquet, check_size, check_zip


@pytest.fixture
def one_mib(monkeypatch):
    monkeypatch.setattr(expansion, "free_memory", lambda: 1 / 1024)


def test_the_limit_is_the_free_memory(one_mib):
    check_size(2**20)
    with pytest.raises(ExpansionError, match=r"it is 0\.0 GiB when it is read, and 0\.0 GiB of memory are free"):
        check_size(2**20 + 1)


def test_without_a_report_of_memory_there_is_a_limit_too(monkeypatch):
    monkeypatch.setattr(expansion, "free_memory", lambda: None)
    check_size(8 * 2**30)
    with pytest.raises(ExpansionError, match=r"it is 9\.0 GiB when it is read, and 8\.0 GiB"):
        check_size(9 * 2**30)


@pytest.mark.parametrize("size", [2**17 - 100, 2**18])
def test_a_compressed_array_counts_with_its_own_size(one_mib, tmp_path, size):
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(size))
    assert (tmp_path / "a.npz").stat().st_size < 4000
    if size * 8 < 2**20:
        check_zip(tmp_path / "a.npz")
    else:
        with pytest.raises(ExpansionError):
            check_zip(tmp_path / "a.npz")


def test_several_members_count_together(one_mib, tmp_path):
    file = tmp_path / "a.gz"
    file.write_bytes(gzip.compress(b"\0" * 2**19))
    check_gzip(file)
    file.write_bytes(3 * gzip.compress(b"\0" * 2**19))  # the size at a file's end is that of its last member
    with pytest.raises(ExpansionError):
        check_gzip(file)


def test_equal_values_of_a_parquet_file_count_one_by_one(one_mib, tmp_path):
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"x": pa.array(np.zeros(2**19, np.float32))}), file, compression="zstd")
    assert file.stat().st_size < 4000
    with pytest.raises(ExpansionError):
        check_parquet(pq.read_metadata(file))
    pq.write_table(pa.table({"x": [1.0, 2.0]}), file)
    check_parquet(pq.read_metadata(file))
