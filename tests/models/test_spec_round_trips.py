"""Specs that are put together from parts of every kind are read back as those parts, and written as they were."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.series import expand_series
from pytest_clip_robust.models.spec import ADAPTER, KINDS, LMM, ModelSpec

WORD = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,8}", fullmatch=True)
FOLDER = st.lists(WORD, min_size=1, max_size=3).map("/".join)
REPOSITORY = st.tuples(WORD, WORD).map("/".join)
FILE = st.tuples(FOLDER, st.sampled_from([".pt", ".safetensors", ".bin"])).map(lambda parts: f"runs/{''.join(parts)}")
TEXT = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=8)

NAMES = {
    "open_clip": WORD,
    "local-dir": FOLDER,
    "hf-hub": REPOSITORY,
    "hf": FOLDER,
    "timm": WORD,
    "predictions": FILE,
    "features": FOLDER,
    "py": st.tuples(st.sampled_from(["mine", "a.b", "x/y.py"]), st.sampled_from(["load", "Model.load"])).map(":".join),
    "lmm": REPOSITORY,
}

VALUES = {
    "quick_gelu": st.sampled_from(["true", "false"]),
    "remote_code": st.sampled_from(["true", "false"]),
    "image_size": st.integers(1, 99_999).map(str),
    "revision": st.from_regex(r"[\w./-]{1,9}", fullmatch=True).filter(str.isprintable),
    "tower": st.sampled_from(["ViT-B-32@openai", "local-dir:runs/a", "hf:a/b?revision=c", "RN50@x.pt?weights=ema"]),
    "weights": TEXT,
    "classes": TEXT,
}


@st.composite
def specs(draw, *, kinds=tuple(NAMES), can_have_adapter=True):
    """Draw a spec as text, with the parts that it was put together from."""
    kind = draw(st.sampled_from(kinds))
    known = KINDS[kind]
    name, weights = draw(NAMES[kind]), ""
    if known.takes_weights and draw(st.booleans()):
        weights = draw(FILE if kind == "open_clip" else FILE | WORD)
    options = []
    if kind != "open_clip" or weights:
        names = draw(st.lists(st.sampled_from(sorted(known.options or ["size", "path"])), unique=True, max_size=3))
        options = [(one, draw(VALUES.get(one, TEXT))) for one in names] if known.options != {} else []
    adapter = draw(FOLDER) if known.builder and can_have_adapter and draw(st.booleans()) else ""
    text = f"{'' if kind == 'open_clip' else f'{kind}:'}{name}{f'@{weights}' if weights else ''}"
    text += "".join(f"{'&' if i else '?'}{key}={quote(value, safe='')}" for i, (key, value) in enumerate(options))
    return f"{text}{ADAPTER}{adapter}" if adapter else text, (kind, name, weights, tuple(options), adapter)


def parts_of(spec):
    return spec.kind, spec.name, spec.weights, spec.options, spec.adapter


@settings(max_examples=50)
@given(specs())
def test_a_spec_has_the_parts_that_it_was_made_of_and_is_written_so_that_it_is_read_again(drawn):
    text, parts = drawn
    spec = ModelSpec.parse(text)
    assert parts_of(spec) == parts
    assert ModelSpec.parse(str(spec)) == spec
    assert str(ModelSpec.parse(str(spec))) == str(spec)


BUILT = tuple(kind for kind in NAMES if KINDS[kind].builder)


@settings(max_examples=30)
@given(specs(kinds=BUILT), specs(kinds=BUILT), st.floats(0, 1))
def test_an_interpolation_has_its_two_models_with_their_options(first, second, alpha):
    text = f"interpolate:{first[0]},{second[0]}?alpha={alpha:.6f}"
    spec = ModelSpec.parse(text)
    assert [parts_of(one) for one in spec.parts] == [first[1], second[1]]
    assert spec.option("alpha") == f"{alpha:.6f}"
    assert ModelSpec.parse(str(spec)) == spec


@settings(max_examples=60)
@given(specs(can_have_adapter=False), st.text(max_size=3), st.data())
def test_a_spec_with_text_put_in_anywhere_is_read_or_refused_in_one_printable_line(drawn, text, data):
    whole = drawn[0]
    place = data.draw(st.integers(0, len(whole)))
    message = ""
    try:
        spec = ModelSpec.parse(whole[:place] + text + whole[place:])
    except ModelError as error:
        message = str(error)
    else:
        assert ModelSpec.parse(str(spec)) == spec
    assert message.isprintable()


@pytest.mark.parametrize("kind", [kind for kind in NAMES if kind not in {"py", LMM, "hf-hub"}])
def test_every_spec_of_a_series_is_one_of_its_kind(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    for step in (2, 10):
        (tmp_path / f"epoch_{step}.pt").touch()
    prefix = "ViT-B-32@" if kind == "open_clip" else f"{kind}:"
    found = [ModelSpec.parse(one) for one in expand_series(f"{prefix}epoch_*.pt")]
    assert [str(one) for one in found] == [f"{prefix}epoch_2.pt", f"{prefix}epoch_10.pt"]
    assert {one.kind for one in found} == {kind}


def test_the_strategies_cover_every_kind():
    assert {*NAMES, "interpolate"} == set(KINDS)
