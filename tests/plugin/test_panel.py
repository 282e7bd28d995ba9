"""Runs with --clip-panel: the table of all models, and findings that are decided on it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from pytest_clip_robust.properties.findings import FINDINGS
from pytest_clip_robust.report.panel_files import COLUMNS, read_panel_table

REPOSITORY = Path(__file__).resolve().parents[2]

PANEL = """
[[models]]
spec = "py:colour_clip:load"
[models.factors]
family = "ViT"
size = "B/32"
data = "crayons"
samples_seen = 34e9
fine_tuning = "zero-shot"

[[models]]
spec = "py:colour_clip:load_other"
parent = "py:colour_clip:load"

[[models]]
spec = "py:colour_clip:load_forgetful"
reference = true
"""

FINDING_SUITE = """
import pytest
from pytest_clip_robust import Interval, Measurement

CHANGE = {"load": VALUE, "load_other": VALUE, "load_forgetful": VALUE}

def test_detection(model, gate):
    value = CHANGE[model.spec.label.rpartition(":")[2]]
    gate(Measurement(metric="prompts.fewer_templates_auroc_mcm", value=value, n=9, direction="higher", tolerance=0.01,
        interval=Interval(value - 0.001, value + 0.001, 0.95, "made"), headline=False, dataset="far"))

@pytest.mark.parametrize("name", ["fewer_templates_help_ood_detection", "fewer_templates_help_calibration"])
def test_finding(name, decide_on_panel):
    decide_on_panel(name)
"""


PAIRED_SUITE = """
import numpy as np
from pytest_clip_robust import Interval, Measurement
from pytest_clip_robust.core.evidence import Stratum
from pytest_clip_robust.properties.shape_bias import ratio_evidence

def test_shape(model, gate):
    shape = np.arange(40) < (30 if model.spec.label.endswith("load") else 10)
    gate(Measurement(metric="shape_bias.ratio_direct", value=shape.mean(), n=40, direction="higher", tolerance=0.02,
        interval=Interval(0, 1, 0.95, "made"), headline=False, dataset="cues",
        evidence=ratio_evidence(Stratum(name="cues", columns={"shape": shape, "texture": ~shape}))))

def test_finding(decide_on_panel):
    decide_on_panel("fine_tuning_lowers_shape_bias")
