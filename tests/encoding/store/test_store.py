from __future__ import annotations

import errno
import hashlib
import multiprocessing
import resource
import shutil
import threading
import time
import tracemalloc
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_clip_robust.encoding.store import features as store_module
from pytest_clip_robust.encoding.store import shard as shard_module
from pytest_clip_robust.encoding.store.features import FeatureStore, StoreKey
from pytest_clip_robust.encoding.store.shard import ShardRows, pack
from pytest_clip_robust.errors import ModelError, StoreError


def digests_of(count, prefix="image"):
    return [hashlib.sha256(f"{prefix} {index}".encode()).hexdigest() for index in range(count)]


def features_of(count, dimensions=4, seed=0):
    return np.random.default_rng(seed).standard_normal((count, dimensions)).astype(np.float32)


def shards(tmp_path):
    return sorted((tmp_path / "features").rglob("*.parquet"))


class SlowBucket(MemoryFileSystem):
    """An object store whose requests take a while, and can fail; threads may share it."""

    protocol = "slow"
    async_impl = True
    store: ClassVar[dict] = {}
    fails = frozenset()

    def __init__(self, **options):
        super().__init__(**options)
        self.at_once, self.most, self.requests, self.lock = 0, 0, 0, threading.Lock()

    def pipe_file(self, path, value, **options):
        with self.lock:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
            self.requests += 1
            number = self.requests
        time.sleep(0.02)
        with self.lock:
            self.at_once -= 1
        if number in self.fails:
            raise OSError(errno.ENOSPC, "the bucket is full")
        super().pipe_file(path, value, **options)


@pytest.fixture
def bucket(monkeypatch):
    """Return a slow object store, and a `FeatureStore` in it that tells its notices."""
    fsspec.register_implementation("slow", SlowBucket, clobber=True)
    monkeypatch.setattr(SlowBucket, "store", {})
    SlowBucket.clear_instance_cache()
    notices = []
    store = FeatureStore("slow://bucket/features", notice=notices.append)
    return store._files, store, notices


def write_one_by_one(store, key, digests, features):
    with store.writing(key) as write:
        for row in range(len(digests)):
            write(digests[row : row + 1], features[row : row + 1])


def test_shards_are_sent_to_a_bucket_while_the_caller_goes_on(bucket, key):
    files, store, notices = bucket
    digests, features = digests_of(60), features_of(60)
    write_one_by_one(store, key, digests, features)
    assert files.at_once == 0, "all have arrived"
    assert 1 < files.most <= store_module.WRITES_AT_ONCE
    read, found = FeatureStore("slow://bucket/features").read(key, digests)
    assert found.all()
    np.testing.assert_array_equal(read, features)
    assert not notices


def test_rows_that_a_bucket_does_not_take_stay_in_memory(bucket, key, monkeypatch):
    files, store, notices = bucket
    monkeypatch.setattr(files, "fails", {2, 3, 4})
    digests, features = digests_of(20), features_of(20)
    write_one_by_one(store, key, digests, features)
    assert store.rows_in_memory == 3
    (notice,) = notices
    assert "the bucket is full" in notice
    read, found = store.read(key, digests)
    assert found.all()
    np.testing.assert_array_equal(read, features)
    stored = FeatureStore("slow://bucket/features").read(key, digests)[1]
    assert stored.sum() == 17


def test_after_an_error_what_was_given_to_a_bucket_arrives(bucket, key):
    _, store, _ = bucket
    digests, features = digests_of(6), features_of(6)
    features[5] = np.nan
    with pytest.raises(ModelError, match="NaN or infinite"):
        write_one_by_one(store, key, digests, features)
    assert FeatureStore("slow://bucket/features").read(key, digests)[1].tolist() == [True] * 5 + [False]


def test_what_is_written_is_read_back_in_the_order_asked(store, key):
    digests, features = digests_of(5), features_of(5)
    store.write(key, digests, features)
    read, found = store.read(key, digests[::-1])
    assert found.all()
    np.testing.assert_array_equal(read, features[::-1])


