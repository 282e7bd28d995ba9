"""Shape bias, OOD detection, calibration and prompts, on the colour world."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SUITES = Path(__file__).resolve().parents[2] / "suites"
PAINT = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 210), "grey": (120, 120, 120)}

ROLES = """
name = "colours"
[roles]
id = "photos"
ood = ["greys", "whites"]
cue_conflict = "cues"
[data.photos]
location = "photos"
[data.greys]
location = "greys"
group = "near"
[data.whites]
location = "whites"
group = "near"
[data.cues]
location = "cues"
[prompts]
templates = ["a photo of a {}.", "the {}."]
compare = ["name", "simple-7"]
[ood]
negatives = "words.txt"
"""


def write(path, rgb, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.array(rgb) + np.random.default_rng(seed).normal(0, 25, (8, 8, 3))
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)


@pytest.fixture
def world(colours):
    """Many photographs, two OOD sets, and cue conflicts whose colour is that of the texture."""
    folder = colours.path
    for i, (name, rgb) in enumerate(PAINT.items()):
        for j in range(24):
            if name != "grey":
                write(folder / "photos" / name / f"{j}.png", rgb, 100 * i + j)
        other = list(PAINT)[(i + 1) % 3]
        if name != "grey":
            write(folder / "cues" / f"{name}1-{other}2.png", PAINT[other], 700 + i)
    for j in range(12):
        write(folder / "greys" / ("17" if j % 2 else "18") / f"{j}.png", PAINT["grey"], 900 + j)
        write(folder / "whites" / "Red" / f"{j}.png", (240, 240, 240), 950 + j)
    (folder / "words.txt").write_text("chair\ncloud\nreddish\nred\n")
    (folder / "roles.toml").write_text(ROLES)

    def run(*options):
        result = colours.runpytest(
            str(SUITES), "--model=py:colour_clip:load", "--clip-profile=roles.toml", "--clip-report=out", *options
        )
        return result, json.loads((folder / "out" / "report.json").read_text())

    return run


def values(report):
    return {gate["measurement"]: gate.get("value") for gate in report["gates"]}


def test_shape_bias_of_a_model_that_sees_colours_alone(world):
    result, report = world("-k", "test_shape_bias", "-rs")
    assert result.ret == 0
    assert values(report) == {
        "shape_bias.ratio_direct[cues]": 0,
        "shape_bias.class_average_direct[cues]": 0,
        "shape_bias.cue_coverage_direct[cues]": 1,
        "shape_bias.shape_accuracy_direct[cues]": 0,
        "shape_bias.texture_accuracy_direct[cues]": 1,
    }
    result.stdout.fnmatch_lines(
        [
            "*only the public 16 are groups of ImageNet's*",
            "*no observers of 'cues'; name tables of decisions in the profile's [[]observers]*",
        ],
        consecutive=False,
    )


def test_every_score_and_metric_of_ood_detection(world):
    result, report = world("-k", "test_ood_detection.py")
    assert result.ret == 0, result.stdout
    found = values(report)
    for score in ("mcm", "msp", "max_logit", "energy", "entropy", "neglabel", "knn10", "mahalanobis"):
        for metric in ("auroc", "fpr95_id", "fpr95_ood", "aupr_in", "aupr_out", "class_mean_auroc"):
            assert 0 <= found[f"ood.{metric}_{score}[greys]"] <= 1
        mean = (found[f"ood.auroc_{score}[greys]"] + found[f"ood.auroc_{score}[whites]"]) / 2
        assert found[f"ood.mean_auroc_{score}[near]"] == pytest.approx(mean)
        assert found[f"ood.mean_auroc_{score}[all]"] == pytest.approx(mean)
    assert found["ood.auroc_msp[greys]"] > 0.95
    gates = {gate["measurement"]: gate for gate in report["gates"]}
    assert gates["ood.auroc_msp[greys]"]["details"] == {"id_n": 84, "ood_n": 12}
    assert gates["ood.auroc_knn10[greys]"]["details"] == {"id_n": 42, "ood_n": 12, "fitted_on": 42}
    assert gates["ood.auroc_msp[greys]"]["plot"]["true_positive_rate"][-1] == 1
    assert gates["ood.auroc_msp[greys]"]["provenance"]["data"] != gates["ood.auroc_msp[whites]"]["provenance"]["data"]
    assert (
        gates["ood.auroc_msp[greys]"]["provenance"]["prompts"]
        != gates["ood.auroc_neglabel[greys]"]["provenance"]["prompts"]
    )


def test_ood_sets_need_no_names_that_make_prompts(world):
    """The classes of the greys are called 17 and 18, which no photo is of."""
    _, report = world("-k", "test_class_mean and greys and msp")
    assert set(values(report)) == {"ood.class_mean_auroc_msp[greys]", "ood.class_mean_fpr95_id_msp[greys]"}


def test_id_classes_in_an_ood_set_are_named(world):
    result, _ = world("-k", "test_detection and whites and msp-auroc")
    result.stdout.fnmatch_lines(["OOD set 'whites' has 1 classes of the ID set 'photos', *: Red"])


def test_a_class_of_one_image_that_a_score_is_not_fitted_on_is_named(world, colours):
    """Samples go to the halves in turns, class after class, so the class of one image is in one half only."""
    photos = colours.path / "photos"
    for unwanted in [*sorted((photos / "red").iterdir())[1:], min((photos / "blue").iterdir())]:
        unwanted.unlink()
    result, _ = world("-k", "test_detection and auroc and greys")
    result.stdout.fnmatch_lines(
        ["ID set 'photos': knn10 and mahalanobis are fitted *no image of 1 of 3 measured classes, such as 'red', *"]
    )


def test_groups_of_one_set_have_no_mean(world):
    result, _ = world("-k", "test_group_mean and far and msp", "-rs")
    result.stdout.fnmatch_lines(["*the group 'far' has fewer than two OOD sets, so it has no mean*"])


def test_calibration_before_and_after_one_temperature(world):
    result, report = world("-k", "test_calibration.py", "-rs")
    assert result.ret == 0, result.stdout
    gates = {gate["measurement"]: gate for gate in report["gates"]}
    before, after = (gates[f"calibration.nll{variant}[photos]"] for variant in ("", "_scaled"))
    assert before["details"]["temperature"] == 1
    assert after["details"]["temperature"] != 1
    assert (before["n"], after["n"]) == (84, 42)
    assert before["remark"].endswith(" % sure on average, 100.0 % right")
    assert gates["calibration.ece_15_equal_width[photos]"]["plot"]["n"]
    result.stdout.fnmatch_lines(["*was trained with a softmax: it states no pair probability*"])


SIGMOID = """
def load_sigmoid():
    model = ColourClip()
    model.bias, model.identity = -9.0, "colour-clip with a bias"
    return model
