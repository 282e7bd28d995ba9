from __future__ import annotations

import pytest

from pytest_clip_robust.config.profile import load_profile
from pytest_clip_robust.config.shipped import shipped_profiles
from pytest_clip_robust.errors import ConfigError


@pytest.fixture
def write(tmp_path):
    def make(text):
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return str(path)

    return make


def test_a_profile_says_roles_data_prompts_and_thresholds(write, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "panel.csv").touch()
    profile = load_profile(
        write(
            """
            name = "release"
            [roles]
            id = "photos"
            shift = ["dark", "imagenet-r"]
            [data.photos]
            location = "photos"
            [data.dark]
            location = "/data/dark"
            crop_border = 2
            [prompts]
            templates = ["a {}."]
            [thresholds]
            "zero_shot.top1[photos]" = { at_least = 0.5, at_most = 0.9 }
            [panels]
            dark = "panel.csv"
            """
        )
    )
    assert profile.name == "release"
    assert profile.sets("shift") == ("dark", "imagenet-r")
    assert profile.sets("factors") == ()
    assert profile.data["photos"].location == str(tmp_path / "photos")
    assert profile.data["dark"].crop_border == 2
    assert profile.data["imagenet-r"].classes == "imagenet-r"
    assert profile.prompts == ("a {}.",)
    assert str(profile.thresholds["zero_shot.top1[photos]"]) == ">= 0.5 and <= 0.9"
    assert profile.panels["dark"] == tmp_path / "panel.csv"


def test_a_set_of_the_command_line_takes_the_free_role():
    profile = load_profile(None, ["a=/a", "b=/b", "c=/c?role=factors", "imagenet-r=/r"])
    assert profile.roles == {"id": ("a",), "shift": ("b", "imagenet-r"), "factors": ("c",)}
    assert profile.data["imagenet-r"].location == "/r"
    assert profile.data["imagenet-r"].classes == "imagenet-r"


def test_the_command_line_moves_a_set_without_changing_its_role(write):
    path = write('[roles]\nshift = ["dark"]\n[data.dark]\nlocation = "/old"\nlicence = "CC0"\n')
    profile = load_profile(path, ["dark=/new"])
    assert profile.roles == {"shift": ("dark",)}
    assert (profile.data["dark"].location, profile.data["dark"].licence) == ("/new", "CC0")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[roles", "Expected"),
        ("[role]", r"unknown section 'role' \(did you mean 'roles'"),
        ("roles = 3", r"\[roles\] is 3; expected a table"),
        ('[roles]\nshifts = ["a"]', r"unknown role 'shifts' \(did you mean 'shift'"),
        ("[roles]\nid = 3", "role id=3; expected a string, or a list of strings"),
        ('[roles]\nid = ["imagenet-1k", "imagenet-r"]', "a run has one in-distribution set"),
        ('[roles]\nid = "imagenet1k"', r"no data set 'imagenet1k' \(did you mean 'imagenet-1k'"),
        ("[data]\nphotos = 3", "data set 'photos' is 3; expected a table"),
        ('[data.photos]\nlocaton = "x"', "unknown key 'locaton'"),
        ('[prompts]\nset = "a"\nfile = "b"', "set and file are given; give one of set, file, templates"),
        ("[prompts]\nset = 3", "prompts.set=3; expected a string"),
        ("[prompts]\ntemplates = []", "templates is empty; give at least one"),
        ("[thresholds]\nx = 0.5", "profile mine.toml: threshold 'x' is 0.5; expected a table"),
        ("[thresholds]\nx = { at_lest = 0.5 }", r"unknown key 'at_lest' \(did you mean 'at_least'"),
        ("[thresholds]\nx = { at_least = true }", "threshold 'x'.at_least=True; expected a number"),
        ("[thresholds]\nx = { }", "a threshold needs a bound"),
        ("[thresholds]\nx = { at_least = 2, at_most = 1 }", "at_least=2.0 is above at_most=1.0, so no value passes"),
        ('[panels]\ndark = "none.csv"', "panel of 'dark': no file"),
    ],
)
def test_what_is_wrong_with_a_profile_is_one_line(write, text, message):
    with pytest.raises(ConfigError, match=message) as error:
        load_profile(write(text))
    assert "\n" not in str(error.value)


