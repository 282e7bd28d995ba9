from __future__ import annotations

import json
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

MODEL = "--model=py:colour_clip:load"


def test_a_model_that_meets_its_threshold_passes(colours):
    result = colours.runpytest(MODEL, "--clip-profile=profile.toml")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "clip-robust: py:colour_clip:load | profile colours | cpu fp32 | cache cache",
            "*= clip robustness =*",
            "verdict *measurement *value *95 % interval *threshold *n",
            "passed *zero_shot.top1[[]photos] *1.0000 *>= 0.9 *12",
        ]
    )


def test_a_model_below_its_threshold_fails_with_exit_code_1_and_names_its_misses(colours):
    for i in range(3):
        (colours.path / "photos" / "red" / f"red_{i}.png").rename(colours.path / "photos" / "blue" / f"red_{i}.png")
    result = colours.runpytest(MODEL, "--clip-profile=profile.toml")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "zero_shot.top1[[]photos] = 0.7500 is below its threshold 0.9000",
            "  interval    0.4677 to 0.9111 (95% Wilson)",
            "  n           12",
            "  threshold   >= 0.9 (profile profile.toml)",
            "  margin      -0.1500, within the noise*",
            "  wrong decisions, most confident first:",
            "    blue/red_?.png  true blue  predicted red (*%)",
            "below_threshold ~*zero_shot.top1[[]photos]*",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")


def test_the_second_run_encodes_nothing(colours):
    first = colours.runpytest(MODEL, "--clip-profile=profile.toml")
    first.stdout.fnmatch_lines(["encoded 12 images and 3 texts; *"])
    second = colours.runpytest(MODEL, "--clip-profile=profile.toml")
    second.stdout.fnmatch_lines(["encoded 0 images and 0 texts; *"])


def test_another_identity_is_another_model(colours):
    colours.runpytest(MODEL, "--clip-profile=profile.toml")
    result = colours.runpytest("--model=py:colour_clip:load_other", "--clip-profile=profile.toml")
    result.stdout.fnmatch_lines(["encoded 12 images and 3 texts; *"])


def test_several_models_are_measured_in_one_run(colours):
    result = colours.runpytest(MODEL, "--model=py:colour_clip:load_other", "--clip-profile=profile.toml", "-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*test_top1[[]py:colour_clip:load_other-photos] PASSED*", "verdict*model*"])


def test_clip_model_and_the_ini_file_name_models_too(colours):
    colours.runpytest("--clip-model=py:colour_clip:load", "--clip-profile=profile.toml").assert_outcomes(passed=1)
    colours.makeini(
        "[pytest]\nclip_model = py:colour_clip:load\nclip_profile = profile.toml\n"
        "clip_workers = 0\nclip_cache = cache\nclip_device = cpu\n"
    )
    colours.runpytest().assert_outcomes(passed=1)


def test_another_owner_of_the_model_option_does_not_crash_pytest(colours):
    colours.makeconftest("def pytest_addoption(parser): parser.addoption('--model', default='theirs')")
    colours.makepyfile(test_theirs="def test_it(request): assert request.config.getoption('--model') == 'mine'")
    colours.runpytest("--model=mine", "test_theirs.py").assert_outcomes(passed=1)
    ours = colours.runpytest("--clip-model=py:colour_clip:load", "--clip-profile=profile.toml", "test_suite.py")
    ours.assert_outcomes(passed=1)


def test_another_owner_is_named_where_a_suite_finds_no_model(colours):
    colours.makeconftest("def pytest_addoption(parser): parser.addoption('--model', default='theirs')")
    colours.makepyfile(test_suite="import pytest\n@pytest.mark.clip_suite\ndef test_it(): pass")
    result = colours.runpytest("--model=mine")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: --model is defined by another plugin or conftest here; * --clip-model instead"]
    )


def test_a_shipped_suite_without_a_model_is_a_usage_error_with_an_example(colours):
    colours.makepyfile(test_suite="import pytest\n@pytest.mark.clip_suite\ndef test_it(): pass")
    result = colours.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: no model given, *for example: pytest --model ViT-B-32@openai *"])


def test_a_test_of_ones_own_without_a_model_fails_and_spares_the_others(colours):
    colours.makepyfile(test_unit="def test_it(): pass")
    result = colours.runpytest()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*no model given*"])


def test_a_project_with_its_own_model_fixture_is_left_alone(colours):
    colours.makepyfile(
        test_suite="""
        import pytest
        @pytest.fixture
        def model(): return "mine"
        def test_it(model): assert model == "mine"
        """
    )
    colours.runpytest().assert_outcomes(passed=1)
    colours.runpytest(MODEL, "--clip-profile=profile.toml").assert_outcomes(passed=1)


def test_a_project_that_uses_none_of_it_sees_none_of_it(pytester):
    pytester.makepyfile("def test_it(): pass")
    result = pytester.runpytest("--strict-markers")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("clip-robust:*")
    result.stdout.no_fnmatch_line("*clip robustness*")


