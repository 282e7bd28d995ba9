from __future__ import annotations

import contextlib
import errno
import hashlib
import multiprocessing
import os
import pickle
import time
from types import SimpleNamespace

import numpy as np
import pytest

from pytest_clip_robust.encoding.pixels import cache as module
from pytest_clip_robust.encoding.pixels.cache import PixelCache

ROOM = 2**30
SHAPE = (8, 9, 3)


def picture(seed, shape=SHAPE):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def digest_of(seed):
    return hashlib.sha256(str(seed).encode()).hexdigest()


def keep(cache, seeds, resize="224"):
    """Put images on the shelf."""
    shelf = cache.shelf(resize, [])
    for seed in seeds:
        shelf.put(digest_of(seed), picture(seed))
    shelf.flush()


def kept(cache, seeds, resize="224"):
    """Return the seeds of the images that the cache returns, and check their pixels."""
    shelf = cache.shelf(resize, [digest_of(seed) for seed in seeds])
    found = []
    for seed in seeds:
        if digest_of(seed) in shelf:
            with contextlib.suppress(FileNotFoundError):  # thrown out meanwhile
                np.testing.assert_array_equal(shelf.read(digest_of(seed)), picture(seed))
                found.append(seed)
    return found


def blocks(root):
    return sorted(root.rglob("*.safetensors"))


def age(paths, seconds):
    for path in paths:
        os.utime(path, times=(time.time() - seconds,) * 2)


@pytest.fixture
def cache(tmp_path, notices):
    return PixelCache(tmp_path / "pixels", limit=ROOM, notice=notices.append)


@pytest.fixture
def again(tmp_path, notices):
    """Open the cache as a later process does."""
    return lambda limit=ROOM: PixelCache(tmp_path / "pixels", limit=limit, notice=notices.append)


def test_a_later_process_finds_what_was_kept(cache, again):
    keep(cache, range(7))
    assert kept(again(), range(9)) == list(range(7))


def test_another_resize_finds_nothing(cache):
    keep(cache, range(3))
    assert kept(cache, range(3), resize="384") == []