def test_a_profile_that_is_not_there_names_those_that_are():
    with pytest.raises(ConfigError, match=r"no profile 'imagnet' \(did you mean 'imagenet'.*\?\): .* imagenet"):
        load_profile("imagnet")


@pytest.mark.parametrize("name", sorted(shipped_profiles()))
def test_every_shipped_profile_is_sound(name):
    profile = load_profile(name)
    assert profile.sets("id")
    assert all(set_name in profile.data for names in profile.roles.values() for set_name in names)


def test_an_unknown_role_is_named():
    with pytest.raises(ConfigError, match=r"unknown role 'shifts'"):
        load_profile(None).sets("shifts")


def test_a_profile_names_prompts_to_compare_observers_and_negatives(write, tmp_path):
    (tmp_path / "mine.txt").write_text("a {}\n")
    (tmp_path / "words.txt").write_text("cloud\n")
    profile = load_profile(
        write(
            """
            [prompts]
            set = "photo"
            compare = ["name", "mine.txt"]
            [observers]
            cues = "people/*.csv"
            more = ["a.csv", "b.csv"]
            [ood]
            negatives = "words.txt"
            scores = ["mcm", "energy"]
            """
        )
    )
    assert profile.prompts == "photo"
    assert profile.compared_prompts == ("name", str(tmp_path / "mine.txt"))
    assert profile.observers["cues"] == (str(tmp_path / "people" / "*.csv"),)
    assert profile.observers["more"] == (str(tmp_path / "a.csv"), str(tmp_path / "b.csv"))
    assert profile.negatives == str(tmp_path / "words.txt")
    assert profile.ood_scores == ("mcm", "energy")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[prompts]\ncompare = [1]", r"prompts\.compare\[0\]=1; expected a string"),
        ("[observers]\ncues = 3", r"observers\.cues=3; expected a string"),
        ("[ood]\nnegative = 'x'", r"ood: unknown key 'negative' \(did you mean 'negatives'"),
        (
            "[ood]\nscores = ['mcm', 'mahalanobs']",
            r"ood\.scores\[1\]='mahalanobs'; expected one of .*did you mean 'mahalanobis'",
        ),
        ("[ood]\nscores = 1", r"ood\.scores=1; expected a list"),
        ("[ood]\nnegatives = 3", r"ood\.negatives=3; expected a string"),
        ("[prompts]\nset = 'a'\nfile = 'b'", "give one of set, file, templates"),
    ],
)
def test_a_wrong_comparison_observer_or_corpus_is_one_line(write, text, message):
    with pytest.raises(ConfigError, match=message):
        load_profile(write(text))


def test_comparing_without_a_main_set_keeps_the_default(write):
    profile = load_profile(write('[prompts]\ncompare = ["name", "photo"]'))
    assert profile.prompts == "simple-7"


def test_a_set_of_the_catalogue_takes_the_role_that_it_has_there():
    profile = load_profile(None, ["sugarcrepe=/data/coco?table=/data/sugarcrepe", "photos=/data/photos"])
    assert profile.sets("composition") == ("sugarcrepe",)
    assert profile.sets("id") == ("photos",)
    assert load_profile(None, ["sugarcrepe=/data/coco?role=transfer"]).sets("composition") == ()


def test_a_listing_lies_in_the_folder_of_the_images_or_else_beside_the_profile(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "captions.json").touch()
    profile = tmp_path / "p.toml"
    profile.write_text('[data.photos]\nlocation = "photos"\ntable = "captions.json"\n')
    assert load_profile(str(profile)).data["photos"].table == str(tmp_path / "captions.json")
    (tmp_path / "photos" / "captions.json").touch()
    assert load_profile(str(profile)).data["photos"].table == "captions.json"