def test_an_empty_store_finds_nothing(store, key):
    features, found = store.read(key, digests_of(3))
    assert features.shape == (3, 0)
    assert not found.any()


def test_samples_that_are_missing_are_marked_and_zero(store, key):
    digests, features = digests_of(3), features_of(3)
    store.write(key, digests[:2], features[:2])
    read, found = store.read(key, digests)
    assert found.tolist() == [True, True, False]
    assert not read[2].any()


def test_a_repeated_digest_is_returned_twice(store, key):
    digests, features = digests_of(2), features_of(2)
    store.write(key, digests, features)
    read, found = store.read(key, [digests[1], digests[0], digests[1]])
    assert found.all()
    np.testing.assert_array_equal(read, features[[1, 0, 1]])


@pytest.mark.parametrize("field", ["kind", "weights", "transform", "precision"])
def test_another_key_holds_other_features(store, key, field):
    store.write(key, digests_of(1), features_of(1))
    other = replace(key, **{field: "text" if field == "kind" else "other"})
    assert not store.read(other, digests_of(1))[1].any()


def test_untrusted_key_fields_stay_inside_the_store():
    folder = StoreKey(kind="image", weights="../../etc", transform="x", precision="\x1b/..").folder
    assert "/" not in folder
    assert "." not in folder
    assert folder.isprintable()


def test_many_rows_become_several_shards(store, key, tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "SHARD_ROWS", 10)
    digests, features = digests_of(25), features_of(25)
    store.write(key, digests, features)
    assert len(shards(tmp_path)) == 3
    np.testing.assert_array_equal(store.read(key, digests)[0], features)


def test_writing_the_same_rows_again_adds_no_file(store, key, tmp_path):
    for _ in range(2):
        store.write(key, digests_of(3), features_of(3))
    assert len(shards(tmp_path)) == 1


def test_a_shard_is_plain_parquet_with_page_checksums_and_provenance(store, key, tmp_path):
    store.write(key, digests_of(3), features_of(3))
    (path,) = shards(tmp_path)
    table = pq.read_table(path, page_checksum_verification=True)
    assert table.column_names == ["digest", "feature"]
    assert table.schema.metadata[b"clip_robust.format"] == b"1"
    assert b"pytest-clip-robust" in table.schema.metadata[b"clip_robust.writer"]
    assert key.weights.encode() in table.schema.metadata[b"clip_robust.key"]


def test_no_temporary_file_is_left_next_to_a_shard(store, key, tmp_path):
    store.write(key, digests_of(3), features_of(3))
    assert [path.suffix for path in (tmp_path / "features").rglob("*") if path.is_file()] == [".parquet"]


@given(st.data())
@settings(deadline=None, max_examples=40)
def test_one_flipped_bit_anywhere_in_a_shard_is_found(tmp_path_factory, data):
    root = tmp_path_factory.mktemp("flip")
    notices = []
    store = FeatureStore(root, notice=notices.append)
    key = StoreKey(kind="image", weights="w", transform="t", precision="fp32")
    store.write(key, digests_of(4), features_of(4))
    (path,) = root.rglob("*.parquet")
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    assert not store.read(key, digests_of(4))[1].any()
    assert len(notices) == 1


@pytest.mark.parametrize("kept_bytes", [0, 100, -8])
def test_a_damaged_shard_is_set_aside_and_the_others_are_read(store, key, tmp_path, notices, kept_bytes):
    digests, features = digests_of(4), features_of(4)
    store.write(key, digests[:2], features[:2])
    (broken,) = shards(tmp_path)
    store.write(key, digests[2:], features[2:])
    broken.write_bytes(broken.read_bytes()[:kept_bytes])
    read, found = store.read(key, digests)
    assert found.tolist() == [False, False, True, True]
    np.testing.assert_array_equal(read[2:], features[2:])
    assert not broken.exists()
    assert broken.with_name(f"{broken.name}.damaged").exists()
    (line,) = notices
    assert line == (
        f"feature store: {broken} is set aside: its bytes do not match the SHA-256 in its name; "
        "its rows will be encoded again"
    )


