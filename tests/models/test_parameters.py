"""The parameters of a model are found at any depth, behind any wrapper; with several models, the choice is reported."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.parameters import find_parameters

BARE = {
    "visual.conv1.weight": torch.arange(4.0),
    "visual.transformer.resblocks.0.attn.in_proj_weight": torch.ones(3),
    "transformer.resblocks.0.mlp.c_fc.weight": torch.zeros(2),
    "logit_scale": torch.tensor(2.0),
}
OTHER = {name: value + 1 for name, value in BARE.items()}
THIRD = {name: value + 2 for name, value in BARE.items()}


def prefixed(prefix, weights=BARE):
    return {f"{prefix}{name}": value for name, value in weights.items()}


def inserted(before, part, weights=BARE):
    return {name.replace(before, f"{before}{part}"): value for name, value in weights.items()}


def find(content, wanted=""):
    return find_parameters(content, "checkpoint x.pt", wanted=wanted)


def same(found, wanted=BARE):
    return found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize(
    "weights",
    [
        prefixed("module."),
        prefixed("model."),
        prefixed("net."),
        prefixed("model.clip."),
        prefixed("model.module._orig_mod."),
        prefixed("_orig_mod.module.model._orig_mod."),
        prefixed("_forward_module."),
        prefixed("_forward_module._orig_mod.model."),
        prefixed("_fsdp_wrapped_module."),
        prefixed("base_model.model."),
        prefixed("base_model.model.clip_model."),
        inserted("visual.", "_orig_mod."),
        inserted("visual.", "module."),
        inserted("visual.", "module._orig_mod.module."),
        inserted("resblocks.0.", "_fsdp_wrapped_module._checkpoint_wrapped_module."),
        inserted("c_fc.", "base_layer."),
        prefixed("base_model.model.", inserted("c_fc.", "base_layer.")),
        prefixed("a.b.c.d.e.f.g."),
    ],
)
def test_wrappers_of_any_nesting_are_removed(weights):
    found = find(weights)
    assert same(found.parameters)
    assert found.notes == ()


@given(
    st.lists(st.sampled_from(["module", "_orig_mod", "model", "_fsdp_wrapped_module", "base_model", "x"]), max_size=6),
    st.lists(st.sampled_from(["state_dict", "model", "module", "weights", "trainer"]), max_size=4),
    st.lists(st.sampled_from(["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"]), max_size=3),
)
def test_any_nesting_of_keys_and_wrappers_is_found(wrappers, keys, within):
    content = prefixed(
        "".join(f"{part}." for part in wrappers), inserted("resblocks.0.", "".join(f"{one}." for one in within))
    )
    for key in keys:
        content = {key: content, "epoch": 3}
    assert same(find(content).parameters)


def test_a_model_with_scales_in_its_attention_is_one_model():
    weights = BARE | {"visual.blocks.0.attn.logit_scale": torch.ones(2, 1, 1)}
    assert same(find(prefixed("model.", weights)).parameters, weights)


def test_a_submodule_called_module_stays_next_to_others():
    weights = BARE | {"visual.module.a": torch.ones(1), "visual.b": torch.ones(1)}
    assert same(find(weights).parameters, weights)


def test_parameters_of_a_lightning_module_outside_the_model_are_reported():
    content = {"state_dict": {**prefixed("model."), "loss.weight": torch.ones(2)}, "pytorch-lightning_version": "2"}
    found = find(content)
    assert same(found.parameters)
    assert found.notes == ("1 parameters of the checkpoint are not part of state_dict.model, first 'loss.weight'",)


def test_the_counter_of_an_averaged_model_is_no_parameter():
    found = find({"n_averaged": torch.tensor(3), **prefixed("module.")})
    assert same(found.parameters)
    assert found.notes == ()


EMA = [
    {"state_dict": BARE, "state_dict_ema": OTHER},
    {"model": BARE, "model_ema": OTHER},
    {"model": BARE, "ema": {"shadow": OTHER, "decay": 0.999}},
    {"model": BARE, "ema_model": {"module": OTHER}},
    {"model": BARE, "swa_state": {"n_averaged": torch.tensor(3), **prefixed("module.", OTHER)}},
    {"ema_state_dict": OTHER, "model_state_dict": prefixed("module.")},
    {"state_dict": {**prefixed("model."), **prefixed("ema.module.", OTHER), "ema.n_averaged": torch.tensor(1)}},
    {"state_dict": {**prefixed("model_ema.", OTHER), **prefixed("model.")}},
    {"state_dict": {**BARE, **prefixed("ema.", OTHER)}},
    {"state_dict": prefixed("model."), "callbacks": {"EMACallback": {"averaged": OTHER}}},
    {"model": BARE, "modelEMA": OTHER},
]


@pytest.mark.parametrize("content", EMA)
def test_averaged_weights_next_to_the_trained_ones_are_reported_and_can_be_chosen(content):
    found = find(content)
    assert same(found.parameters)
    (note,) = found.notes
    assert note.startswith("the checkpoint also has ")
    assert "?weights=ema for another" in note
    assert same(find(content, "ema").parameters, OTHER)
    assert same(find(content, "raw").parameters)
    assert find(content, "ema").notes == find(content, "raw").notes == ()


def test_a_model_can_be_chosen_by_its_place():
    content = {"state_dict": BARE, "state_dict_ema": OTHER, "teacher": {"net": THIRD}}
    assert same(find(content, "state_dict").parameters)
    assert same(find(content, "state_dict_ema").parameters, OTHER)
    assert same(find(content, "teacher").parameters, THIRD)
    assert same(find(content, "teacher.net").parameters, THIRD)


def test_an_unknown_choice_lists_the_models():
    with pytest.raises(ModelError, match=r"\?weights=emma names no model; it has state_dict, state_dict_ema"):
        find({"state_dict": BARE, "state_dict_ema": OTHER}, "emma")
    with pytest.raises(ModelError, match=r"\?weights=ema names no model; it has state_dict"):
        find({"state_dict": BARE}, "ema")
    with pytest.raises(ModelError, match=r"\?weights=ema names several models; it has ema_1, ema_2"):
        find({"ema_1": OTHER, "ema_2": THIRD, "model": BARE}, "ema")
    with pytest.raises(ModelError, match="names no model: the file has no logit_scale"):
        find({"a": torch.ones(1)}, "ema")


def test_averaged_weights_alone_are_used_and_reported():
    found = find({"ema": OTHER, "epoch": 1})
    assert same(found.parameters, OTHER)
    assert found.notes == ("the checkpoint has only averaged weights: used ema",)


def test_several_models_of_which_none_is_the_usual_one_are_refused():
    with pytest.raises(ModelError, match=r"has several models: student, teacher; choose one with \?weights=student"):
        find({"student": BARE, "teacher": OTHER})
    with pytest.raises(ModelError, match=r"several models: state_dict.student, state_dict.teacher"):
        find({"state_dict": {**prefixed("student."), **prefixed("teacher.", OTHER)}})
    assert same(find({"student": BARE, "teacher": OTHER}, "teacher").parameters, OTHER)


def test_a_second_model_next_to_the_usual_one_is_reported():
    found = find({"model": BARE, "teacher": OTHER})
    assert same(found.parameters)
    assert found.notes == ("the checkpoint also has teacher: used model; write ?weights=teacher for another",)


def test_copies_of_one_model_are_one_model():
    found = find({"student": BARE, "copy": dict(BARE)})
    assert same(found.parameters)
    assert found.notes == ()


@pytest.mark.parametrize(
    "name",
    [
        "visual.attn.lora_A.default.weight",
        "transformer.c_fc.lora_embedding_B.default",
        "visual.proj.modules_to_save.default.weight",
        "visual.proj.original_module.weight",
        "visual.mlp.ia3_l.default",
        "visual.attn.hada_w1_a.default",
    ],
)
def test_adapters_that_are_not_merged_are_refused(name):
    with pytest.raises(ModelError, match=r"adapters that are not merged, first .*save model\.merge_and_unload"):
        find(prefixed("base_model.model.", BARE | {name: torch.ones(2)}))


def test_sharded_parameters_are_refused():
    with pytest.raises(ModelError, match="flattened FSDP parameters"):
        find(BARE | {"visual._fsdp_wrapped_module._flat_param": torch.ones(2)})


@pytest.mark.parametrize("content", [{"a\x1b[31m": 1}, {"\x1b[2Jteacher\n": BARE, "\x1b[2Jstudent": OTHER}])
def test_names_in_a_file_cannot_control_the_terminal(content):
    with pytest.raises(ModelError) as error:
        find(content)
    assert str(error.value).isprintable()
