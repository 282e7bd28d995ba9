"""``pytest --clip-data-check``: a table of the profile's data sets, an exit code, and no model or tests."""

from __future__ import annotations

import json

import pytest

import pytest_clip_robust.evaluation.data_check
import pytest_clip_robust.plugin.data_check
import pytest_clip_robust.report.data_checks  # noqa: F401 - runs inside of this process forget what they import
from pytest_clip_robust.config.profile import load_profile
from pytest_clip_robust.config.shipped import shipped_profiles

CHECK = ("--clip-data-check", "--clip-profile=profile.toml")


@pytest.fixture
def profile(colours):
    """Return a function that replaces the profile of the colour world."""

    def write(roles, data=""):
        (colours.path / "profile.toml").write_text(f'name = "p"\n[roles]\n{roles}\n{data}')
        return colours

    return write


def test_what_is_there_is_counted_and_the_exit_code_is_0(colours):
    result = colours.runpytest(*CHECK)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        [
            "*= clip data check of profile colours =*",
            "data  role  set    found",
            "there id    photos 12 images, 3 classes",
            "there shift dim    12 images, 3 classes",
            "*= 2 there =*",
        ]
    )


def test_what_is_missing_is_named_with_where_to_get_it_and_the_exit_code_is_1(profile):
    world = profile(
        'id = "photos"\nfactors = "imagenet-x"\nood = "ninco"\ntransfer = "gone"',
        '[data.photos]\nlocation = "photos"\n[data.gone]\nlocation = "/nowhere/gone"',
    )
    result = world.runpytest(*CHECK)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "there   id       photos     12 images, 3 classes",
            "missing factors  imagenet-x no location",
            "missing ood      ninco      no location",
            "missing transfer gone       no file or folder /nowhere/gone",
            "missing imagenet-x: annotations from github.com/facebookresearch/imagenetx *",
            "missing ninco: NINCO_all.tar.gz from zenodo.org/records/8013288; give its folder NINCO_OOD_classes; *",
            "missing gone: name it with --clip-data gone=/path",
            "*= 3 missing, 1 there =*",
        ],
        consecutive=False,
    )


def test_an_ordinary_run_says_where_to_get_a_missing_set(profile):
    world = profile('id = "photos"\nood = "ninco"', '[data.photos]\nlocation = "photos"')
    result = world.runpytest("--model=py:colour_clip:load", "--clip-profile=profile.toml")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*'ninco' has no location; give one with *; get it: NINCO_all.tar.gz from *--clip-data-check lists all *"]
    )


def test_labels_and_annotations_that_do_not_fit_are_damage(profile):
    world = profile(
        'id = "photos"\nfactors = "plain"\nshift = "other"',
        '[data.photos]\nlocation = "photos"\n[data.plain]\nlocation = "dim"\n'
        '[data.other]\nlocation = "dim"\nclasses = ["red", "green"]\n',
    )
    result = world.runpytest(*CHECK)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "there   id      photos 12 images, 3 classes",
            "damaged factors plain  no image has annotations of visual factors; name them with ?annotations=FILE, or *",
            "damaged shift   other  image 'blue/blue_0.png': class 'blue' is not among the 2 of data set 'other'*",
            "*= 2 damaged, 1 there =*",
        ],
        consecutive=False,
    )


def test_a_copy_of_another_size_than_the_published_set_is_a_warning(profile):
    world = profile('id = "photos"', '[data.photos]\nlocation = "photos"\nsize = 50000')
    result = world.runpytest(*CHECK)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["differs id   photos 12 images, 3 classes; the published set has 50,000 images"])


def test_classes_without_images_are_counted(profile):
    world = profile('id = "photos"', '[data.photos]\nlocation = "photos"\nclasses = ["red", "green", "blue", "grey"]')
    world.runpytest(*CHECK).stdout.fnmatch_lines(["there id   photos 12 images, 4 classes of which 3 have images"])


def test_every_role_is_looked_at_with_its_own_reader(colours):
    result = colours.runpytest("--clip-data-check", "--clip-profile=showroom")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        [
            "there id, corruptions, typographic, invariance showroom-id *384 images, 24 classes",
            "there factors *showroom-factors *1,224 images, 24 classes, 16 factors",
            "there captions, composition *showroom-captions *120 images, 592 captions; 120 images, 503 captions",
            "there views *showroom-views *144 views, 504 pairs",
            "there keypoints *showroom-keypoints *72 images, 324 pairs",
            "there questions *showroom-questions *629 images, 629 questions",
        ],
        consecutive=False,
    )


def test_corrupted_folders_are_listed_by_kind(profile):
    world = profile('corrupted = "c"', '[data.c]\nlocation = "c"')
    for folder in ("fog_3d/1", "fog_3d/2"):
        (world.path / "c" / folder / "red").mkdir(parents=True)
    result = world.runpytest(*CHECK)
    result.stdout.fnmatch_lines(["there corrupted c   1 kinds, 1 of them without all severities, such as fog_3d"])


def test_the_hub_is_not_asked(profile):
    world = profile('id = "imagenet-1k"')
    result = world.runpytest(*CHECK)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        ["on the hub id   imagenet-1k clip-benchmark/wds_imagenet1k, read from there when it is *"]
    )


def test_a_local_copy_replaces_that_of_the_hub(profile):
    world = profile('id = "imagenet-1k"')
    (world.path / "val" / "n01440764").mkdir(parents=True)
    (world.path / "photos" / "red" / "red_0.png").rename(world.path / "val" / "n01440764" / "a.JPEG")
    result = world.runpytest(*CHECK, "--clip-data=imagenet-1k=val")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        ["differs id   imagenet-1k 1 images, 1,000 classes of which 1 have images; the published set has 50,000 images"]
    )


def test_a_set_of_hard_pairs_that_lacks_images_differs(profile):
    world = profile('composition = "whatsup-a"', '[data.whatsup-a]\nlocation = "photos"\ntable = "a.json"')
    for name in ("red_0.png", "green_0.png"):
        (world.path / "photos" / name.split("_")[0] / name).rename(world.path / "photos" / name)
    entries = [{"image_path": f"data/x/{name}_0.png", "caption_options": [name, "grey"]} for name in ("red", "green")]
    (world.path / "photos" / "a.json").write_text(json.dumps(entries))
    world.runpytest(*CHECK).stdout.fnmatch_lines(
        ["differs composition whatsup-a 2 images, 3 captions; the published set has 412 images"]
    )


def test_without_a_set_in_a_role_there_is_nothing_to_check(profile):
    result = profile("").runpytest(*CHECK)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--clip-data-check: no data set has a role in profile 'p'*"])


def test_a_wrong_profile_is_a_usage_error(colours):
    result = colours.runpytest("--clip-data-check", "--clip-profile=imagenet-studi")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*no profile 'imagenet-studi' (did you mean 'imagenet-study'*"])


def test_the_profile_of_the_study_has_every_aspect():
    profile = load_profile("imagenet-study")
    assert {role: len(names) for role, names in profile.roles.items()} == {
        "id": 1,
        "shift": 4,
        "transfer": 1,
        "factors": 1,
        "cue_conflict": 1,
        "ood": 8,
        "corrupted": 2,
        "captions": 2,
        "composition": 4,
        "views": 2,
        "keypoints": 1,
        "questions": 1,
    }
    assert {"imagenet", "imagenet-study"} <= set(shipped_profiles())
    # A role in the profile that differs from the catalogue's would be a slip.
    assert all(profile.data[name].role == role for role, names in profile.roles.items() for name in names)
