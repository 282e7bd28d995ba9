"""The suite of large multimodal models in whole runs: showroom-lmm on a few images, and a CLIP model alone."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet
import pytest

from pytest_clip_robust import showroom
from pytest_clip_robust.models.loading import load_unchecked
from pytest_clip_robust.models.spec import ModelSpec

SUITE = Path(__file__).resolve().parents[2] / "suites" / "test_multimodal.py"
PROFILE = """
name = "few"
[roles]
id = "showroom-id"
questions = "showroom-questions"
[multimodal]
images = 48
questions = 6
tokens = 8
"""


@pytest.fixture(scope="module", autouse=True)
def _imports_of_the_model():
    """Import what the model needs: runs inside of this process forget what they import."""
    load_unchecked(ModelSpec.parse("lmm:showroom-lmm"), device="cpu", precision="fp32")


@pytest.fixture
def run(pytester):
    """Return a function that runs the suite on a few images and returns the result and the report."""
    pytester.makefile(".toml", few=PROFILE)
    pytester.mkdir("own")

    def start(*arguments):
        result = pytester.runpytest(
            SUITE,
            "-p",
            "no:cacheprovider",
            "--clip-profile=few.toml",
            "--clip-cache=cache",
            "--clip-report=out",
            "--clip-baselines=own",
            *arguments,
        )
        return result, json.loads((pytester.path / "out" / "report.json").read_text())

    return start


def test_a_model_is_asked_once_and_compared_with_its_tower(run):
    result, report = run("--model=lmm:showroom-lmm")
    assert result.ret == 0
    assert not report["not_applicable"]
    gates = {f"{gate['metric']}/{gate['subset']}": gate for gate in report["gates"]}
    accuracy = gates["multimodal.accuracy_all_way_likelihood_sum/"]
    assert accuracy["n"] == 48
    assert accuracy["value"] > 0.3  # of 24 classes
    gain = gates["multimodal.gain_over_tower_all_way_likelihood_sum/"]
    assert gain["details"]["lmm"] == accuracy["value"]
    assert {"showroom-clip", "lmm:showroom-lmm"} == set(report["models"])
    assert report["encoded"]["answers"] == 48 + 2 * 48 + 4 * 6
    again, second = run("--model=lmm:showroom-lmm")
    assert again.ret == result.ret
    assert second["encoded"] == {"images": 0, "texts": 0, "answers": 0}
    assert [gate["value"] for gate in second["gates"]] == [gate["value"] for gate in report["gates"]]
    assert report["verdicts"]["error"] == 0


def test_a_clip_model_alone_is_not_applicable(run):
    result, report = run("--model=showroom-clip")
    assert not report["gates"]
    assert ["not a large multimodal model" in one["reason"] for one in report["not_applicable"]] == [True]
    assert result.parseoutcomes().get("failed", 0) == 0


BOTH = ("--model=showroom-clip", "--model=lmm:showroom-lmm")


def collected(pytester, *arguments):
    result = pytester.runpytest("-q", "--collect-only", "-p", "no:cacheprovider", *arguments)
    return [line for line in result.outlines if "::" in line]


def test_a_suite_collects_the_models_that_it_is_about(pytester):
    """Neither kind of model can be measured by the suites of the other; hundreds of skips would say nothing more."""
    of_clip, of_lmms = (
        collected(pytester, SUITE.with_name("test_zero_shot.py"), *BOTH),
        collected(pytester, SUITE, *BOTH),
    )
    assert of_clip
    assert of_lmms
    assert not [line for line in of_clip if "showroom-lmm" in line]
    assert not [line for line in of_lmms if "showroom-clip" in line]


def test_tests_of_a_project_collect_every_model(pytester):
    pytester.makepyfile("def test_it(model): pass")
    assert len(collected(pytester, *BOTH)) == 2


def test_a_model_that_no_test_is_about_is_named_and_fails_a_strict_run(pytester):
    line = "lmm:showroom-lmm: no gate judged it, as no test that ran is about such a model*"
    pytester.makefile(".toml", few='name = "few"\n[roles]\nid = "showroom-id"\n[data.showroom-id]\nimages = 24\n')
    pytester.mkdir("own")
    suite = SUITE.with_name("test_zero_shot.py")
    options = ("-p", "no:cacheprovider", "--clip-profile=few.toml", "--clip-baselines=own", "--clip-cache=cache")
    result = pytester.runpytest(suite, *options, *BOTH, "--snapshot-update")
    result.stdout.fnmatch_lines([line])
    assert result.ret == 0
    strict = pytester.runpytest(suite, *options, *BOTH, "--clip-strict")
    strict.stdout.fnmatch_lines([line])
    assert strict.ret == 1
    chosen = pytester.runpytest(suite, *options, *BOTH, "--clip-strict", "-ktop1")
    chosen.stdout.no_fnmatch_line(line)
    assert chosen.ret == 0


IMAGENET_D = """
name = "generated"
[roles]
questions = "generated"
[data.generated]
location = "ImageNet-D"
[multimodal]
tokens = 8
"""


def test_a_folder_of_imagenet_d_is_also_measured_by_its_published_protocol(pytester, run):
    rows = pyarrow.parquet.read_table(showroom.data_file("id"), columns=["image", "label"]).to_pylist()[::24]
    names = [row["label"] for row in rows]
    folder = pytester.path / "ImageNet-D"
    lines = ["image_dir\tgt_category\ttop1_pred_cate\ttop2_pred_cate"]
    for number, (row, other) in enumerate(zip(rows, [*names[1:], names[0]], strict=True)):
        file = folder / "texture" / row["label"].replace(" ", "_") / f"{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(row["image"]["bytes"])
        lines.append(f"{file.relative_to(folder)}\t{row['label']}\t{other}\tdog")
    (folder / "questions").mkdir()
    (folder / "questions" / "texture.csv").write_text("\n".join(lines) + "\n")
    pytester.makefile(".toml", few=IMAGENET_D)
    result, report = run("--model=lmm:showroom-lmm", "-q")
    gates = {gate["metric"]: gate for gate in report["gates"]}
    published = gates["multimodal.accuracy_imagenet_d_protocol"]
    in_orders = gates["multimodal.accuracy_pairwise_generated"]
    assert 0 < published["n"] <= len(rows)
    assert in_orders["n"] == len(rows)
    assert published["value"] >= in_orders["value"]  # it drops what is ambiguous
    assert result.parseoutcomes().get("failed", 0) == 0
