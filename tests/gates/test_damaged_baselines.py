"""Damaged and edited baselines: each is an error of one line, and never read with other numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pytest_clip_robust.core.evidence import auroc_evidence, mean_evidence
from pytest_clip_robust.core.measurement import Interval, Measurement, Provenance
from pytest_clip_robust.errors import BaselineError
from pytest_clip_robust.gates import baseline_files
from pytest_clip_robust.gates.baseline_files import Update, columns_of, entry_of, read_columns, read_entries
from pytest_clip_robust.gates.regression import contradiction, value_of
from pytest_clip_robust.properties import ood
from pytest_clip_robust.scoring.ood_scores import Scores

KEY = "zero_shot.top1[photos]"
DAMAGED = 400


def measurement(metric, evidence, value):
    return Measurement(
        metric=metric,
        value=value,
        n=3,
        interval=Interval(0.1, 0.9, 0.95, "Wilson"),
        direction="higher",
        tolerance=0.01,
        headline=True,
        dataset="photos",
        evidence=evidence,
        provenance=Provenance(model="m", weights="ab" * 32, data="d" * 64, prompts="p" * 64, precision="fp32"),
    )


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A baseline of three gates: a proportion, a mean and an AUROC; returns the path of its JSON file."""
    path = tmp_path_factory.mktemp("baselines") / "ViT-B-32" / "test_zero_shot.json"
    rng = np.random.default_rng(0)
    found = [
        measurement("zero_shot.top1", mean_evidence("photos", np.array([True, False, True])), 2 / 3),
        measurement("calibration.nll", mean_evidence("photos", np.array([0.5, 1.5, 2.5])), 1.5),
        measurement("ood.auroc_mcm", auroc_evidence("photos", rng.normal(size=500), "ood", rng.normal(size=500)), 0.5),
    ]
    updates = [
        Update(path=path, key=one.key, entry=entry_of(one, versions={"torch": "2.9"}), columns=columns_of(one.evidence))
        for one in found
    ]
    baseline_files.record(path, updates)
    return path


def change(recorded, tmp_path, edit):
    """Write the JSON file with one edit, and return its path."""
    content = json.loads(recorded.read_text())
    edit(content)
    path = tmp_path / "test_zero_shot.json"
    path.write_text(json.dumps(content))
    return path


def one_line(caught, path):
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"baseline {path} ")
    assert message.endswith("restore it from version control, or delete it and re-record with --snapshot-update")
    return message


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("value", "0.7", r"gates.zero_shot.top1[photos].value='0.7'; expected a number"),
        ("value", None, r"value=None; expected a number"),
        ("value", True, r"value=True; expected a number"),
        ("low", [0.1], r"low=[0.1]; expected a number"),
        ("high", 0.05, r"low=0.1, high=0.05"),
        ("n", 3.5, r"n=3.5; expected a whole number"),
        ("n", 0, r"n=0"),
        ("data", 7, r"data=7; expected a string"),
        ("outcomes", None, r"outcomes=None; expected a string"),
        ("run", "ffffffffffff", r"names the run 'ffffffffffff', which it does not have"),
        ("run", {"model": "m"}, r"run={'model': 'm'}; expected a string"),
    ],
)
def test_a_mistyped_field_is_named(recorded, tmp_path, field, value, complaint):
    path = change(recorded, tmp_path, lambda content: content["gates"][KEY].update({field: value}))
    with pytest.raises(BaselineError) as caught:
        read_entries(path)
    assert complaint in one_line(caught, path)


@pytest.mark.parametrize("field", ["value", "low", "high", "n", "data", "prompts", "outcomes", "run"])
def test_a_missing_field_is_named(recorded, tmp_path, field):
    path = change(recorded, tmp_path, lambda content: content["gates"][KEY].pop(field))
    with pytest.raises(BaselineError) as caught:
        read_entries(path)
    assert f"gates.{KEY} has no '{field}'" in one_line(caught, path)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_value_that_is_not_finite_is_refused(recorded, tmp_path, value):
    path = tmp_path / "test_zero_shot.json"
    path.write_text(recorded.read_text().replace('"value": 0.666667', f'"value": {value}'))
    with pytest.raises(BaselineError) as caught:
        read_entries(path)
    one_line(caught, path)


def test_a_key_that_is_given_twice_is_refused(recorded, tmp_path):
    path = tmp_path / "test_zero_shot.json"
    path.write_text(recorded.read_text().replace('"value": 0.666667', '"value": 0.1, "value": 0.666667'))
    with pytest.raises(BaselineError) as caught:
        read_entries(path)
    assert "the key 'value' is given twice" in one_line(caught, path)


