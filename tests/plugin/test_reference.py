"""A reference model: measured in every test, on the same data, in the same run."""

from __future__ import annotations

import json

import pytest

MODEL = "--model=py:colour_clip:load_forgetful"
REFERENCE = "--clip-reference=py:colour_clip:load"
PROFILE = "--clip-profile=profile.toml"


def test_a_model_is_held_against_its_reference(crowd):
    result = crowd.runpytest(MODEL, REFERENCE, PROFILE, "--clip-report=out")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "clip-robust: py:colour_clip:load_forgetful against py:colour_clip:load | *",
            "zero_shot.top1[[]photos] = 0.* is worse than 1.0000 of reference py:colour_clip:load",
            "  difference  -0.*(95% Bonett-Price)",
            "regressed *",
        ]
    )
    report = json.loads((crowd.path / "out" / "report.json").read_text())
    assert report["reference"] == "py:colour_clip:load"
    assert {gate["model"] for gate in report["gates"]} == {"py:colour_clip:load_forgetful"}
    assert {gate["change"]["model"] for gate in report["gates"]} == {"py:colour_clip:load"}


def test_the_other_way_round_it_is_an_improvement(crowd):
    result = crowd.runpytest(
        "--model=py:colour_clip:load", "--clip-reference=py:colour_clip:load_forgetful", PROFILE, "-k", "top1 or 1"
    )
    result.stdout.fnmatch_lines(["improved *zero_shot.top1*"])
    assert result.ret == 0


def test_the_reference_is_not_reported_as_a_test(crowd):
    result = crowd.runpytest("--model=py:colour_clip:load", REFERENCE, PROFILE, "-v")
    result.assert_outcomes(passed=4)
    result.stdout.no_fnmatch_line("*for the reference*")


def test_images_are_encoded_once_for_each_of_both(crowd):
    result = crowd.runpytest(MODEL, REFERENCE, PROFILE)
    result.stdout.fnmatch_lines(["encoded 264 images and 6 texts; *"])
    crowd.runpytest(MODEL, REFERENCE, PROFILE).stdout.fnmatch_lines(["encoded 0 images and 0 texts; *"])


def test_a_reference_that_does_not_load_is_an_error_of_every_gate(crowd):
    result = crowd.runpytest("--model=py:colour_clip:load", "--clip-reference=py:colour_clip:load_broken", PROFILE)
    result.assert_outcomes(failed=4)
    result.stdout.fnmatch_lines(["*the reference could not be measured: *no weights today*", "error *"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_a_reference_that_is_not_a_model_spec_is_a_usage_error(crowd):
    result = crowd.runpytest(MODEL, "--clip-reference=no:such", PROFILE)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*model spec 'no:such': unknown prefix 'no'*"])


def test_fixtures_between_model_and_test_are_those_of_the_reference(crowd):
    crowd.makepyfile(
        test_suite="""
        import pytest
        from pytest_clip_robust.properties import accuracy

        @pytest.fixture
        def predictions(model):
            return model.zero_shot("photos")

        @pytest.fixture(params=[1, 2])
        def k(request):
            return request.param

        class TestOurs:
            def test_it(self, predictions, k, gate):
                gate(accuracy.top_k(predictions, k=k))
        """
    )
    result = crowd.runpytest(MODEL, REFERENCE, PROFILE)
    result.stdout.fnmatch_lines(["regressed *zero_shot.top1[[]photos] *1.0000 *"])


def test_a_test_that_skips_for_the_reference_alone_is_said(crowd):
    crowd.makepyfile(
        test_suite="""
        import pytest
        from pytest_clip_robust.properties import accuracy

        def test_it(model, gate):
            if "forgetful" not in str(model.spec):
                pytest.skip("not for this one")
            gate(accuracy.top_k(model.zero_shot("photos"), k=1))
        """
    )
    result = crowd.runpytest(MODEL, REFERENCE, PROFILE)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*the reference could not be measured: its run of this test did not measure zero_shot.top1*"]
    )


def test_tests_without_a_model_have_no_reference_item(crowd):
    crowd.makepyfile(test_suite="count = []\ndef test_it():\n    count.append(1)\n    assert count == [1]\n")
    crowd.runpytest(MODEL, REFERENCE, PROFILE).assert_outcomes(passed=1)


def test_workers_measure_the_reference_where_the_test_runs(crowd, run_apart):
    plain = crowd.runpytest(MODEL, REFERENCE, PROFILE, "--clip-report=plain")
    spread = run_apart(MODEL, REFERENCE, PROFILE, "--clip-report=spread", "-n", "1")
    assert plain.ret == spread.ret == pytest.ExitCode.TESTS_FAILED
    gates = [json.loads((crowd.path / run / "report.json").read_text())["gates"] for run in ("plain", "spread")]
    assert gates[0] == gates[1]


def test_baselines_are_recorded_beside_a_reference(crowd):
    result = crowd.runpytest("--model=py:colour_clip:load", REFERENCE, PROFILE, "--snapshot-update")
    result.assert_outcomes(passed=4)
    assert (crowd.path / "baselines" / "colour_clip.load" / "test_suite.json").is_file()
