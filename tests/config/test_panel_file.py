"""Panel files: models, relations and stated facts, with a one-line error for everything that is wrong."""

from __future__ import annotations

import pytest

from pytest_clip_robust.config.panel import panel_path, read_panel_file
from pytest_clip_robust.errors import ClipRobustError


def panel(tmp_path, text):
    path = tmp_path / "panel.toml"
    path.write_text(text)
    return path


def models(*entries):
    return "".join(f"[[models]]\n{entry}\n" for entry in entries)


def test_models_keep_their_order_relations_and_facts(tmp_path):
    text = models(
        'spec = "ViT-B-32@openai"\nreference = true',
        'spec = "ViT-B-32@runs/ft.pt"\nparent = "ViT-B-32@openai"\n[models.factors]\nsamples_seen = 34e9',
    )
    found = read_panel_file(panel(tmp_path, text))
    first, second = found.models
    assert [str(one) for one in found.specs] == ["ViT-B-32@openai", "ViT-B-32@runs/ft.pt"]
    assert (first.reference, second.reference, first.parent, second.parent) == (True, False, None, first.spec)
    assert (first.facts, second.facts) == ({}, {"samples_seen": 34e9})
    assert found.about("ViT-B-32@runs/ft.pt") is second
    assert found.about("RN50") is None


def groups(tmp_path, *entries):
    return [one.group for one in read_panel_file(panel(tmp_path, models(*entries))).models]


def test_relatives_share_the_group_of_the_first_one(tmp_path):
    found = groups(
        tmp_path,
        'spec = "ViT-B-32@a"',
        'spec = "RN50@a"',
        'spec = "ViT-B-32@b"\nparent = "ViT-B-32@a"',
        'spec = "interpolate:ViT-B-32@a,ViT-B-32@b?alpha=0.5"',
        'spec = "RN50@a+adapter:lora"',
        'spec = "RN101@a"',
    )
    assert found == ["ViT-B-32@a", "RN50@a", "ViT-B-32@a", "ViT-B-32@a", "RN50@a", "RN101@a"]


def test_an_interpolation_without_its_ends_in_the_panel_is_a_group_of_its_own(tmp_path):
    spec = "interpolate:ViT-B-32@a,ViT-B-32@b?alpha=0.5"
    assert groups(tmp_path, f'spec = "{spec}"', 'spec = "RN50@a"') == [spec, "RN50@a"]


def test_a_stated_group_joins_families_and_names_them(tmp_path):
    found = groups(
        tmp_path,
        'spec = "ViT-B-32@a"',
        'spec = "ViT-B-32@b"\nparent = "ViT-B-32@a"\ngroup = "twins"',
        'spec = "RN50@a"\ngroup = "twins"',
    )
    assert found == ["twins", "twins", "twins"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x", "expected TOML"),
        ("", r"has no list of models; write \[\[models\]\]"),
        ("models = []", r"has no list of models; write \[\[models\]\]"),
        ("[[model]]\n", r"has no list of models \(did you mean 'model'\?\)"),
        ("models = 3", "has no list of models"),
        ('name = "x"\n[[models]]\nspec = "a"', "unknown key 'name'; a panel file has"),
        ('profil = "x"\n[[models]]\nspec = "a"', r"unknown key 'profil' \(did you mean 'profile'\?\)"),
        ('profile = 3\n[[models]]\nspec = "a"', "profile=3; expected a string"),
        ("[[models]]\n", r"models\[0\]\.spec=None; expected a model spec"),
        ("[[models]]\nspec = 3", r"models\[0\]\.spec=3; expected a string"),
        ('[[models]]\nspec = "a:b"', r"models\[0\]\.spec: model spec 'a:b': unknown prefix 'a'"),
        ('[[models]]\nspec = "a"\nspecs = "b"', r"models\[0\]: unknown key 'specs' \(did you mean 'spec'\?\)"),
        ('[[models]]\nspec = "a@openai"\n[models.factor]\n', r"unknown key 'factor'; did you mean 'factors'\?"),
        ('[[models]]\nspec = "a"\n[[models]]\nspec = "a"\n', r"models\[1\]: 'a' occurs twice"),
        ('[[models]]\nspec = "a"\nparent = "a"', r"models\[0\]\.parent='a' is the model itself"),
        (
            '[[models]]\nspec = "RN50@openai"\n[[models]]\nspec = "a"\nparent = "RN50@opena"',
            r"models\[1\]\.parent='RN50@opena' is not a model of the panel \(did you mean 'RN50@openai'\?\)",
        ),
        (
            '[[models]]\nspec = "a"\nparent = "b"\n[[models]]\nspec = "b"\nparent = "a"',
            "is an ancestor of itself; correct the parents",
        ),
        ('[[models]]\nspec = "a"\nreference = "yes"', r"models\[0\]\.reference='yes'; expected true or false"),
        ('[[models]]\nspec = "a"\nfactors = 3\n', r"models\[0\]\.factors is 3; expected a table"),
        (
            '[[models]]\nspec = "a"\n[models.factors]\nlos = "softmax"',
            r"factors: unknown key 'los' \(did you mean 'loss'",
        ),
        ('[[models]]\nspec = "a"\n[models.factors]\npairs = -3', r"factors\.pairs=-3; expected 1 or more"),
        ('[[models]]\nspec = "a"\n[models.factors]\npairs = "3"', r"factors\.pairs='3'; expected a number"),
        ('[[models]]\nspec = "a"\n[models.factors]\nresolution = 2.5', "resolution=2.5; expected a whole number"),
        ('[[models]]\nspec = "a"\n[models.factors]\nfine_tuning = "zeroshot"', r"did you mean 'zero-shot'"),
    ],
)
def test_a_wrong_panel_file_is_one_line(tmp_path, text, message):
    with pytest.raises(ClipRobustError, match=message) as error:
        read_panel_file(panel(tmp_path, text))
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("panel ")


def test_a_profile_is_a_shipped_name_or_a_path_relative_to_the_panel(tmp_path):
    def named(text):
        return read_panel_file(panel(tmp_path, f'{text}\n[[models]]\nspec = "a"')).profile

    assert named("") == ""
    assert named('profile = "showroom-panel"') == "showroom-panel"
    assert named('profile = "mine.toml"') == str(tmp_path / "mine.toml")


def test_a_shipped_panel_is_known_by_its_name_and_any_other_by_its_path(tmp_path):
    assert panel_path("showroom", tmp_path).is_file()
    assert panel_path("showroom.toml", tmp_path) == tmp_path / "showroom.toml"


def test_a_missing_panel_file_is_one_line(tmp_path):
    with pytest.raises(ClipRobustError, match="no file"):
        read_panel_file(tmp_path / "none.toml")
