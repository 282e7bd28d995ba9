"""``clip-robust cache``: sizes, damage, and removal of old features."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust import cli
from pytest_clip_robust.cli.cache import SECONDS_PER_DAY
from pytest_clip_robust.encoding.store.features import FeatureStore, StoreKey
from pytest_clip_robust.encoding.store.maintenance import Stored, removable, survey


def key(kind="image", weights="ab"):
    return StoreKey(kind=kind, weights=weights * 32, transform="cd" * 32, precision="fp32")


@pytest.fixture
def cache(tmp_path):
    """A cache with 30 rows of one model, written now, and 10 of another one, written 100 days ago."""
    store = FeatureStore(tmp_path / "cache" / "features")
    for start in (0, 15):
        digests = [f"{number:064x}" for number in range(start, start + 15)]
        store.write(key(), digests, np.ones((15, 8), np.float32) * start)
    store.write(key(weights="ef"), [f"{number:064x}" for number in range(10)], np.ones((10, 8), np.float32))
    old = time.time() - 100 * SECONDS_PER_DAY
    for path in (tmp_path / "cache" / "features" / key(weights="ef").folder).iterdir():
        os.utime(path, (old, old))
    return tmp_path / "cache"


def run(capsys, *arguments):
    status = cli.main(["cache", *map(str, arguments)])
    found = capsys.readouterr()
    return status, found.out + found.err


def test_sizes_are_those_of_the_files(cache, capsys):
    (cache / "pixels").mkdir()
    (cache / "pixels" / "block").write_bytes(bytes(3 * 2**20))
    status, text = run(capsys, "size", "--clip-cache", cache)
    assert status == 0
    assert "image" in text
    assert " 30 " in text
    assert "abababab" in text
    assert "resized images 3 MiB" in text
    assert [one.rows for one in survey(cache / "features")] == [30, 10]


def test_an_empty_cache_has_no_size(tmp_path, capsys):
    assert run(capsys, "size", "--clip-cache", tmp_path / "none")[1].endswith("none: 0 bytes\n")
    assert run(capsys, "verify", "--clip-cache", tmp_path / "none") == (0, "0 of 0 shards are intact (0 bytes read)\n")


def test_intact_features_are_verified(cache, capsys):
    status, text = run(capsys, "verify", "--clip-cache", cache)
    assert (status, text.startswith("3 of 3 shards are intact")) == (0, True)


def test_a_damaged_shard_is_set_aside_and_its_rows_are_missing(cache, capsys):
    shard = min((cache / "features" / key().folder).iterdir())
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    status, text = run(capsys, "verify", "--clip-cache", cache)
    assert status == 1
    assert f"{shard} is damaged, and was set aside" in text
    assert "2 of 3 shards are intact" in text
    assert not shard.exists()
    digests = [f"{number:064x}" for number in range(30)]
    assert FeatureStore(cache / "features").read(key(), digests)[1].sum() == 15
    assert "1 damaged or unfinished" in run(capsys, "size", "--clip-cache", cache)[1]
    assert run(capsys, "verify", "--clip-cache", cache)[0] == 0


def test_old_features_are_removed_and_no_others(cache, capsys):
    arguments = ["prune", "--older-than", 90, "--clip-cache", cache]
    assert run(capsys, *arguments, "--dry-run")[1].startswith("would remove 10 rows")
    assert len(survey(cache / "features")) == 2
    status, text = run(capsys, *arguments)
    assert (status, text.startswith("removed 10 rows")) == (0, True)
    assert [one.weights[:2] for one in survey(cache / "features")] == ["ab"]
    assert run(capsys, *arguments)[1].startswith("removed 0 rows")


def test_the_oldest_are_removed_until_the_rest_fits(cache, capsys):
    assert run(capsys, "prune", "--keep", "1MB", "--clip-cache", cache)[1].startswith("removed 0 rows")
    assert run(capsys, "prune", "--keep", "8KiB", "--clip-cache", cache)[1].startswith("removed 10 rows")
    assert run(capsys, "prune", "--keep", "0KiB", "--clip-cache", cache)[1].startswith("removed 30 rows")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prune"], "prune needs --older-than DAYS, --keep SIZE, or both"),
        (["prune", "--keep", "many"], "--keep 'many': expected a size such as 20GiB"),
        (["prune", "--older-than", "-3"], "--older-than -3.0: expected a number of days, 0 or more"),
        (["prune", "--older-than", "nan"], "--older-than nan: expected a number of days"),
        (["size", "--clip-cache", "s3://bucket/cache"], "only a local folder can be tidied"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, capsys, arguments, message):
    given = arguments if "--clip-cache" in arguments else [*arguments, "--clip-cache", tmp_path]
    status, text = run(capsys, *given)
    assert (status, text.count("\n")) == (2, 1)
    assert message in text


STORED = st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 100)), max_size=12)


@given(STORED, st.none() | st.integers(0, 100), st.none() | st.integers(0, 5000))
def test_what_stays_fits_and_nothing_newer_is_removed_before_it(tmp_path_factory, sizes_and_ages, before, most):
    folder = tmp_path_factory.getbasetemp()
    stored = [
        Stored(folder=folder / str(number), kind="image", weights="", precision="", rows=1, shards=1, size=size,
               newest=float(newest), leftovers=0)
        for number, (size, newest) in enumerate(sizes_and_ages)
    ]  # fmt: skip
    chosen = removable(stored, before=before, most=most)
    kept = [one for one in stored if one not in chosen]
    if most is not None:
        assert sum(one.size for one in kept) <= most
    if before is not None:
        assert all(one.newest >= before for one in kept)
    if chosen and kept:
        assert max(one.newest for one in chosen) <= min(one.newest for one in kept)
    if before is None and most is None:
        assert not chosen