"""


def test_a_sigmoid_trained_model_states_pair_probabilities(world):
    with Path("colour_clip.py").open("a") as module:
        module.write(SIGMOID)
    result, report = world("--model=py:colour_clip:load_sigmoid", "-k", "test_calibration.py and photos and ece_15")
    assert result.ret == 0, result.stdout
    softmax, sigmoid = (
        {gate["measurement"]: gate for gate in report["gates"] if ("sigmoid" in gate["model"]) == biased}
        for biased in (False, True)
    )
    assert set(sigmoid) - set(softmax) == {
        f"calibration.{name}_sigmoid[photos]" for name in ("ece_15_equal_width", "ece_15_equal_mass")
    }
    # A bias is the same for all classes, so it cancels in a softmax, and only there.
    plain = "calibration.ece_15_equal_width[photos]"
    assert sigmoid[plain]["value"] == pytest.approx(softmax[plain]["value"], abs=1e-6)
    assert sigmoid[plain]["details"]["mean_confidence"] > 0.9
    pairs = sigmoid["calibration.ece_15_equal_width_sigmoid[photos]"]["details"]
    assert pairs["mean_confidence"] < 1 / (1 + np.exp(9 - 10))


def test_an_empty_ood_set_is_one_line(world):
    for path in sorted(Path("greys").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    result, report = world("-k", "test_detection and greys and msp-auroc")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    (gate,) = report["gates"]
    assert gate["verdict"] == "error"
    result.stdout.fnmatch_lines(["*'greys'* no images*"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_a_profile_may_leave_scores_out(world):
    profile = Path("roles.toml")
    profile.write_text(profile.read_text().replace("[ood]", '[ood]\nscores = ["mcm", "energy"]'))
    result, report = world("-k", "test_ood_detection.py", "-rs")
    assert result.ret == 0, result.stdout
    assert {gate["metric"].rpartition("_")[2] for gate in report["gates"]} == {"mcm", "energy"}
    result.stdout.fnmatch_lines(["*'mahalanobis' is not in ood.scores of the profile*"])


def test_a_failure_says_in_words_how_sure_and_how_right(world):
    with Path("roles.toml").open("a") as profile:
        profile.write('[thresholds]\n"calibration.ece_15_equal_width" = { at_most = 1e-9 }\n')
    result, _ = world("-k", "test_as_it_is and ece_15_equal_width")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["  remark      *: * % sure on average, 100.0 % right"])


def test_prompts_are_compared_on_the_same_images(world):
    result, report = world("-k", "test_prompts.py")
    assert result.ret == 0, result.stdout
    gates = {gate["measurement"]: gate for gate in report["gates"]}
    assert gates["prompts.agreement[photos]"]["value"] == 1
    assert gates["prompts.agreement[photos]"]["details"]["templates"] == 2
    assert gates["prompts.spread_top1[photos]"]["details"] == {"name": 1, "simple-7": 1}
    assert gates["prompts.fewer_templates_top1[photos]"]["remark"] == "name (1) minus simple-7 (7)"
    assert {"prompts.spread_auroc_mcm[greys]", "prompts.fewer_templates_ece_15_equal_width[photos]"} <= set(gates)


def test_nothing_to_compare_is_skipped_with_the_reason(world):
    profile = Path("roles.toml")
    profile.write_text(profile.read_text().replace('compare = ["name", "simple-7"]\n', ""))
    result, _ = world("-k", "test_prompts.py", "-rs")
    result.stdout.fnmatch_lines(["*nothing to compare: name prompt sets in the profile's prompts.compare*"])


def test_all_of_it_encodes_every_image_and_text_once(world):
    _, report = world()
    assert report["encoded"]["images"] == 84 + 24 + 3
    second, again = world()
    assert again["encoded"] == {"images": 0, "texts": 0, "answers": 0}
    assert values(again) == values(report)
    second.stdout.no_fnmatch_line("*Traceback*")


def test_observers_are_matched_to_the_set(colours):
    header = "object_response,category,imagename\n"
    for i, (shape, texture) in enumerate([("cat", "car"), ("car", "cat"), ("dog", "car"), ("cat", "dog")]):
        write(colours.path / "cues" / f"{shape}{i}-{texture}1.png", PAINT["red"], i)
    (colours.path / "people_1.csv").write_text(header + "cat,cat,cat0-car1.png\nna,dog,0007_x_dog_dog2-car1.png\n")
    (colours.path / "roles.toml").write_text(
        '[roles]\ncue_conflict = "cues"\n[data.cues]\nlocation = "cues"\n[observers]\ncues = "people_*.csv"\n'
    )
    colours.makepyfile(
        test_suite="""
        import pytest
        from pytest_clip_robust.properties.shape_bias import CueAnswers

        @pytest.mark.clip_role("cue_conflict")
        def test_it(model, dataset, observers):
            (one,) = observers
            assert isinstance(one, CueAnswers)
            assert list(one.samples) == ["cat0-car1", "dog2-car1"]
            assert one.answers.tolist() == [7, -1]
            assert len(model.shape_bias.answers(dataset).answers) == 4
        """
    )
    colours.runpytest("--model=py:colour_clip:load", "--clip-profile=roles.toml").assert_outcomes(passed=1)


IMAGENET_CLIP = """
from colour_clip import ColourClip


