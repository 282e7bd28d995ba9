"""A model outside of pytest: the same numbers as in a run, from the same feature store."""

from __future__ import annotations

import gc
import json
import sys

import pytest

from pytest_clip_robust import ClipRobustError, ConfigError, evaluate
from pytest_clip_robust.models.known import releases
from pytest_clip_robust.properties import accuracy, shift

SPEC = "py:colour_clip:load_forgetful"


@pytest.fixture
def world(crowd, monkeypatch):
    monkeypatch.syspath_prepend(str(crowd.path))
    yield crowd
    sys.modules.pop("colour_clip", None)


def test_a_notebook_measures_what_a_run_measures(world):
    world.runpytest(f"--model={SPEC}", "--clip-profile=profile.toml", "--clip-report=out")
    gates = json.loads((world.path / "out" / "report.json").read_text())["gates"]
    values = {gate["measurement"]: (gate["value"], gate["interval"]["low"], gate["n"]) for gate in gates}
    model = evaluate(SPEC, "profile.toml", cache="cache", device="cpu", workers=0)
    found = [
        accuracy.top_k(model.zero_shot("photos")),
        accuracy.mean_per_class(model.zero_shot("photos")),
        shift.accuracy_under_shift(model.zero_shot("dim")),
    ]
    assert {one.key: (one.value, one.interval.low, one.n) for one in found}.items() <= values.items()


def test_a_notebook_encodes_nothing_that_a_run_has_encoded(world, monkeypatch):
    world.runpytest(f"--model={SPEC}", "--clip-profile=profile.toml")
    model = evaluate(SPEC, "profile.toml", cache="cache", device="cpu", workers=0)
    encoder = sys.modules["colour_clip"].ForgetfulClip
    monkeypatch.setattr(encoder, "encode_image", lambda *_: pytest.fail("encoded again"))
    assert model.zero_shot("photos").logits.shape == (120, 3)


def test_data_can_be_given_without_a_profile(world):
    model = evaluate(SPEC, None, data=["mine=photos"], cache="cache", device="cpu", workers=0)
    assert len(model.zero_shot("mine")) == 120


@pytest.mark.skipif(releases() is None, reason="a library that loads models is a working copy")
def test_what_a_tokenizer_said_is_kept_when_the_model_is_not_used_any_more(world):
    model = evaluate("showroom-clip", cache="cache", device="cpu", workers=0)
    model.retrieval.captioned("showroom-captions")
    del model
    gc.collect()
    (kept,) = (world.path / "cache" / "models").glob("*.texts.json")
    assert json.loads(kept.read_text())["content"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"precision": "fp8"}, "precision='fp8'"),
        ({"batch_size": 0}, "batch_size=0; expected at least 1"),
        ({"workers": -1}, "workers=-1; expected at least 0"),
        ({"profile": "none.toml"}, r"none\.toml"),
        ({"device": "tpu"}, "tpu"),
    ],
)
def test_a_wrong_argument_is_a_one_line_error(world, arguments, message):
    given = {"profile": "profile.toml", "cache": "cache", "device": "cpu"} | arguments
    with pytest.raises(ConfigError, match=message) as error:
        evaluate(SPEC, **given)
    assert "\n" not in str(error.value)


def test_a_model_that_does_not_load_is_a_one_line_error(world):
    with pytest.raises(ClipRobustError, match="no weights today"):
        evaluate("py:colour_clip:load_broken", "profile.toml", cache="cache", device="cpu")
