"""The card of each model in the terminal and in report.json."""

from __future__ import annotations

import json

import pytest

from pytest_clip_robust.models.card.facts import FACTS

CARD = """
    card = {
        "family": "colour", "data": "a box of crayons", "pairs": 3, "samples_seen": 12e6, "loss": "softmax",
        "fine_tuning": "zero-shot", "parameters": 4_700,
    }
"""
LINE = (
    "model py:colour_clip:load: colour, 4.7 k parameters, 4 px; a box of crayons (3 pairs), 12 M seen; softmax; "
    "zero-shot; fp32 on cpu"
)


@pytest.fixture
def stated(colours):
    """The colour world, with a model that states its card."""
    path = colours.path / "colour_clip.py"
    text = path.read_text()
    path.write_text(text.replace("class ColourClip:", f"class ColourClip:{CARD}", 1))
    return colours


def run(world, *options, models=("load",)):
    chosen = [f"--model=py:colour_clip:{name}" for name in models]
    result = world.runpytest(*chosen, "--clip-profile=profile.toml", "--clip-report=out", *options)
    return result, json.loads((world.path / "out" / "report.json").read_text())["models"]


def test_a_run_prints_the_card_of_its_model_before_its_gates(stated):
    result, _ = run(stated)
    result.stdout.fnmatch_lines([LINE, "*verdict*measurement*"])


def test_the_report_has_the_card_with_its_sources_and_the_prompts_of_the_run(stated):
    _, models = run(stated)
    (model,) = models.values()
    assert set(model["card"]) == {*FACTS, "sources", "remarks"}
    assert (model["card"]["data"], model["card"]["resolution"], model["card"]["licence"]) == (
        "a box of crayons",
        4,
        None,
    )
    assert (model["card"]["sources"]["data"], model["card"]["sources"]["resolution"]) == ("stated", "weights")
    assert model["prompts"]["templates"] == 1


def test_a_model_without_a_card_is_said_to_be_unknown(colours):
    result, models = run(colours)
    assert models["py:colour_clip:load"]["card"]["data"] is None
    result.stdout.fnmatch_lines(["model py:colour_clip:load: 4 px; unknown: architecture, parameters, *"])


def test_workers_send_the_cards_of_all_models(stated, forked_workers):
    result, models = run(stated, "-n2", models=("load", "load_other"))
    result.stdout.fnmatch_lines_random([LINE, LINE.replace(":load:", ":load_other:")])
    assert {model["card"]["data"] for model in models.values()} == {"a box of crayons"}


def test_a_wrong_card_is_an_error_of_one_line(stated):
    path = stated.path / "colour_clip.py"
    path.write_text(path.read_text().replace('"samples_seen"', '"samples_sene"'))
    result, _ = run(stated)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*card: unknown key 'samples_sene' (did you mean 'samples_seen'?)*"])


def test_a_run_without_prompts_names_none(stated):
    stated.makepyfile(test_suite="import pytest\n\ndef test_loads(model):\n    assert model.spec is not None\n")
    _, models = run(stated)
    assert all(model["prompts"] is None for model in models.values())
