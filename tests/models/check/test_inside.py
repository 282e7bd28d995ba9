from __future__ import annotations

from types import SimpleNamespace

from torch import nn

from pytest_clip_robust.models.check.inside import embeddings_of, modules_of, parameters_of, tokens_of


def test_a_single_module_gives_its_names_without_a_prefix():
    model = nn.Sequential(nn.Linear(2, 3))
    assert set(parameters_of(SimpleNamespace(model=model, scale=3.0))) == {"0.weight", "0.bias"}
    assert set(parameters_of(model)) == {"0.weight", "0.bias"}


def test_two_towers_are_told_apart_by_their_attributes():
    towers = SimpleNamespace(images=nn.Linear(2, 3), texts=nn.BatchNorm1d(2))
    assert {"images.weight", "texts.running_mean"} < set(parameters_of(towers))


def test_a_module_that_is_held_twice_or_is_a_part_of_another_counts_once():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    assert modules_of(SimpleNamespace(head=model[1], model=model, same=model)) == {"": model}


def test_an_encoder_without_torch_has_no_modules():
    class Slots:
        __slots__ = ("model",)

    assert parameters_of(SimpleNamespace(scale=1.0)) == modules_of(Slots()) == {}
    assert tokens_of(Slots()) is None


def test_the_largest_table_of_tokens_counts_and_not_those_of_positions():
    model = nn.Module()
    model.word_embeddings, model.position_embeddings = nn.Embedding(100, 2), nn.Embedding(512, 2)
    model.token_type_embeddings = nn.Embedding(200, 2)
    assert embeddings_of(SimpleNamespace(model=model)) == 100
    assert embeddings_of(SimpleNamespace(model=nn.Linear(1, 1))) == 0