def test_rows_of_a_damaged_shard_can_be_written_again(store, key, tmp_path):
    store.write(key, digests_of(3), features_of(3))
    shards(tmp_path)[0].write_bytes(b"")
    store.read(key, digests_of(3))
    store.write(key, digests_of(3), features_of(3))
    assert store.read(key, digests_of(3))[1].all()


def test_without_a_callback_notices_are_logged_not_warned(key, tmp_path, logged):
    store = FeatureStore(tmp_path / "features")
    store.write(key, digests_of(3), features_of(3))
    shards(tmp_path)[0].write_bytes(b"")
    store.read(key, digests_of(3))
    assert any("is set aside" in message for message in logged)


def test_a_shard_with_other_dimensions_is_set_aside(store, key, tmp_path, notices):
    digests, features = digests_of(4), features_of(4)
    for row in range(4):
        store.write(key, digests[row : row + 1], features[row : row + 1])
    store.write(key, digests_of(1), features_of(1, dimensions=2))
    read, found = store.read(key, [*digests, "unknown"])
    assert found.tolist() == [True, True, True, True, False]
    np.testing.assert_array_equal(read[:4], features)
    (line,) = notices
    assert "it has 2 dimensions, the other shards have 4" in line


def test_an_intact_file_that_is_not_a_shard_is_set_aside(store, key, tmp_path, notices):
    folder = tmp_path / "features" / key.folder
    folder.mkdir(parents=True)
    content = b"not parquet"
    (folder / f"4d-{hashlib.sha256(content).hexdigest()}.parquet").write_bytes(content)
    assert not store.read(key, digests_of(1))[1].any()
    assert "it is not a Parquet file" in notices[0]


def test_other_files_in_the_folder_are_left_alone(store, key, tmp_path, notices):
    store.write(key, digests_of(1), features_of(1))
    stray = tmp_path / "features" / key.folder / "notes.txt"
    stray.write_text("mine")
    assert store.read(key, digests_of(1))[1].all()
    assert stray.read_text() == "mine"
    assert notices == []


def test_shards_of_an_unknown_format_are_ignored_with_one_notice(store, key, tmp_path, notices, monkeypatch):
    monkeypatch.setattr(shard_module, "FORMAT_VERSION", "99")
    store.write(key, digests_of(1), features_of(1))
    store.write(key, digests_of(1), features_of(1, seed=1))
    monkeypatch.undo()
    assert not store.read(key, digests_of(1))[1].any()
    assert len(shards(tmp_path)) == 2
    assert notices == [
        f"feature store {store.location(key)}: shards of format 99 are ignored; this version reads format 1"
    ]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_are_refused(store, key, tmp_path, value):
    features = features_of(3)
    features[1, 2] = value
    with pytest.raises(ModelError) as error:
        store.write(key, digests_of(3), features)
    assert str(error.value) == f"the features of {digests_of(3)[1]} are NaN or infinite: they are not stored"
    assert shards(tmp_path) == []


