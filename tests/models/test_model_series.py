"""Specs with ``*`` stand for the checkpoints that they match, in the order of their numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.series import _natural, expand_series, is_series
from pytest_clip_robust.models.spec import ModelSpec


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("epoch_10.pt", "epoch_2.pt", "epoch_1.pt", "epoch_latest.pt", "results.txt"):
        (tmp_path / "runs [a]" / "42").mkdir(parents=True, exist_ok=True)
        (tmp_path / "runs [a]" / "42" / name).touch()
    for step in (900, 1000, 50):
        (tmp_path / "hf" / f"checkpoint-{step}").mkdir(parents=True)
    return tmp_path


def test_numbers_are_compared_as_numbers(runs):
    assert expand_series("ViT-B-32@runs [a]/42/epoch_*.pt") == [
        f"ViT-B-32@runs [a]/42/epoch_{name}.pt" for name in ("1", "2", "10", "latest")
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf:hf/checkpoint-*", [f"hf:hf/checkpoint-{step}" for step in (50, 900, 1000)]),
        ("ViT-B-32@runs [a]/*/epoch_2.pt?quick_gelu=true", ["ViT-B-32@runs [a]/42/epoch_2.pt?quick_gelu=true"]),
        ("ViT-B-32@openai+adapter:hf/checkpoint-9*", ["ViT-B-32@openai+adapter:hf/checkpoint-900"]),
        ("ViT-B-32@openai", ["ViT-B-32@openai"]),
        ("py:mine:load?name=*", ["py:mine:load?name=*"]),
    ],
)
def test_every_kind_of_spec_can_have_a_series(runs, text, expected):
    assert expand_series(text) == expected
    assert all(str(ModelSpec.parse(one)) == one for one in expected if "name=*" not in one)


def test_a_series_without_checkpoints_is_an_error(runs):
    with pytest.raises(ModelError, match=r"no file or folder is like runs/epoch_\*.pt; check the path"):
        expand_series("ViT-B-32@runs/epoch_*.pt")


@given(st.lists(st.from_regex(r"[a-z]{0,3}[0-9]{0,3}[a-z]{0,2}", fullmatch=True)))
def test_names_of_any_form_have_an_order(names):
    assert sorted(sorted(names, key=_natural, reverse=True), key=_natural) == sorted(names, key=_natural)


@given(st.lists(st.integers(0, 10**6), min_size=1, unique=True))
def test_the_order_is_that_of_the_numbers(numbers):
    names = sorted((f"e_{number}.pt" for number in numbers), key=_natural)
    assert names == [f"e_{number}.pt" for number in sorted(numbers)]


def test_only_the_path_is_a_pattern():
    assert not is_series("interpolate:A,B?alpha=0.5")
    assert is_series("local-dir:runs/*")
