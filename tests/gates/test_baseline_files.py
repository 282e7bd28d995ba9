"""Baselines on disk: exact, small, and never less than they were."""

from __future__ import annotations

import json
import tempfile
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pytest_clip_robust.core.evidence import Evidence, Stratum, auroc_evidence, coarse_confidence, mean_evidence
from pytest_clip_robust.core.measurement import Interval, Measurement, Provenance
from pytest_clip_robust.errors import BaselineError
from pytest_clip_robust.gates import baseline_files
from pytest_clip_robust.gates.baseline_files import (
    Update,
    columns_of,
    entry_of,
    pack,
    pack_columns,
    read_columns,
    read_entries,
    unpack,
    unpack_columns,
)
from pytest_clip_robust.gates.baseline_files import record as write

VERSIONS = {"torch": "2.9"}


def measurement(name="zero_shot.top1", *, outcomes=(True, False, True), evidence=None, weights="ab" * 32):
    outcomes = np.array(outcomes)
    return Measurement(
        metric=name,
        value=float(outcomes.mean()),
        n=len(outcomes),
        interval=Interval(0.1, 0.9, 0.95, "Wilson"),
        direction="higher",
        tolerance=0.01,
        headline=True,
        dataset="photos",
        evidence=evidence or mean_evidence("photos", outcomes),
        provenance=Provenance(model="m", weights=weights, data="d" * 64, prompts="p" * 64, precision="fp32"),
    )


def update(path, found):
    return Update(
        path=path, key=found.key, entry=entry_of(found, versions=VERSIONS), columns=columns_of(found.evidence)
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ViT-B-32" / "test_zero_shot.json"


def test_what_is_recorded_is_read_again(path):
    found = measurement()
    write(path, [update(path, found)])
    entry = read_entries(path)[found.key]
    assert (entry["value"], entry["n"], entry["data"]) == (0.666667, 3, "d" * 12)
    assert entry["run"]["versions"] == VERSIONS
    ((stratum, name, values),) = read_columns(path.with_suffix(".parquet"))[entry["outcomes"]]
    assert (stratum, name, values.tolist(), values.dtype) == ("photos", "outcome", [True, False, True], np.bool_)


def test_a_part_of_a_run_leaves_every_other_entry_as_it_is(path):
    one, other = measurement("a.x"), measurement("b.y", outcomes=(False, False, True))
    write(path, [update(path, one), update(path, other)])
    before = read_entries(path)
    write(path, [update(path, measurement("a.x", outcomes=(True, True, True)))])
    after = read_entries(path)
    assert after[other.key] == before[other.key]
    assert after[one.key]["value"] == 1
    columns = read_columns(path.with_suffix(".parquet"))
    assert set(columns) == {entry["outcomes"] for entry in after.values()}


def test_recording_the_same_again_changes_no_byte(path):
    updates = [update(path, measurement(name)) for name in ("b.x", "a.x")]
    write(path, updates)
    files = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in path.parent.iterdir()}
    write(path, updates[::-1])
    assert {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in path.parent.iterdir()} == files


def test_the_file_has_a_line_a_gate_in_order_and_names_each_run_once(path):
    write(path, [update(path, measurement(name)) for name in ("b.x", "a.x", "c.x")])
    lines = path.read_text().splitlines()
    assert [line.split('"')[1] for line in lines if "outcomes" in line] == ["a.x[photos]", "b.x[photos]", "c.x[photos]"]
    assert sum("versions" in line for line in lines) == 1
    write(path, [update(path, measurement("b.x", weights="cd" * 32))])
    assert len(json.loads(path.read_text())["runs"]) == 2


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_a_disk_that_fails_half_way_loses_no_entry(path, monkeypatch, failing):
    found = measurement("a.x")
    write(path, [update(path, found), update(path, measurement("b.x", outcomes=(False, True, True)))])
    before = read_entries(path)
    calls, replace = [], baseline_files._replace

    def full(target, content):
        calls.append(target)
        if len(calls) == failing:
            raise OSError(28, "No space left on device")
        replace(target, content)

    monkeypatch.setattr(baseline_files, "_replace", full)
    new = measurement("a.x", outcomes=(True, True, True))
    with pytest.raises(BaselineError, match=r"cannot be written: No space left on device"):
        write(path, [update(path, new)])
    entries, columns = read_entries(path), read_columns(path.with_suffix(".parquet"))
    assert all(entry["outcomes"] in columns for entry in entries.values())
    assert entries["b.x[photos]"] == before["b.x[photos]"]
    assert entries["a.x[photos]"]["value"] == (1 if failing == 3 else before["a.x[photos]"]["value"])


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "cannot be read: Expecting property name"),
        ("[]", "has format None, and this version reads 1"),
        ('{"format": 9}', "has format 9, and this version reads 1"),
        ('{"format": 1, "gates": {"a": {"run": "x"}}}', "is damaged: runs=None; expected a table"),
    ],
)
def test_a_damaged_file_is_named_and_never_written_over(path, content, complaint):
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(BaselineError, match=complaint) as caught:
        write(path, [update(path, measurement())])
    assert "restore it from version control" in str(caught.value)
    assert path.read_text() == content