class OneNameClip(ColourClip):
    # Every image is red, and so is one of ImageNet's classes.
    def __init__(self, red):
        self.red, self.identity = red, f"one name: {red}"

    def _colour(self, text):
        return (1, 0, 0) if text == self.red else (0.1, 1, len(text) / 100)


def beagle():
    return OneNameClip("Beagle")


def rotisserie():
    return OneNameClip("rotisserie")
"""


def test_imagenets_classes_answer_for_any_of_the_sixteen(colours):
    """The set's classes are some of the 16, in an order of their own."""
    for i, (shape, texture) in enumerate([("cat", "car"), ("car", "cat"), ("dog", "car")]):
        write(colours.path / "cues" / f"{shape}{i}-{texture}1.png", PAINT["red"], i)
    (colours.path / "classes.txt").write_text("dog\ncat\ncar\n")
    (colours.path / "roles.toml").write_text(
        '[roles]\ncue_conflict = "cues"\n[data.cues]\nlocation = "cues"\nclasses = "classes.txt"\n'
        '[prompts]\nset = "name"\n'
    )
    colours.makepyfile(
        imagenet_clip=IMAGENET_CLIP,
        test_suite="""
        import pytest
        from pytest_clip_robust.errors import ConfigError

        @pytest.mark.clip_role("cue_conflict")
        def test_it(model, dataset):
            for how in ("mean", "sum", "max"):
                found = model.shape_bias.answers(dataset, decision=f"imagenet_{how}")
                assert found.class_names == ("dog", "cat", "car")
                assert found.decision == f"imagenet_{how}"
                assert found.choices == 16
                assert set(found.answers.tolist()) == {0 if "beagle" in model.spec.label else -1}, how
            with pytest.raises(ConfigError, match="no cue decision 'imagenet_men' .did you mean 'imagenet_mean'"):
                model.shape_bias.answers(dataset, decision="imagenet_men")
        """,
    )
    models = ("--model=py:imagenet_clip:beagle", "--model=py:imagenet_clip:rotisserie")
    colours.runpytest(*models, "--clip-profile=roles.toml").assert_outcomes(passed=2)