@contextmanager
def files_no_larger_than(size):
    """Limit the file size, so that writes fail as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_on_a_full_disk_features_stay_in_memory_and_the_run_goes_on(store, key, tmp_path, notices):
    digests, features = digests_of(60), features_of(60)
    with files_no_larger_than(1000):
        store.write(key, digests[:30], features[:30])
        store.write(key, digests[30:], features[30:])
    read, found = store.read(key, digests)
    assert found.all()
    np.testing.assert_array_equal(read, features)
    (line,) = notices
    assert line == (
        f"feature store {tmp_path / 'features'}: cannot be written (File too large); "
        "new features stay in memory and are lost after this run"
    )
    assert [path for path in (tmp_path / "features").rglob("*") if path.is_file()] == []


def test_a_read_only_store_is_read_and_new_features_stay_in_memory(store, key, notices, monkeypatch):
    digests, features = digests_of(4), features_of(4)
    store.write(key, digests[:2], features[:2])

    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    store.write(key, digests[2:], features[2:])
    np.testing.assert_array_equal(store.read(key, digests)[0], features)
    assert len(notices) == 1


def test_a_damaged_shard_of_a_read_only_store_is_not_used(store, key, tmp_path, notices, monkeypatch):
    store.write(key, digests_of(2), features_of(2))
    shards(tmp_path)[0].write_bytes(b"")

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(shutil, "move", refuse)
    assert not store.read(key, digests_of(2))[1].any()
    assert len(notices) == 1


def test_a_root_that_is_a_file_is_an_error_of_one_line(key, tmp_path):
    root = tmp_path / "file"
    root.write_text("")
    with pytest.raises(StoreError) as error:
        FeatureStore(root).read(key, digests_of(1))
    assert str(error.value) == f"feature store {root}: cannot be read (Not a directory): give another --clip-cache"


def test_an_unknown_protocol_is_an_error_of_one_line():
    with pytest.raises(StoreError) as error:
        FeatureStore("nosuch://bucket/features")
    line = str(error.value)
    assert line.startswith("feature store 'nosuch://bucket/features': ")
    assert line.endswith("give a local folder, or install the package for this kind of URL")
    assert "\n" not in line


def test_a_store_at_a_url_is_shared_by_all_that_open_it(key):
    digests, features = digests_of(3), features_of(3)
    FeatureStore("memory://bucket/features").write(key, digests, features)
    read, found = FeatureStore("memory://bucket/features/").read(key, digests)
    assert found.all()
    np.testing.assert_array_equal(read, features)


def test_damage_behind_a_url_is_found(key, notices):
    store = FeatureStore("memory://damaged/features", notice=notices.append)
    store.write(key, digests_of(3), features_of(3))
    (path,) = store._files.ls(f"{store._path}/{key.folder}", detail=False)
    store._files.pipe_file(path, b"short")
    assert not store.read(key, digests_of(3))[1].any()
    assert len(notices) == 1


def _write_from(root, key, start):
    store = FeatureStore(root)
    digests, features = digests_of(200), features_of(200)
    for row in range(start, start + 100, 10):
        store.write(key, digests[row : row + 10], features[row : row + 10])


def test_two_processes_write_one_store_at_the_same_time(store, key, tmp_path):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_from, args=(tmp_path / "features", key, start)) for start in (0, 50)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    read, found = store.read(key, digests_of(150))
    assert found.all()
    np.testing.assert_array_equal(read, features_of(200)[:150])


def test_reading_many_rows_takes_little_more_memory_than_the_result(store, key):
    digests, features = digests_of(50_000), features_of(50_000, dimensions=512)
    for start in range(0, len(digests), 2048):
        store.write(key, digests[start : start + 2048], features[start : start + 2048])
    tracemalloc.start()
    read, found = store.read(key, digests)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.all()
    assert peak < 1.5 * read.nbytes  # Arrow's buffers are not traced: one shard of 4 MB at a time


def test_equal_rows_make_equal_bytes():
    rows = ShardRows(digests_of(3), features_of(3))
    assert pack(rows, provenance={"writer": "me"}) == pack(rows, provenance={"writer": "me"})


@pytest.mark.parametrize(("room", "reads"), [(store_module.RECENT_BYTES, 3), (0, 9)])
def test_shards_that_were_read_lately_are_not_read_again(room, reads, key, tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "RECENT_BYTES", room)
    store, paths = FeatureStore(tmp_path), []
    read = store._files.cat_file
    monkeypatch.setattr(store._files, "cat_file", lambda path: paths.append(path) or read(path))
    for name in "abc":
        store.write(key, [name], np.full((1, 4), ord(name), np.float32))
    for _ in range(3):
        rows, found = store.read(key, ["a", "b", "c", "d"])
        assert found.tolist() == [True, True, True, False]
        assert rows[:, 0].tolist() == [97, 98, 99, 0]
        rows[:] = -1  # the caller's own copy
    assert len(paths) == reads


@pytest.fixture
def read_paths(store, monkeypatch):
    """Nothing stays in memory, and every file that is read from the store is noted."""
    monkeypatch.setattr(store_module, "RECENT_BYTES", 0)
    paths, read = [], store._files.cat_file
    monkeypatch.setattr(store._files, "cat_file", lambda path: paths.append(path) or read(path))
    return paths


def test_a_shard_that_is_known_to_hold_nothing_of_what_is_asked_is_not_read(store, key, read_paths):
    parts = [digests_of(3, f"set {number}") for number in range(4)]
    for number, part in enumerate(parts):
        store.write(key, part, features_of(3, seed=number))
    for number, part in enumerate(parts):
        read, found = store.read(key, part)
        assert found.all()
        np.testing.assert_array_equal(read, features_of(3, seed=number))
    assert len(read_paths) == len(set(read_paths)) == 4, "each set is in one shard, and only that one is read"
    assert not store.read(key, digests_of(3, "another set"))[1].any()
    assert len(read_paths) == 4


def test_a_shard_of_another_process_is_read_once_to_learn_what_it_holds(store, key, tmp_path, read_paths):
    store.write(key, digests_of(3, "own"), features_of(3))
    FeatureStore(str(tmp_path / "features")).write(key, digests_of(3, "foreign"), features_of(3, seed=1))
    for _ in range(3):
        assert not store.read(key, digests_of(3, "absent"))[1].any()
    assert len(read_paths) == 1
    np.testing.assert_array_equal(store.read(key, digests_of(3, "foreign"))[0], features_of(3, seed=1))


def test_the_width_of_features_is_known_although_no_shard_is_read(store, key, read_paths):
    store.write(key, digests_of(3), features_of(3, dimensions=5))
    assert store.read(key, digests_of(2, "absent"))[0].shape == (2, 5)
    assert not read_paths


def test_a_damaged_shard_is_found_although_its_content_is_known(store, key, tmp_path, read_paths, notices):
    store.write(key, digests_of(3), features_of(3))
    (path,) = shards(tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    assert not store.read(key, digests_of(3))[1].any()
    assert any("set aside" in line for line in notices)


@given(st.lists(st.sets(st.integers(0, 30), min_size=1), min_size=1, max_size=6), st.sets(st.integers(0, 40)))
@settings(max_examples=50, deadline=None)
def test_what_a_store_knows_never_changes_what_it_finds(tmp_path_factory, written, asked):
    root = str(tmp_path_factory.mktemp("store"))
    key = StoreKey(kind="image", weights="w", transform="t", precision="fp32")
    knowing = FeatureStore(root)
    names = digests_of(41)
    for number, part in enumerate(written):
        knowing.write(key, [names[i] for i in sorted(part)], np.full((len(part), 2), number, np.float32))
    wanted = [names[i] for i in sorted(asked)]
    found = knowing.read(key, wanted)[1]
    np.testing.assert_array_equal(found, FeatureStore(root).read(key, wanted)[1])
    assert found.tolist() == [any(i in part for part in written) for i in sorted(asked)]


def test_the_folder_of_a_key_is_made_once_behind_a_url_and_again_if_it_is_gone(key, monkeypatch, tmp_path):
    store = FeatureStore(f"memory://{tmp_path.name}-folders")
    made, make = [], store._files.makedirs
    monkeypatch.setattr(store._files, "makedirs", lambda path, **named: made.append(path) or make(path, **named))
    for name in "abc":
        store.write(key, [name], features_of(1))
    assert made == [f"{store._path}/{key.folder}"]
    write = store._files.pipe_file
    monkeypatch.setattr(store._files, "pipe_file", lambda *_: (_ for _ in ()).throw(FileNotFoundError("gone")))
    store.write(key, ["d"], features_of(1))
    assert store.rows_in_memory == 1
    monkeypatch.setattr(store._files, "pipe_file", write)
    store.write(key, ["e"], features_of(1))
    assert len(made) == 2
    assert store.read(key, list("abcde"))[1].all()
