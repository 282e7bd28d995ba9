from __future__ import annotations

from pytest_clip_robust.core.summary import changed_models


def identity(weights="a" * 64, preprocess="p" * 64, text="t" * 64):
    return {"weights": weights, "preprocess": preprocess, "text": text, "notes": []}


def test_processes_with_the_same_model_agree():
    assert changed_models([]) == []
    assert changed_models([{"m": identity()}, {}, {"m": identity(), "n": identity("b" * 64)}]) == []


def test_a_model_that_changed_between_two_loads_is_named_once():
    loads = [{"m": identity(), "n": identity()}, {"m": identity("b" * 64)}, {"m": identity("c" * 64)}]
    (line,) = changed_models(loads)
    assert line.startswith("m: was loaded with different weights, aaaaaaaa and bbbbbbbb; run again")


def test_a_tokenizer_or_preprocessing_that_changed_is_named():
    for part, name in (("preprocess", "preprocessing"), ("text", "tokenizers")):
        (line,) = changed_models([{"m": identity()}, {"m": identity(**{part: "q" * 64})}])
        assert line.startswith(f"m: was loaded with different {name}, ")