def test_an_edited_run_is_refused(recorded, tmp_path):
    def edit(content):
        next(iter(content["runs"].values()))["weights"] = "0" * 12

    path = change(recorded, tmp_path, edit)
    with pytest.raises(BaselineError) as caught:
        read_entries(path)
    assert "was edited" in one_line(caught, path)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "null",
        "7",
        "[" * 100_000,
        '{"format": true}',
        '{"format": 1}',
        '{"format": 1, "runs": [], "gates": {}}',
        '{"format": 1, "runs": {}, "gates": {"a": null}}',
        "\ufeff{}",
    ],
)
def test_other_json_is_refused(tmp_path, content):
    path = tmp_path / "test_x.json"
    path.write_text(content)
    with pytest.raises(BaselineError) as caught:
        read_entries(path)
    one_line(caught, path)


def test_a_file_that_is_not_text_is_refused(tmp_path):
    path = tmp_path / "test_x.json"
    path.write_bytes(b"\xff\xfe{")
    with pytest.raises(BaselineError) as caught:
        read_entries(path)
    one_line(caught, path)


def test_a_link_to_nothing_is_not_a_missing_baseline(tmp_path):
    path = tmp_path / "test_x.json"
    path.symlink_to(tmp_path / "annex")
    with pytest.raises(BaselineError, match="is a link to a file that does not exist"):
        read_entries(path)


def test_a_folder_in_the_place_of_the_file_is_refused(tmp_path):
    path = tmp_path / "test_x.json"
    path.mkdir()
    with pytest.raises(BaselineError) as caught:
        read_entries(path)
    one_line(caught, path)


def test_a_value_must_follow_from_its_evidence():
    rng = np.random.default_rng(0)
    scores = auroc_evidence("photos", rng.normal(size=500), "ood", rng.normal(size=500))
    for evidence in (mean_evidence("photos", rng.random(400) < 0.7), mean_evidence("photos", rng.random(400)), scores):
        value = value_of(evidence)
        found = measurement("m", evidence, value)
        assert contradiction(found, round(value, 6), evidence) is None
        assert contradiction(found, value - 0.01, evidence) == value


@given(st.integers(5, 400), st.integers(5, 400), st.randoms(use_true_random=False), st.booleans())
@settings(deadline=None, max_examples=30)
def test_evidence_that_is_coarser_than_the_value_is_no_contradiction(inside, outside, random, ties):
    rng = np.random.default_rng(random.randrange(2**32))
    sets = [rng.normal(shift, 1, size) for shift, size in ((1, inside), (0, outside))]
    one, two = (Scores(dataset=name, score="s", values=np.round(values, 1) if ties else values) for name, values in
                zip("ab", sets, strict=True))  # fmt: skip
    for metric in ("fpr95_id", "fpr95_ood", "aupr_in", "aupr_out"):
        found = ood.measure(one, two, metric)
        assert contradiction(found, round(found.value, 6), found.evidence) is None


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(["runs", "gates", "run", "gate", "field", "run_field"]), st.randoms(), plain)
@example("gates", None, {"": None})
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_in_any_place_is_read_or_refused_in_one_line(recorded, tmp_path, place, random, value):
    def edit(content):
        runs, gates = content["runs"], content["gates"]
        pick = (lambda table: random.choice(sorted(table))) if random else min
        if place in {"runs", "gates"}:
            content[place] = value
        elif place in {"run", "gate"}:
            table = runs if place == "run" else gates
            table[pick(table)] = value
        else:
            table = (runs if place == "run_field" else gates)[pick(runs if place == "run_field" else gates)]
            table[pick(table)] = value

    path = change(recorded, tmp_path, edit)
    entries, message = outcome(read_entries, path)
    assert "\n" not in message
    assert all(np.isfinite(entry["value"]) and entry["n"] >= 1 for entry in entries.values())


def test_no_damaged_parquet_file_is_read_with_other_numbers(recorded, tmp_path):
    whole = recorded.with_suffix(".parquet").read_bytes()
    truth = plain_columns(read_columns(recorded.with_suffix(".parquet")))
    rng = np.random.default_rng(0)
    refused = 0
    for number in range(DAMAGED):
        content = bytearray(whole)
        if number % 4 == 0:
            del content[int(rng.integers(len(whole))) :]
        else:
            for place in rng.integers(0, len(whole), size=1 + number % 3):
                content[place] ^= 1 << int(rng.integers(8))
        path = tmp_path / f"{number}.parquet"
        path.write_bytes(content)
        columns, message = outcome(read_columns, path)
        refused += bool(message)
        assert "\n" not in message
        assert plain_columns(columns).items() <= truth.items()
    assert refused > DAMAGED / 2


def outcome(read, path):
    """Return what is read and no message, or nothing and the message."""
    try:
        return read(path), ""
    except BaselineError as error:
        return {}, str(error)


def plain_columns(columns):
    return {
        digest: [(stratum, name, values.dtype.name, values.tobytes()) for stratum, name, values in found]
        for digest, found in columns.items()
    }
