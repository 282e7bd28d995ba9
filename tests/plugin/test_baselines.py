"""Baselines as a user meets them: recorded, compared, refused, and never lost."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest

MODEL = "--model=py:colour_clip:load"
WORSE = "--model=py:colour_clip:load_forgetful"
AS_MODEL = "--clip-baseline-name=colour_clip.load"
PROFILE = "--clip-profile=profile.toml"
RECORD = "--snapshot-update"


def entries(pytester, name="colour_clip.load"):
    return json.loads((pytester.path / "baselines" / name / "test_suite.json").read_text())["gates"]


def files(pytester):
    return {path.name: path.read_bytes() for path in (pytester.path / "baselines").rglob("*") if path.is_file()}


def test_without_a_baseline_a_value_passes_and_the_lack_is_said(crowd):
    result = crowd.runpytest(MODEL, PROFILE)
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(
        ["no baseline yet for any gate of py:colour_clip:load in baselines/colour_clip.load; compare *"]
    )
    result.stdout.no_fnmatch_line("*snapshot report summary*")
    assert not (crowd.path / "baselines").exists()


def test_strict_lets_nothing_pass_without_a_baseline(crowd):
    result = crowd.runpytest(MODEL, PROFILE, "--clip-strict")
    result.assert_outcomes(failed=4)
    result.stdout.fnmatch_lines(
        ["*no baseline yet, and --clip-strict fails every gate that has none; compare with its parent*"]
    )


def test_recording_says_what_it_wrote_and_syrupy_counts_it(crowd, recording):
    recording.stdout.fnmatch_lines(
        ["recorded 4 entries in baselines/colour_clip.load/test_suite.json", "4 snapshots generated."]
    )
    assert sorted(entries(crowd)) == [
        "shift.top1[dim]", "zero_shot.mean_per_class[photos]", "zero_shot.top1[photos]", "zero_shot.top2[photos]",
    ]  # fmt: skip


def test_the_same_model_passes_and_changes_no_file(recorded):
    before = files(recorded)
    result = recorded.runpytest(MODEL, PROFILE, "--clip-strict")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["4 passed; 2 passed not shown (-v shows all)", "4 snapshots passed."])
    assert files(recorded) == before


def test_a_worse_model_regresses_and_the_failure_says_everything(recorded):
    result = recorded.runpytest(
        WORSE, AS_MODEL, PROFILE, "--clip-report=out", "--junitxml=junit.xml", "-k", "accuracy and not top2"
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "zero_shot.top1[[]photos] = 0.* is worse than 1.0000 of baseline colour_clip.load/test_suite.json",
            "  baseline    1.0000 (baseline colour_clip.load/test_suite.json)",
            "  difference  -0.*, -0.* to -0.* (95% Bonett-Price)",
            "  p *e-* (McNemar, mid-p), adjusted for all * gates *e-*, significant at 0.05 or less",
            "  tolerance   0.01; smallest detectable loss 0.* (power 80%)",
            "  correct before, wrong now; largest loss of confidence in the true class first:",
            "    *.png  true * before * (*%)  now * (*%)",
            "verdict *measurement *before *now *difference *95 % interval *adj. p *threshold *n",
            "regressed *zero_shot.top1[[]photos]*",
        ]
    )
    gate = json.loads((recorded.path / "out" / "report.json").read_text())["gates"][0]
    assert gate["verdict"] == "regressed"
    assert gate["change"]["value"] == 1.0
    assert len(gate["change"]["flips"]) == 10
    properties = {p.get("name"): p.get("value") for p in ET.parse(recorded.path / "junit.xml").iter("property")}
    assert float(properties["clip_change_difference"]) < 0
    assert properties["clip_change_test"] == "McNemar, mid-p"


def test_a_checkpoint_in_a_folder_of_its_own_has_no_baseline_yet(recorded):
    result = recorded.runpytest(WORSE, PROFILE)
    result.stdout.fnmatch_lines(["no baseline yet for any gate of py:colour_clip:load_forgetful*"])


def test_recording_a_worse_model_is_a_decision_that_is_done_exactly(recorded):
    result = recorded.runpytest(WORSE, AS_MODEL, PROFILE, RECORD)
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["recorded * entries in baselines/colour_clip.load/test_suite.json"])
    assert entries(recorded)["zero_shot.top1[photos]"]["value"] < 0.9
    recorded.runpytest(WORSE, AS_MODEL, PROFILE, "--clip-strict").assert_outcomes(passed=4)


def test_recording_what_is_recorded_already_changes_nothing_and_misses_nothing(recorded):
    before = files(recorded)
    result = recorded.runpytest(MODEL, PROFILE, RECORD, "--clip-strict")
    result.assert_outcomes(passed=4)
    result.stdout.no_fnmatch_line("no baseline yet*")
    assert files(recorded) == before


def test_only_new_entries_are_added_where_that_is_asked(recorded):
    path = recorded.path / "baselines" / "colour_clip.load" / "test_suite.json"
    lines = [line for line in path.read_text().splitlines() if "shift.top1" not in line]
    path.write_text("\n".join(lines))
    before = entries(recorded)
    result = recorded.runpytest(WORSE, AS_MODEL, PROFILE, "--snapshot-update-new-only")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    after = entries(recorded)
    assert {key: after[key] for key in before} == before
    assert set(after) - set(before) == {"shift.top1[dim]"}


@pytest.mark.parametrize("part", [("-k", "top1 or shift"), ("--deselect", "test_suite.py::test_mean"), ("-x",)])
def test_a_part_of_a_run_keeps_what_it_did_not_measure(recorded, part):
    before = entries(recorded)
    recorded.runpytest(MODEL, PROFILE, RECORD, *part)
    assert entries(recorded) == before


def test_a_set_that_cannot_be_read_keeps_its_baseline(recorded):
    before = entries(recorded)
    next((recorded.path / "dim" / "red").iterdir()).write_bytes(b"no image")
    result = recorded.runpytest(MODEL, PROFILE, RECORD)
    result.assert_outcomes(passed=3, failed=1)
    assert entries(recorded) == before


def test_a_process_that_is_killed_keeps_every_file_as_it_was(recorded, monkeypatch, run_apart):
    before = files(recorded)
    monkeypatch.setenv("CRASH", "here")
    result = run_apart(WORSE, AS_MODEL, PROFILE, RECORD)
    assert result.ret == 9
    assert files(recorded) == before


def test_a_shrunken_set_is_refused_with_the_difference(recorded):
    next((recorded.path / "photos" / "red").iterdir()).unlink()
    result = recorded.runpytest(MODEL, PROFILE)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["*: baseline colour_clip.load/test_suite.json cannot be compared: data was * (n=120) and is * (n=119); *"]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("no baseline yet*")


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ("--clip-precision=bf16", "precision was fp32 and is bf16"),
        ("--clip-profile=other.toml", "prompts was * and is *"),
    ],
)
def test_other_ways_of_measuring_are_refused(recorded, option, complaint):
    text = (recorded.path / "profile.toml").read_text()
    (recorded.path / "other.toml").write_text(text.replace("a photo of a {}.", "{}"))
    result = recorded.runpytest(MODEL, PROFILE, option)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"*cannot be compared: {complaint}*"])


def test_a_damaged_baseline_fails_in_one_line_and_is_not_written_over(recorded):
    path = recorded.path / "baselines" / "colour_clip.load" / "test_suite.json"
    path.write_text(path.read_text()[:-40])
    for option in ("--clip-strict", RECORD):
        result = recorded.runpytest(MODEL, PROFILE, option)
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        result.stdout.fnmatch_lines(["*test_suite.json cannot be read*restore it from version control*"])
    assert len(path.read_text()) > 100


def test_a_value_that_was_edited_against_its_evidence_is_refused(recorded):
    path = recorded.path / "baselines" / "colour_clip.load" / "test_suite.json"
    edited = path.read_text().replace('"value": 1.0, "low": 0.968981', '"value": 0.4, "low": 0.3')
    assert edited != path.read_text()
    path.write_text(edited)
    result = recorded.runpytest(WORSE, AS_MODEL, PROFILE)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["*test_suite.json: zero_shot.top1* has the value 0.4, but its evidence gives 1.000000, so it was edited; *"]
    )
    result.stdout.no_fnmatch_line("*Traceback*")


def test_evidence_of_another_recording_is_refused(recorded):
    folder = recorded.path / "baselines"
    recorded.runpytest(WORSE, "--clip-baseline-name=other", PROFILE, RECORD)
    (folder / "other" / "test_suite.parquet").replace(folder / "colour_clip.load" / "test_suite.parquet")
    result = recorded.runpytest(WORSE, AS_MODEL, PROFILE, "-k", "test_accuracy")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*which test_suite.parquet lacks; the two files do not belong together; restore *"])
    result.stdout.no_fnmatch_line("no baseline yet*")


def test_a_baseline_without_its_outcomes_is_compared_unpaired(recorded):
    (recorded.path / "baselines" / "colour_clip.load" / "test_suite.parquet").unlink()
    result = recorded.runpytest(WORSE, AS_MODEL, PROFILE, "-k", "test_mean")
    result.stdout.fnmatch_lines(
        ["  p * (unpaired intervals), adjusted for all detail gates *, significant at * or less"]
    )


def test_warnings_that_are_errors_change_nothing(recorded):
    recorded.runpytest(MODEL, PROFILE, "-W", "error", RECORD).assert_outcomes(passed=4)
    result = recorded.runpytest(WORSE, AS_MODEL, PROFILE, "-W", "error")
    result.stdout.fnmatch_lines(["regressed *"])
    result.stdout.no_fnmatch_line("*Warning*")


def test_the_folder_can_be_moved(crowd):
    crowd.runpytest(MODEL, PROFILE, RECORD, "--clip-baselines=elsewhere").assert_outcomes(passed=4)
    assert (crowd.path / "elsewhere" / "colour_clip.load" / "test_suite.json").is_file()
    assert not (crowd.path / "baselines").exists()


def test_two_models_of_one_folder_are_not_recorded_at_once(crowd):
    result = crowd.runpytest(MODEL, WORSE, "--clip-baseline-name=mine", PROFILE, RECORD)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*would both be recorded in 'mine'; record one model at a time"])


def test_a_model_without_an_architecture_asks_for_a_name(crowd):
    result = crowd.runpytest("--model=local-dir:somewhere", PROFILE, RECORD)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*local-dir:somewhere does not name its architecture*--clip-baseline-name=NAME"])


@pytest.mark.parametrize("name", ["../up", ".hidden", "a/b", "a b"])
def test_a_name_that_is_no_folder_is_refused(crowd, name):
    result = crowd.runpytest(MODEL, PROFILE, f"--clip-baseline-name={name}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--clip-baseline-name *: expected a folder name*"])


@pytest.mark.parametrize("alpha", ["0", "1", "many"])
def test_alpha_is_a_share(crowd, alpha):
    result = crowd.runpytest(MODEL, PROFILE, f"--clip-alpha={alpha}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--clip-alpha *: expected a number between 0 and 1, such as 0.05"])


def test_a_tolerance_can_stand_in_the_profile_and_in_the_test(recorded):
    text = (recorded.path / "profile.toml").read_text()
    (recorded.path / "lenient.toml").write_text(f'{text}\n[tolerances]\n"zero_shot.top1" = 0.9\n')
    recorded.runpytest(WORSE, AS_MODEL, "--clip-profile=lenient.toml", "-k", "test_accuracy and 1").assert_outcomes(
        passed=1, deselected=3
    )
    suite = (recorded.path / "test_suite.py").read_text()
    (recorded.path / "test_suite.py").write_text(suite.replace("k=k))", "k=k), tolerance=0.9)"))
    recorded.runpytest(WORSE, AS_MODEL, PROFILE, "-k", "test_accuracy and 1").assert_outcomes(passed=1, deselected=3)


def test_a_tolerance_below_0_is_refused(recorded):
    suite = (recorded.path / "test_suite.py").read_text()
    (recorded.path / "test_suite.py").write_text(suite.replace("k=k))", "k=k), tolerance=-0.1)"))
    result = recorded.runpytest(MODEL, PROFILE, "-k", "test_accuracy and 1")
    result.assert_outcomes(failed=1, deselected=3)
    result.stdout.fnmatch_lines(["gate(zero_shot.top1) in the test test_accuracy*: tolerance=-0.1; expected 0 or more"])


def test_two_tests_that_measure_one_key_differently_are_told_apart(crowd):
    suite = (crowd.path / "test_suite.py").read_text()
    crowd.makepyfile(
        test_suite=suite
        + "\ndef test_again(model, gate):\n"
        + '    half = model.zero_shot("photos").rows(model.zero_shot("photos").labels > 0)\n'
        + "    gate(accuracy.top_k(half, k=1))\n"
    )
    result = crowd.runpytest(MODEL, PROFILE, RECORD)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(
        ["baselines: two tests measured zero_shot.top1[[]photos] in test_suite.json with different results; *"]
    )


@pytest.mark.parametrize("without", [{"options": ("-p", "no:syrupy")}, {"autoload": False}])
def test_without_syrupy_baselines_are_compared_all_the_same(recorded, monkeypatch, without, run_apart):
    options = without.get("options", ("-p", "pytest_clip_robust.plugin.hooks"))
    if not without.get("autoload", True):
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    result = run_apart(WORSE, AS_MODEL, PROFILE, *options)
    result.assert_outcomes(passed=1, failed=3)
    result.stdout.fnmatch_lines(["regressed *zero_shot.top1*"])
    recording = run_apart(WORSE, AS_MODEL, PROFILE, RECORD, *options)
    assert recording.ret == pytest.ExitCode.USAGE_ERROR


def test_snapshots_of_the_project_itself_still_work_beside(recorded):
    recorded.makepyfile(test_own="def test_it(snapshot):\n    assert snapshot == 'text'\n")
    recorded.runpytest("test_own.py", RECORD).assert_outcomes(passed=1)
    recorded.runpytest(MODEL, PROFILE).assert_outcomes(passed=5)
    assert (recorded.path / "__snapshots__" / "test_own.ambr").is_file()


def test_workers_judge_alike_and_only_the_controller_writes(recorded, run_apart):
    plain = recorded.runpytest(WORSE, AS_MODEL, PROFILE, "--clip-report=plain")
    spread = run_apart(WORSE, AS_MODEL, PROFILE, "--clip-report=spread", "-n", "1")
    assert plain.ret == spread.ret == pytest.ExitCode.TESTS_FAILED
    gates = [json.loads((recorded.path / run / "report.json").read_text())["gates"] for run in ("plain", "spread")]
    assert gates[0] == gates[1]
    recorded.runpytest(WORSE, AS_MODEL, PROFILE, RECORD, "--clip-baselines=one")
    run_apart(WORSE, AS_MODEL, PROFILE, RECORD, "--clip-baselines=two", "-n", "1")
    folders = [recorded.path / name / "colour_clip.load" for name in ("one", "two")]
    for name in ("test_suite.json", "test_suite.parquet"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
