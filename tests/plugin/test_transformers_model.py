"""A model of transformers in a whole run: its own tokens and pixels, decoded in worker processes."""

from __future__ import annotations

import pytest
from transformers_folders import built, save

PROFILE = """
name = "colours"
[roles]
id = "photos"
[data.photos]
location = "photos"
[prompts]
templates = ["a photo of a {}."]
[thresholds]
"zero_shot.top1" = { at_least = 0.0 }
"""


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_folder_of_transformers_is_measured(colours, workers):
    save(built("CLIP"), colours.path / "model")
    (colours.path / "profile.toml").write_text(PROFILE)
    arguments = (
        "--model",
        "hf:model",
        "--clip-profile",
        "profile.toml",
        "--clip-workers",
        workers,
        "--clip-report",
        "r",
    )
    result = colours.runpytest(*arguments)
    result.assert_outcomes(passed=1)
    assert "hf:model" in (colours.path / "r" / "report.json").read_text()


def test_a_folder_of_another_kind_is_a_one_line_error(colours):
    folder = save(built("CLIP"), colours.path / "model")
    (folder / "preprocessor_config.json").unlink()
    result = colours.runpytest("--model", "hf:model", "--clip-profile", "profile.toml")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*model hf:model: model has no preprocessor_config.json; copy it from the model*"])
    result.stdout.no_fnmatch_line("*Traceback*")