@pytest.mark.parametrize("arguments", [["--help"], ["test_unit.py"]])
def test_neither_help_nor_an_unrelated_test_imports_anything_heavy(pytester, arguments):
    pytester.makepyfile(test_unit="def test_it(): pass")
    script = (
        "import sys, pytest; code = pytest.main(sys.argv[1:]); "
        "heavy = {'torch', 'numpy', 'open_clip', 'datasets', 'pyarrow', 'rich'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    command = [sys.executable, "-c", script, "-p", "no:hypothesispytest", *arguments]
    done = subprocess.run(command, cwd=pytester.path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--clip-profile" in done.stdout or "1 passed" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model="], "*model spec*"),
        ([MODEL, "--clip-profile=nowhere.toml"], "*no profile 'nowhere.toml'*"),
        ([MODEL, "--clip-precision=fp8"], "*--clip-precision 'fp8': expected one of fp32, bf16, fp16"),
        ([MODEL, "--clip-batch-size=0"], "*--clip-batch-size 0: expected at least 1"),
        ([MODEL, "--clip-workers=two"], "*--clip-workers 'two': expected a whole number"),
        ([MODEL, "--clip-pixel-cache=4"], "*--clip-pixel-cache '4': expected a size such as 4GiB or 500MB, or off"),
        (
            [MODEL, "--clip-pixel-cache=much"],
            "*--clip-pixel-cache 'much': expected a size such as 4GiB or 500MB, or off",
        ),
        (
            [MODEL, "--clip-engine=rya"],
            "*--clip-engine 'rya' (did you mean 'ray'?): expected local, ray or ray://HOST:PORT",
        ),
        ([MODEL, "--clip-engine=ray://head"], "*--clip-engine 'ray://head'*: expected local, ray or ray://HOST:PORT"),
        ([MODEL, "--clip-data=photos"], "*photos*NAME=LOCATION*"),
    ],
)
def test_a_wrong_option_is_a_usage_error_of_one_line(colours, arguments, message):
    result = colours.runpytest(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_a_model_that_does_not_load_is_an_error_of_one_line_and_never_a_pass(colours):
    result = colours.runpytest("--model=py:colour_clip:load_broken", "--clip-profile=profile.toml")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*no weights today*", "error *test_top1*"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_an_image_that_cannot_be_read_is_an_error_that_names_it(colours):
    (colours.path / "photos" / "red" / "red_0.png").write_bytes(b"not an image")
    result = colours.runpytest(MODEL, "--clip-profile=profile.toml")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*photos*red_0.png*", "error *test_top1*"])


def test_a_bug_in_a_test_keeps_its_traceback_and_counts_as_an_error(colours):
    colours.makepyfile(test_suite="def test_it(model, gate): raise KeyError('oops')")
    result = colours.runpytest(MODEL, "--clip-profile=profile.toml")
    result.stdout.fnmatch_lines(["*KeyError*", "error *test_it*"])


def test_a_role_that_no_set_plays_is_skipped_with_the_way_to_fill_it(colours):
    colours.makepyfile(test_suite='import pytest\n@pytest.mark.clip_role("factors")\ndef test_it(model, dataset): pass')
    result = colours.runpytest(MODEL, "--clip-profile=profile.toml", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*no data set has the role 'factors' in profile 'colours'*role=factors*"])


def test_a_role_that_no_set_plays_has_one_line_of_its_own(colours):
    for name in ("test_one", "test_two"):
        colours.makepyfile(
            **{
                name: """
                import pytest

                @pytest.mark.clip_role("factors")
                def test_it(model, dataset): pass

                @pytest.mark.clip_role("factors")
                def test_another(model, dataset): pass
                """
            }
        )
    result = colours.runpytest(MODEL, "--clip-profile=profile.toml", "-rs")
    result.assert_outcomes(passed=1, skipped=4)
    (line,) = [line for line in result.outlines if "no data set has the role" in line]
    assert line.startswith("SKIPPED [4] .: no data set has the role 'factors'")


def test_where_no_tests_are_the_shipped_suites_are_named(pytester):
    pytester.mkdir("my photos")
    result = pytester.runpytest("--model", "showroom-clip", "--clip-data=photos=my photos")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    (line,) = [line for line in result.outlines if line.startswith("no tests are here.")]
    command = line.partition("pytest-clip-robust: ")[2]
    assert "suites --model showroom-clip '--clip-data=photos=my photos'" in command
    collected = pytester.run(sys.executable, "-m", *shlex.split(command), "--collect-only", "-q")
    assert collected.ret == 0
    collected.stdout.fnmatch_lines(["*tests collected*"])


def test_a_run_that_selects_nothing_is_not_told_about_suites(colours):
    result = colours.runpytest(MODEL, "--clip-profile=profile.toml", "-k", "nothing")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    assert "no tests are here" not in result.stdout.str()


def test_a_threshold_that_judges_nothing_is_named(colours):
    (colours.path / "profile.toml").write_text(
        (colours.path / "profile.toml").read_text().replace("zero_shot.top1", "zero_shot.top9")
    )
    result = colours.runpytest(MODEL, "--clip-profile=profile.toml")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["thresholds that match no measurement: zero_shot.top9*"])
    part = colours.runpytest(MODEL, "--clip-profile=profile.toml", "test_suite.py")
    part.stdout.no_fnmatch_line("thresholds that match no measurement*")


def test_a_threshold_can_stand_in_the_test_itself(colours):
    colours.makepyfile(
        test_suite="""
        from pytest_clip_robust.properties import accuracy
        def test_it(model, gate): gate(accuracy.top_k(model.zero_shot("photos"), k=1), at_most=0.5)
        """
    )
    result = colours.runpytest(MODEL, "--clip-profile=profile.toml")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*is above its threshold 0.5000", "*<= 0.5 (the test test_it*)"])


def test_data_of_the_command_line_needs_no_profile(colours):
    result = colours.runpytest(MODEL, "--clip-data=photos=photos")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*profile none*", "passed *zero_shot.top1[[]photos]*none*"])


def test_junit_has_every_number(colours):
    colours.runpytest(MODEL, "--clip-profile=profile.toml", "--junitxml=junit.xml")
    properties = {p.get("name"): p.get("value") for p in ET.parse(colours.path / "junit.xml").iter("property")}
    assert float(properties["clip_value"]) == 1.0
    assert properties["clip_verdict"] == "passed"
    assert int(properties["clip_n"]) == 12
    assert float(properties["clip_bound"]) == 0.9


def test_the_report_has_what_the_terminal_shows(colours):
    result = colours.runpytest(MODEL, "--clip-profile=profile.toml", "--clip-report=out")
    result.stdout.fnmatch_lines(["report: out/report.json, out/index.html, out/summary.md, out/results.parquet"])
    report = json.loads((colours.path / "out" / "report.json").read_text())
    (gate,) = report["gates"]
    assert (gate["verdict"], gate["value"], gate["n"]) == ("passed", 1.0, 12)
    assert gate["test"] == "test_suite.py::test_top1[py:colour_clip:load-photos]"
    assert report["encoded"] == {"images": 12, "texts": 3, "answers": 0}
    assert report["models"]["py:colour_clip:load"]["weights"]
    assert report["data"]["photos"]["images"] == 12
    assert {verdict: n for verdict, n in report["verdicts"].items() if n} == {"passed": 1}


def test_a_report_that_cannot_be_written_is_said_in_one_line(colours):
    (colours.path / "out").write_text("a file, not a folder")
    result = colours.runpytest(MODEL, "--clip-profile=profile.toml", "--clip-report=out")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["--clip-report *out: cannot write report.json*"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("interval=replace(found.interval, high=float('inf'))", "interval contains inf"),
        ("details={'k': float('nan')}", "details contains nan"),
        ("plot={'x': np.array([0, np.nan])}", "plot['x'] contains nan"),
    ],
)
def test_a_number_that_json_cannot_hold_fails_its_test_and_not_the_run(colours, change, message):
    colours.makepyfile(
        test_suite=f"""
        from dataclasses import replace
        import numpy as np
        from pytest_clip_robust.properties import accuracy

        def test_it(model, gate):
            found = accuracy.top_k(model.zero_shot("photos"), k=1)
            gate(replace(found, {change}))
        """
    )
    result = colours.runpytest(MODEL, "--clip-profile=profile.toml", "--clip-report=out", "--snapshot-update")
    result.assert_outcomes(failed=1)
    assert f"zero_shot.top1[photos]: {message}, which cannot be reported" in result.stdout.str()
    (gate,) = json.loads((colours.path / "out" / "report.json").read_text())["gates"]
    assert gate["verdict"] == "error"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('location = "dim"', 'location = "dimm"', "*data set 'dim': no file or folder *dimm"),
        ('location = "dim"', 'location = "dim"\nclasses = "classes.txt"', "*'dim': classes: no file *classes.txt*"),
        ('templates = ["a photo of a {}."]', 'file = "prompts.txt"', "*prompts.txt*"),
    ],
)
def test_a_path_of_the_profile_that_does_not_exist_is_found_before_anything_is_encoded(colours, old, new, message):
    profile = colours.path / "profile.toml"
    profile.write_text(profile.read_text().replace(old, new))
    result = colours.runpytest(MODEL, "--clip-profile=profile.toml")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])
    assert not (colours.path / "cache").exists()


def test_a_list_of_classes_is_relative_to_the_profile(colours, monkeypatch):
    folder = colours.path / "profiles"
    folder.mkdir()
    (folder / "classes.txt").write_text("blue\ngreen\nred\n")
    text = (colours.path / "profile.toml").read_text().replace('"photos"\n[data.dim]', '"../photos"\n[data.dim]')
    text = text.replace('location = "dim"', 'location = "../dim"')
    extra = '[data.photos]\nclasses = "classes.txt"\n'
    (folder / "profile.toml").write_text(text.replace("[data.photos]\n", extra))
    colours.runpytest(MODEL, "--clip-profile=profiles/profile.toml").assert_outcomes(passed=1)