def test_damaged_columns_are_named_too(path):
    write(path, [update(path, measurement())])
    columns = path.with_suffix(".parquet")
    columns.write_bytes(columns.read_bytes()[:-20])
    with pytest.raises(BaselineError, match=r"test_zero_shot.parquet cannot be read"):
        read_columns(columns)


def test_no_file_is_no_baseline(path):
    assert read_entries(path) == {}
    assert read_columns(path.with_suffix(".parquet")) == {}


@given(
    st.lists(
        st.sampled_from([np.bool_, np.uint8, np.int32, np.float32]).flatmap(
            lambda kind: hnp.arrays(kind, 5, elements={"allow_nan": False} if kind is np.float32 else None)
        ),
        min_size=1,
        max_size=4,
    )
)
def test_packing_and_disk_keep_every_bit(tmp_path_factory, arrays):
    path = tmp_path_factory.mktemp("baselines") / "test_x.json"
    stratum = Stratum(name="s", columns={str(i): one for i, one in enumerate(arrays)})
    found = measurement(evidence=Evidence(test="mean", strata=(stratum,)))
    parcel = json.loads(json.dumps(pack(update(path, found))))
    write(path, [unpack(parcel)])
    (columns,) = read_columns(path.with_suffix(".parquet")).values()
    for one, (_, _, values) in zip(arrays, columns, strict=True):
        assert (values.dtype, values.tobytes()) == (one.dtype, one.tobytes())


def test_fifty_thousand_accuracies_fit_200_kilobytes_and_scores_a_megabyte(path):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 1000, 50_000).astype(np.int32)
    right = rng.random(50_000) < 0.7
    columns = {
        "outcome": right,
        "confidence": coarse_confidence(rng.beta(2, 1, 50_000)),
        "answer": np.where(right, labels, rng.integers(0, 1000, 50_000)).astype(np.int32),
    }
    decisions = Evidence(test="mean", strata=(Stratum(name="photos", columns=columns),))
    write(path, [update(path, measurement(outcomes=right, evidence=decisions))])
    assert path.with_suffix(".parquet").stat().st_size < 200_000
    scores = auroc_evidence("photos", rng.normal(size=50_000), "ood", rng.normal(size=50_000))
    other = path.with_name("test_ood.json")
    write(other, [update(other, measurement(outcomes=right, evidence=scores))])
    assert other.with_suffix(".parquet").stat().st_size < 1_000_000


def test_gates_that_share_numbers_store_them_once(path):
    rng = np.random.default_rng(0)
    scores = auroc_evidence("photos", rng.normal(size=5000), "ood", rng.normal(size=5000))
    write(path, [update(path, measurement("a.x", evidence=scores))])
    alone = path.with_suffix(".parquet").stat().st_size
    write(path, [update(path, measurement(f"{name}.x", evidence=scores)) for name in "bcdefg"])
    assert path.with_suffix(".parquet").stat().st_size < 1.1 * alone


def test_writers_of_one_file_take_turns_and_leave_one_lock_for_all_files(path, monkeypatch, tmp_path):
    locks = tmp_path / "temporary"
    locks.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(locks))
    files = [path, path.with_name("test_other.json")]
    found = [measurement(f"a.x{number}", outcomes=(True, bool(number % 2))) for number in range(12)]

    def add(number):
        write(files[number % 2], [update(files[number % 2], found[number])])

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(add, range(12)))
    assert [set(read_entries(file)) for file in files] == [{one.key for one in found[i::2]} for i in (0, 1)]
    assert len(list(locks.iterdir())) == 1


def test_a_lock_held_by_another_process_is_an_error_of_one_line(path, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(baseline_files, "LOCK_SECONDS", 0.05)
    with FileLock(baseline_files.lock_file()), pytest.raises(BaselineError) as error:
        write(path, [update(path, measurement())])
    assert str(error.value) == (
        f"baseline {path} cannot be written: another process, which writes baselines, has held the lock file "
        f"{baseline_files.lock_file()} for more than 0.05 s: end that process, or remove the file"
    )
    assert not path.exists()


def test_a_temporary_folder_that_is_full_is_one_line(path, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent" / "file"))
    (tmp_path / "absent").write_text("")
    with pytest.raises(BaselineError, match=r"baseline .*test_zero_shot.json cannot be written: "):
        write(path, [update(path, measurement())])


def test_packing_the_answers_to_many_samples_takes_little_more_memory_than_the_answers():
    columns = [("photos", "answer", np.arange(200_000, dtype=np.int32))]
    tracemalloc.start()
    packed = pack_columns(columns)
    ((_, _, values),) = unpack_columns(packed)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(values, columns[0][2])
    assert peak < 6 * values.nbytes