def test_blocks_are_written_as_they_fill(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_BYTES", 3 * picture(0).nbytes)
    keep(cache, range(7))
    assert len(blocks(tmp_path)) == 3
    assert kept(cache, range(7)) == list(range(7))


def test_images_of_two_shapes_are_written_to_two_blocks(cache, tmp_path):
    shelf = cache.shelf("as they are", [])
    shelf.put(digest_of(0), picture(0))
    shelf.put(digest_of(1), picture(1, (4, 4, 3)))
    shelf.flush()
    assert len(blocks(tmp_path)) == 2


def test_a_shelf_can_be_pickled_into_another_process(cache):
    keep(cache, range(3))
    shelf = pickle.loads(pickle.dumps(cache.shelf("224", [digest_of(1)])))
    np.testing.assert_array_equal(shelf.read(digest_of(1)), picture(1))
    shelf.put(digest_of(9), picture(9))
    shelf.flush()  # keeps nothing and harms nothing
    assert kept(cache, [9]) == []


def test_the_least_recently_used_blocks_are_removed(cache, again, tmp_path, notices):
    for seed in range(4):
        keep(cache, [seed])
    seed_of = {digest_of(seed): seed for seed in range(4)}
    for path in blocks(tmp_path):
        age([path], 1000 - seed_of[module.Block(path).digests[0]])
    size = path.stat().st_size
    later = again(limit=4 * size)
    assert kept(later, [0]) == [0]  # and so it counts as used
    keep(later, [4])
    assert kept(again(), range(5)) == [0, 2, 3, 4]
    assert notices == []


def test_all_kinds_of_resize_share_the_limit(cache, again, tmp_path):
    keep(cache, [0], resize="384")
    age(blocks(tmp_path), 1000)
    keep(again(limit=blocks(tmp_path)[0].stat().st_size), [1])
    assert kept(again(), [0], resize="384") == []
    assert kept(again(), [1]) == [1]


def test_a_set_larger_than_the_limit_does_not_remove_its_own_images(cache, again, tmp_path, notices):
    keep(cache, [0])
    limit = int(2.5 * blocks(tmp_path)[0].stat().st_size)
    for _ in range(2):
        small = again(limit)
        missing = [seed for seed in range(5) if seed not in kept(small, range(5))]
        for seed in missing:
            keep(small, [seed])
    assert kept(again(), range(5)) == [0, 1]
    assert len(notices) == 2  # once a process
    assert notices[0].endswith(
        "GiB are full of images that this run uses: no more images are cached; see --clip-pixel-cache"
    )


@pytest.mark.parametrize(
    ("number", "reason"), [(errno.ENOSPC, "No space left on device"), (errno.EROFS, "Read-only file system")]
)
def test_a_failed_write_is_reported_once_and_the_run_continues(cache, notices, monkeypatch, tmp_path, number, reason):
    keep(cache, [0])

    def fail(path, content):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(module, "write_whole", fail)
    for seed in range(1, 4):
        keep(cache, [seed])
    (line,) = notices
    assert line == (
        f"pixel cache {tmp_path / 'pixels'}: cannot be written ({reason}): no more images are cached; "
        "see --clip-pixel-cache"
    )
    assert kept(cache, range(4)) == [0]


def test_a_read_only_cache_is_read(cache, again, monkeypatch):
    keep(cache, [0])

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(module.os, "utime", refuse)
    monkeypatch.setattr(module.Path, "mkdir", refuse)
    assert kept(again(), range(2)) == [0]


def test_the_last_gigabyte_of_a_disk_stays_free(cache, notices, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: SimpleNamespace(free=module.RESERVE_BYTES))
    keep(cache, [0])
    assert kept(cache, [0]) == []
    (line,) = notices
    assert "less than 1 GiB is free on its disk" in line


def test_a_block_with_a_damaged_table_is_removed(cache, again, tmp_path, notices):
    keep(cache, [0])
    keep(cache, [1])
    first, second = blocks(tmp_path)
    first.write_bytes(first.read_bytes()[:40])
    assert len(kept(again(), [0, 1])) == 1
    (line,) = notices
    assert line.startswith(f"pixel cache: {first} is removed: it is not a safetensors file of pixels")
    assert line.endswith("; its images are decoded again")
    assert blocks(tmp_path) == [second]


def test_a_block_that_another_process_removed_is_only_missing(cache, tmp_path):
    keep(cache, [0])
    shelf = cache.shelf("224", [digest_of(0)])
    blocks(tmp_path)[0].unlink()
    with pytest.raises(FileNotFoundError):
        shelf.read(digest_of(0))
    assert kept(cache, [0]) == []


def test_abandoned_temporary_files_are_removed(cache, tmp_path):
    keep(cache, [0])
    folder = blocks(tmp_path)[0].parent
    dead, alive = folder / "dead.part", folder / "alive.part"
    dead.touch()
    alive.touch()
    age([dead], 2 * module.ABANDONED_SECONDS)
    keep(cache, [1])
    assert not dead.exists()
    assert alive.exists()


def work_at_once(root, start, number, limit):
    cache = PixelCache(root, limit=limit, notice=lambda _: None)
    start.wait(30)
    for step in range(12):
        seeds = [(5 * number + step + i) % 20 for i in range(4)]
        missing = set(seeds) - set(kept(cache, seeds))
        if missing:
            keep(cache, missing)
        cache = PixelCache(root, limit=limit, notice=lambda _: None)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="processes share this test's code")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_processes_share_a_cache_while_blocks_come_and_go(cache, again, tmp_path):
    keep(cache, range(4))
    limit = 5 * blocks(tmp_path)[0].stat().st_size
    context = multiprocessing.get_context("fork")
    start = context.Barrier(4)
    crowd = [context.Process(target=work_at_once, args=(tmp_path / "pixels", start, n, limit)) for n in range(4)]
    for process in crowd:
        process.start()
    for process in crowd:
        process.join(60)
    assert [process.exitcode for process in crowd] == [0] * 4
    assert kept(again(), range(20))
    assert not list(tmp_path.rglob("*.part"))
