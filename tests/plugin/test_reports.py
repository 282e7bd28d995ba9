"""Files of a report, the summary of a step and annotations, from whole runs."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from pytest_clip_robust.config.profile import load_profile
from pytest_clip_robust.plugin.keys import RUN
from pytest_clip_robust.plugin.reports import read_pictures
from pytest_clip_robust.report.document import read_report
from pytest_clip_robust.report.html.pictures import Shot

MODEL, PROFILE = "--model=py:colour_clip:load", "--clip-profile=profile.toml"


@pytest.fixture
def failing(colours):
    """A run with a threshold that is not reached."""
    profile = colours.path / "profile.toml"
    profile.write_text(profile.read_text().replace("{ at_least = 0.9 }", "{ at_most = 0.5 }"))
    return colours


def test_a_report_has_a_page_and_a_summary_of_the_same_run(failing):
    result = failing.runpytest(MODEL, PROFILE, "--clip-report=out")
    result.stdout.fnmatch_lines(["report: out/report.json, out/index.html, out/summary.md, out/results.parquet"])
    folder = failing.path / "out"
    assert sorted(path.name for path in folder.iterdir()) == [
        "index.html",
        "report.json",
        "results.parquet",
        "summary.md",
    ]
    (conclusion,) = json.loads((folder / "report.json").read_text())["conclusions"]
    assert conclusion["verdict"] == "not ready"
    assert "Not ready</h1>" in (folder / "index.html").read_text()
    assert "**not ready**" in (folder / "summary.md").read_text().splitlines()[0]


def test_a_file_that_cannot_be_written_does_not_keep_the_others_from_being_written(colours):
    (colours.path / "out" / "index.html").mkdir(parents=True)
    result = colours.runpytest(MODEL, PROFILE, "--clip-report=out")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(
        ["report: out/report.json, out/summary.md, out/results.parquet", "--clip-report *cannot write index.html*"]
    )


def test_outside_of_github_nothing_is_for_github(failing):
    failing.runpytest(MODEL, PROFILE).stdout.no_fnmatch_line("::*")


def test_a_job_of_github_has_annotations_and_the_summary_of_its_step(failing, monkeypatch):
    step = failing.path / "step.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(step))
    result = failing.runpytest(MODEL, PROFILE)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["::error title=below threshold%3A zero_shot.top1[[]photos] (py%3A*)::1.000 *"])
    assert "**not ready**" in step.read_text()


def test_a_test_that_fails_without_a_gate_and_a_file_without_tests_are_annotated(failing, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    failing.makepyfile(
        test_other="""
        import pytest

        def test_wrong():
            raise ValueError("first line,\\nsecond: 50 %")

        @pytest.mark.xfail
        def test_expected():
            assert False
        """,
        test_broken="import no_such_module",
    )
    result = failing.runpytest(MODEL, PROFILE, "--continue-on-collection-errors")
    commands = [line for line in result.outlines if line.startswith("::")]
    assert len(commands) == 3
    result.stdout.fnmatch_lines(
        [
            "::error title=failed%3A test_broken.py::ModuleNotFoundError: No module named 'no_such_module'",
            "::error title=failed%3A test_other.py%3A%3Atest_wrong::ValueError: first line, second: 50 %25",
            "::error title=below threshold%3A zero_shot.top1[[]photos]*",
        ]
    )


def test_a_step_whose_summary_cannot_be_written_does_not_fail_a_run(colours, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(colours.path / "missing" / "step.md"))
    result = colours.runpytest(MODEL, PROFILE)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["GITHUB_STEP_SUMMARY: cannot write *step.md*"])


def test_the_page_shows_the_images_that_were_missed(failing):
    failing.runpytest("--model=py:colour_clip:load_forgetful", PROFILE, "--clip-report=out")
    page = (failing.path / "out" / "index.html").read_text()
    (gate,) = json.loads((failing.path / "out" / "report.json").read_text())["gates"]
    assert 0 < page.count('<symbol id="picture-') <= len(gate["misses"])
    assert page.count('<use href="#picture-') == len(gate["misses"])
    assert len(page) < 2_000_000


def test_a_process_that_has_read_no_data_reads_the_images_as_well(failing):
    failing.runpytest("--model=py:colour_clip:load_forgetful", PROFILE, "--clip-report=out")
    document = read_report(failing.path / "out" / "report.json")
    run = SimpleNamespace(profile=load_profile(str(failing.path / "profile.toml")), cache=str(failing.path / "cache"))
    pictures = read_pictures(SimpleNamespace(stash={RUN: run}), document)
    assert set(pictures) == {Shot("photos", miss["sample"]) for miss in document["gates"][0]["misses"]}


def test_images_that_cannot_be_read_any_more_do_not_fail_a_run(failing):
    failing.makeconftest(
        """
        import shutil
        import pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_sessionfinish():
            shutil.rmtree("photos")
        """
    )
    result = failing.runpytest("--model=py:colour_clip:load_forgetful", PROFILE, "--clip-report=out")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    page = (failing.path / "out" / "index.html").read_text()
    assert "confident miss" in page
    assert '<symbol id="picture-' not in page