"""


@pytest.fixture
def world(colours):
    (colours.path / "panel.toml").write_text(PANEL)
    return colours


def run(world, *options, panel="panel.toml"):
    return world.runpytest(f"--clip-panel={panel}", "--clip-profile=profile.toml", *options)


def with_findings(world, value):
    world.makepyfile(test_suite=FINDING_SUITE.replace("VALUE", str(value)))
    return world


def table(world, folder="out"):
    return read_panel_table(world.path / folder / "panel.parquet")


def test_the_models_of_the_file_run_and_one_table_has_their_factors_and_results(world):
    result = run(world, "--clip-report=out")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["panel: out/panel.parquet"])
    found = table(world)
    first, other, forgetful = (
        found.models[f"py:colour_clip:{name}"] for name in ("load", "load_other", "load_forgetful")
    )
    assert (first.architecture, first.training_data, first.samples_seen) == ("ViT-B/32", "crayons", 34e9)
    assert (first.fine_tuning, first.prompts, first.loss, first.reference) == ("zero-shot", "custom", None, False)
    assert (other.parent, other.group, other.training_data) == (first.model, first.model, None)
    assert (forgetful.reference, forgetful.group) == (True, forgetful.model)
    by_model = {row.factors.model: row for row in found}
    gates = json.loads((world.path / "out" / "report.json").read_text())["gates"]
    assert {gate["model"]: (gate["value"], gate["verdict"]) for gate in gates} == {
        label: (row.value, row.verdict) for label, row in by_model.items()
    }
    row = by_model[first.model]
    assert (row.aspect, row.metric, row.dataset, row.subset) == ("zero_shot", "zero_shot.top1", "photos", "")
    assert (row.value, row.n, row.direction, row.verdict) == (1.0, 12, "higher", "passed")
    assert by_model[forgetful.model].verdict == "below_threshold"
    assert by_model[forgetful.model].low < by_model[forgetful.model].value < by_model[forgetful.model].high


def test_the_page_has_the_models_and_the_findings(world):
    result = run(with_findings(world, 0.05), "--clip-report=out")
    result.stdout.fnmatch_lines(["panel page: out/panel.html"])
    page = (world.path / "out" / "panel.html").read_text()
    assert page.count('class="depth"') == 3
    assert "A panel of 3 models in 2 families" in page
    assert 'id="finding-fewer_templates_help_ood_detection"' in page
    assert "Fewer prompt templates help calibration." in page


def test_the_csv_file_has_the_same_columns_and_values(world):
    run(world, "--clip-report=out")
    with (world.path / "out" / "panel.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [column.name for column in COLUMNS]
    assert [float(row["value"]) for row in rows] == [row.value for row in table(world)]
    assert [row["samples_seen"] for row in rows].count("34000000000.0") == 1


def test_a_second_run_encodes_nothing_and_writes_the_same_table(world):
    run(world, "--clip-report=out")
    run(world, "--clip-report=again").stdout.fnmatch_lines(["encoded 0 images and 0 texts*"])
    for name in ("panel.csv", "panel.parquet"):
        assert (world.path / "out" / name).read_bytes() == (world.path / "again" / name).read_bytes()


def test_workers_make_the_same_table_and_findings(world, forked_workers):
    with_findings(world, 0.05)
    run(world, "--clip-report=out")
    run(world, "--clip-report=workers", "-n2").assert_outcomes(passed=4, skipped=1)
    for name in ("panel.csv", "findings.csv", "panel.html"):
        assert (world.path / "out" / name).read_bytes() == (world.path / "workers" / name).read_bytes()


def test_models_are_compared_in_pairs_on_the_samples_that_workers_send(world, forked_workers):
    """The intervals reach from 0 to 1, so only pairs of samples can show the difference of 20 of 40 images."""
    panel = world.path / "panel.toml"
    parent = 'parent = "py:colour_clip:load"'
    panel.write_text(PANEL.replace(parent, f'{parent}\n[models.factors]\nfine_tuning = "cross-entropy"'))
    world.makepyfile(test_suite=PAIRED_SUITE)
    for options in ((), ("-n2",)):
        result = run(world, "--clip-report=out", *options)
        result.assert_outcomes(passed=4)
        result.stdout.fnmatch_lines(["holds *+0.500*"])
        assert [len(values) for columns in table(world).outcomes.values() for *_, values in columns] == [40] * 4


@pytest.mark.parametrize("option", ["--collect-only", "-knothing"])
def test_a_run_that_measures_nothing_keeps_the_files_of_an_earlier_one(world, option):
    run(world)
    path = world.path / "panel-results" / "panel.csv"
    before = path.read_bytes()
    run(world, option)
    assert path.read_bytes() == before


def test_without_a_report_the_files_are_next_to_the_run_under_the_name_of_the_panel(world):
    run(world).stdout.fnmatch_lines(["panel: panel-results/panel.parquet"])
    assert (world.path / "panel-results" / "panel.csv").exists()


def test_a_model_that_does_not_load_is_in_the_table_with_an_error(world):
    (world.path / "panel.toml").write_text(PANEL.replace("load_forgetful", "load_broken"))
    run(world, "--clip-report=out").assert_outcomes(passed=2, errors=1)
    (row,) = [row for row in table(world) if row.factors.model == "py:colour_clip:load_broken"]
    assert (row.value, row.verdict, row.metric, row.factors.family) == (None, "error", "test_top1[photos]", None)


def test_a_finding_that_holds_passes_and_one_without_measurements_is_skipped_with_the_reason(world):
    result = run(with_findings(world, 0.05), "--clip-report=out", "-rs")
    result.assert_outcomes(passed=4, skipped=1)
    result.stdout.fnmatch_lines(
        [
            "*decided by the panel of 3 models:*",
            "holds *Fewer prompt templates help OOD detection.*+0.050*",
            "findings: 1 holds, 1 not tested",
            "*SKIPPED*not tested: needs prompts.fewer_templates_ece_15_equal_width, *",
        ]
    )
    with (world.path / "out" / "findings.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["status"], first["units"], second["status"]) == ("holds", "2", "not tested")
    reported = json.loads((world.path / "out" / "report.json").read_text())["findings"]
    assert [(one["finding"], one["status"]) for one in reported] == [
        (one["finding"], one["status"]) for one in (first, second)
    ]


@pytest.mark.parametrize(
    ("options", "outcomes", "status"),
    [
        ((), {"passed": 3, "xfailed": 1, "skipped": 1}, pytest.ExitCode.OK),
        (("--clip-findings=inform",), {"passed": 3, "xfailed": 1, "skipped": 1}, pytest.ExitCode.OK),
        (("--clip-findings=fail",), {"passed": 3, "failed": 1, "skipped": 1}, pytest.ExitCode.TESTS_FAILED),
    ],
)
def test_a_finding_that_does_not_hold_fails_the_run_only_if_asked_to(world, monkeypatch, options, outcomes, status):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    result = run(with_findings(world, -0.05), "-rxf", *options)
    result.assert_outcomes(**outcomes)
    assert result.ret == status
    result.stdout.fnmatch_lines(["*does not hold: AUROC*is -0.050*the whole interval is below 0*"])
    annotated = [line for line in result.outlines if line.startswith("::error title=does not hold%3A ")]
    assert len(annotated) == outcomes.get("failed", 0)
    assert all("-0.050" in line for line in annotated)


def test_a_finding_that_is_not_decided_is_skipped_and_says_why(world):
    text = FINDING_SUITE.replace('"load_forgetful": VALUE', '"load_forgetful": 0.3').replace("VALUE", "0.01")
    world.makepyfile(test_suite=text)
    result = run(world, "-rs", "--clip-findings=fail")
    result.assert_outcomes(passed=3, skipped=2)
    result.stdout.fnmatch_lines(["*SKIPPED*not decided here: AUROC*more models or images decide it"])


def test_junit_has_the_status_and_the_effect_of_a_finding(world):
    run(with_findings(world, 0.05), "--junitxml=junit.xml")
    text = (world.path / "junit.xml").read_text()
    assert '<property name="clip_finding_status" value="holds"' in text
    assert text.count("fewer_templates_help_ood_detection]") == 1


def test_findings_of_a_run_that_breaks_off_are_skipped(world):
    with_findings(world, 0.05)
    suite = world.path / "test_suite.py"
    suite.write_text(suite.read_text() + "\ndef test_breaks():\n    assert False\n")
    result = run(world, "-x", "-rs")
    result.assert_outcomes(passed=3, failed=1, skipped=2)
    result.stdout.fnmatch_lines(["*the run ended before all models were measured; run it again"])
    result.stdout.fnmatch_lines(["panel: panel-results/panel.parquet (incomplete: *"])
    assert "Incomplete: the run ended before all models" in (world.path / "panel-results/panel.html").read_text()


def test_without_a_panel_findings_are_skipped_with_the_way_out(world):
    with_findings(world, 0.05)
    result = world.runpytest("--model=py:colour_clip:load", "--clip-profile=profile.toml", "-rs")
    result.assert_outcomes(passed=1, skipped=2)
    result.stdout.fnmatch_lines(["*name them in a panel file: --clip-panel FILE"])


def test_the_shipped_suite_has_every_finding_on_a_panel_and_one_skipped_test_without(world):
    suite = REPOSITORY / "suites" / "test_findings.py"
    run(world, suite).assert_outcomes(skipped=len(FINDINGS))
    alone = world.runpytest("--model=py:colour_clip:load", "--clip-profile=profile.toml", suite)
    alone.assert_outcomes(skipped=1)


def test_an_unknown_finding_is_an_error_with_the_nearest_names(world):
    world.makepyfile(test_suite="def test_it(decide_on_panel):\n    decide_on_panel('clip_gains_on_colour')\n")
    result = run(world)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*no finding 'clip_gains_on_colour' (did you mean 'clip_gains_on_color'*"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "*panel *none.toml: no file *"),
        ('[[models]]\nspec = "a"\nparents = "b"', "*unknown key 'parents' (did you mean 'parent'?)*"),
        ('[[models]]\nspec = "a"\n[[models]]\nspec = "a"', "*models[[]1]: 'a' occurs twice; keep one of them"),
        ('[[models]]\nspec = "a"\nparent = "b"', "*parent='b' is not a model of the panel*"),
    ],
)
def test_a_wrong_panel_file_is_a_usage_error_of_one_line(world, text, message):
    if text is not None:
        (world.path / "wrong.toml").write_text(text)
    result = run(world, panel="none.toml" if text is None else "wrong.toml")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])


def test_a_wrong_way_to_report_findings_is_a_usage_error(world):
    result = run(world, "--clip-findings=fails")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--clip-findings 'fails' (did you mean 'fail'?): expected one of fail, inform"])


def test_a_folder_that_cannot_be_written_fails_the_run(world):
    (world.path / "panel-results").write_text("a file")
    result = run(world)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["*cannot write panel.*"])


def test_the_models_of_a_panel_can_be_checked(world):
    result = run(world, "--clip-check")
    result.stdout.fnmatch_lines(["*py:colour_clip:load_other*", "*py:colour_clip:load_forgetful*"])


def test_a_panel_can_be_compared_with_a_reference(world):
    result = run(with_findings(world, 0.05), "--clip-reference=py:colour_clip:load", "--clip-report=out")
    result.assert_outcomes(passed=4, skipped=1)
    assert len(table(world).rows) == 3


def test_the_command_line_takes_precedence_over_the_ini_file(world):
    ini = world.path / "tox.ini"
    ini.write_text(ini.read_text() + "\nclip_panel = panel.toml\nclip_model = py:colour_clip:load_broken\n")
    world.runpytest("--clip-profile=profile.toml").assert_outcomes(passed=2, failed=1)
    one = world.runpytest("--clip-profile=profile.toml", "--model=py:colour_clip:load")
    one.assert_outcomes(passed=1)
    assert "panel:" not in one.stdout.str()


def test_models_of_the_command_line_are_added_to_the_panel(world):
    (world.path / "panel.toml").write_text(PANEL.partition('[[models]]\nspec = "py:colour_clip:load_other"')[0])
    run(world, "--model=py:colour_clip:load", "--model=py:colour_clip:load_other", "--clip-report=out").assert_outcomes(
        passed=2
    )
    assert list(table(world).models) == ["py:colour_clip:load", "py:colour_clip:load_other"]
