"""The feature store against a model of it, through any sequence of writers, readers, kills and damage.

The model says for every row whether a file that was written completely and not damaged since holds it, or the memory of
a writer does. Such a row is always read, with its own features; no other features are ever read.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pytest_clip_robust.encoding.store import features as store_module
from pytest_clip_robust.encoding.store import maintenance
from pytest_clip_robust.encoding.store.features import FeatureStore, StoreKey
from pytest_clip_robust.encoding.store.shard import ShardRows, pack
from pytest_clip_robust.system import files

ROWS = 8
DIGESTS = [hashlib.sha256(f"image {row}".encode()).hexdigest() for row in range(ROWS)]
KEYS = [StoreKey(kind=kind, weights="w" * 64, transform="t", precision="fp32") for kind in ("image", "text")]
TRUTH = {
    key: np.random.default_rng(seed).standard_normal((ROWS, 3)).astype(np.float32) for seed, key in enumerate(KEYS)
}

ROW_SETS = st.sets(st.integers(0, ROWS - 1), min_size=1).map(sorted)
PLACES = st.integers(0, 10**6)


class KilledError(BaseException):
    """What a process that is killed does: nothing after this point, and no cleaning up."""


class StoreMachine(RuleBasedStateMachine):
    """Two stores over one folder, as two processes have; `intact` has the rows of every shard that must be readable."""

    def __init__(self):
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="store-machine-"))
        self.intact = {key: {} for key in KEYS}
        self.notices = []

    @initialize()
    def open(self):
        self.stores = [FeatureStore(self.root, notice=self.notices.append) for _ in range(2)]

    def teardown(self):
        shutil.rmtree(self.root, ignore_errors=True)

    def folder(self, key):
        return self.root / key.folder

    def shards(self, key):
        return sorted(self.folder(key).glob("*.parquet"))

    @rule(who=st.integers(0, 1), key=st.sampled_from(KEYS), rows=ROW_SETS)
    def write(self, who, key, rows):
        before = set(self.shards(key))
        self.stores[who].write(key, [DIGESTS[row] for row in rows], TRUTH[key][rows])
        # A damaged shard with the same rows has the same name, and is replaced.
        name = self.name_of(key, rows)
        assert {path.name for path in set(self.shards(key)) - before} <= {name}
        self.intact[key][name] = set(rows)

    def name_of(self, key, rows):
        """Return the name of a shard with these rows."""
        content = ShardRows([DIGESTS[row] for row in rows], TRUTH[key][rows])
        return pack(content, provenance=store_module._provenance(key))[0]

    @rule(key=st.sampled_from(KEYS), rows=ROW_SETS, kept=st.floats(0, 1), renamed=st.booleans())
    def a_writer_is_killed(self, key, rows, kept, renamed):
        """Kill a writer after it wrote a part of its temporary file, or just before it would have renamed it."""
        if set(rows) in self.intact[key].values():
            return

        def half(path, content):
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f"{path.name}.{len(list(path.parent.iterdir()))}.part")
            part.write_bytes(content if renamed else content[: int(kept * len(content))])
            raise KilledError

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("pytest_clip_robust.encoding.store.features.write_whole", half)
            with pytest.raises(KilledError):
                FeatureStore(self.root).write(key, [DIGESTS[row] for row in rows], TRUTH[key][rows])

    @rule(key=st.sampled_from(KEYS), which=PLACES, place=PLACES, bit=st.integers(0, 7))
    def a_bit_flips(self, key, which, place, bit):
        def flip(content):
            content[place % len(content)] ^= 1 << bit
            return bytes(content)

        self.damage(key, which, flip)

    @rule(key=st.sampled_from(KEYS), which=PLACES, kept=st.floats(0, 0.999))
    def a_shard_is_cut_off(self, key, which, kept):
        self.damage(key, which, lambda content: bytes(content[: int(kept * len(content))]))

    @rule(key=st.sampled_from(KEYS), which=PLACES)
    def a_shard_is_replaced_by_zeros(self, key, which):
        self.damage(key, which, lambda content: bytes(len(content)))

    def damage(self, key, which, change):
        found = [path for path in self.shards(key) if path.name in self.intact[key]]
        if found:
            path = found[which % len(found)]
            path.write_bytes(change(bytearray(path.read_bytes())))
            del self.intact[key][path.name]

    @rule(key=st.sampled_from(KEYS), which=PLACES)
    def a_shard_is_deleted(self, key, which):
        if found := self.shards(key):
            path = found[which % len(found)]
            path.unlink()
            self.intact[key].pop(path.name, None)

    @rule(key=st.sampled_from(KEYS), which=PLACES)
    def a_shard_gets_the_name_of_another_one(self, key, which):
        found = [path for path in self.shards(key) if path.name in self.intact[key]]
        if len(found) > 1:
            one, other = found[which % len(found)], found[(which + 1) % len(found)]
            other.write_bytes(one.read_bytes())
            del self.intact[key][other.name]

    @rule(key=st.sampled_from(KEYS), which=PLACES)
    def a_shard_is_copied_to_another_model(self, key, which):
        """Put a shard into the folder of another key, under its own name; nobody but a person would do that."""
        found = self.shards(key)
        if found:
            stray = self.folder(key).with_name("image-fp32-stray-0") / found[which % len(found)].name
            stray.parent.mkdir(exist_ok=True)
            stray.write_bytes(found[which % len(found)].read_bytes())

    @rule(key=st.sampled_from(KEYS), name=st.sampled_from(["notes.txt", "4d-0.parquet", ".DS_Store"]))
    def other_files_appear(self, key, name):
        self.folder(key).mkdir(parents=True, exist_ok=True)
        (self.folder(key) / name).write_bytes(b"not a shard")

    @rule(key=st.sampled_from(KEYS))
    def a_key_is_removed(self, key):
        if self.folder(key).is_dir():
            maintenance.remove(self.folder(key))
        self.intact[key].clear()

    @precondition(lambda self: any(self.intact.values()))
    @rule(who=st.integers(0, 1))
    def another_process_opens_the_store(self, who):
        self.stores[who] = FeatureStore(self.root, notice=self.notices.append)

    @rule(who=st.integers(0, 1), key=st.sampled_from(KEYS), order=st.permutations(range(ROWS)))
    def read(self, who, key, order):
        features, found = self.stores[who].read(key, [DIGESTS[row] for row in order])
        must_be_there = set().union(*self.intact[key].values())
        assert {row for row, there in zip(order, found, strict=True) if there} >= must_be_there
        for row, there, feature in zip(order, found, features, strict=True):
            if there:
                np.testing.assert_array_equal(feature, TRUTH[key][row])
            else:
                assert not feature.any()

    @rule(who=st.integers(0, 1), key=st.sampled_from(KEYS))
    def read_all(self, who, key):
        rows = self.stores[who].all_rows(key)
        must_be_there = {DIGESTS[row] for held in self.intact[key].values() for row in held}
        assert set(rows.digests) >= must_be_there
        for digest, feature in zip(rows.digests, rows.features, strict=True):
            np.testing.assert_array_equal(feature, TRUTH[key][DIGESTS.index(digest)])

    @invariant()
    def a_survey_counts_what_is_intact_and_finds_what_is_damaged(self):
        stored = maintenance.survey(self.root)
        damaged = set(maintenance.damaged_shards(stored, advance=lambda _: None))
        for key in KEYS:  # a damaged copy in another folder has the same name
            assert not damaged & {self.folder(key) / name for name in self.intact[key]}

    @invariant()
    def notices_are_lines(self):
        assert all(one.isprintable() for one in self.notices)


TestStore = StoreMachine.TestCase
TestStore.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)


def test_a_kill_between_the_file_and_its_name_leaves_no_shard(tmp_path, monkeypatch):
    def killed(*_):
        raise KilledError

    monkeypatch.setattr(Path, "replace", killed)
    key = KEYS[0]
    with pytest.raises(KilledError):
        files.write_whole(tmp_path / key.folder / "3d-x.parquet", b"whole")
    assert not list(tmp_path.rglob("*.parquet"))
