"""Which settings of a config are part of a model's identity: those that shape features, in every release."""

from __future__ import annotations

import json

import pytest
import transformers as hf
from transformers_folders import BUILD, built, save

from pytest_clip_robust.models.hugging_face.settings import counting
from pytest_clip_robust.models.loading import load_model
from pytest_clip_robust.models.spec import ModelSpec


def tower(**settings):
    """A config as it is read from a file."""
    return hf.CLIPVisionConfig.from_dict(settings)


def test_an_entry_of_a_newer_release_does_not_count():
    assert counting(tower(added_later=True)) == counting(tower())


@pytest.mark.parametrize("name", ["attention_dropout", "hidden_act", "layer_norm_eps", "hidden_size", "patch_size"])
def test_a_default_that_is_spelled_out_does_not_count(name):
    assert counting(tower(**{name: getattr(tower(), name)})) == counting(tower())


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_act": "gelu"},
        {"layer_norm_eps": 1e-3},
        {"num_attention_heads": 6},
        {"patch_size": 16},
        {"hidden_size": 96},
    ],
    ids=str,
)
def test_another_value_counts(change):
    assert counting(tower(**change)) != counting(tower())


def test_settings_of_towers_count_as_those_of_the_model():
    def model(**changes):
        return counting(
            hf.CLIPConfig(vision_config={"num_attention_heads": 4, **changes}, text_config={"hidden_size": 32})
        )

    assert model() == model(added_later=1, attention_dropout=0.0)
    assert model() != model(hidden_act="gelu")
    assert model()["text_config"]["hidden_size"] == 32


def test_where_and_how_a_config_was_stored_does_not_count():
    stored = {"_name_or_path": "mine", "dtype": "bfloat16", "transformers_version": "4.48.0", "architectures": ["Mine"]}
    assert counting(tower(**stored)) == counting(tower())


class Older(hf.PretrainedConfig):
    model_type = "invented"

    def __init__(self, hidden_act="gelu", width=8, **more):
        super().__init__(**more)
        self.hidden_act, self.width = hidden_act, width


class Newer(Older):
    """The same config in a release with one entry more."""

    def __init__(self, added_later=(1, 2), **more):
        super().__init__(**more)
        self.added_later = added_later


class Changed(Older):
    """The same config in a release with another default."""

    def __init__(self, hidden_act="relu", **more):
        super().__init__(hidden_act=hidden_act, **more)


def test_a_release_that_adds_an_entry_changes_nothing():
    assert counting(Newer()) == counting(Older())
    assert counting(Newer(width=4)) == counting(Older(width=4)) != counting(Older())
    assert counting(Newer.from_dict(json.loads(Newer().to_json_string()))) == counting(Older())  # a list, not a tuple


def test_an_added_entry_counts_where_a_file_states_it_and_the_release_uses_it():
    assert counting(Newer(added_later=(3,))) != counting(Older(added_later=(3,))) == counting(Older())


def test_a_release_that_changes_the_activation_of_files_that_leave_it_open_changes_the_model():
    assert counting(Changed()) != counting(Older())
    assert counting(Changed(hidden_act="gelu")) == counting(Older(hidden_act="gelu")) == counting(Older())


class Strict(Older):
    def __init__(self, width, **more):
        super().__init__(width=width, **more)


def test_all_entries_count_if_the_class_has_no_defaults():
    assert counting(Strict(8)) != counting(Strict(8, added_later=1))


@pytest.mark.parametrize("family", BUILD)
def test_settings_are_the_same_after_a_round_trip_through_a_file(family, tmp_path):
    config = built(family)[0].config
    config.save_pretrained(tmp_path)
    found = counting(hf.AutoConfig.from_pretrained(tmp_path))
    assert json.loads(json.dumps(found)) == found == counting(config)
    assert found["model_type"] == config.model_type


def test_a_model_keeps_its_key_when_its_config_gets_an_entry(tmp_path):
    def key():
        return load_model(ModelSpec.parse(f"hf:{tmp_path}"), device="cpu", precision="fp32").weights

    def edit(**changes):
        content["vision_config"].update(changes)
        (tmp_path / "config.json").write_text(json.dumps({**content, "added_later": 1}))

    save(built("CLIP"), tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())
    before = key()
    edit(added_later=[1], attention_dropout=0.0)
    assert key() == before
    edit(hidden_act="gelu")
    assert key() != before
