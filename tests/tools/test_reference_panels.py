"""The shipped panels are what their tool makes of the public tables."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "tools"))

import reference_panels


def test_the_shipped_panels_equal_those_of_the_public_tables(shared, tmp_path):
    reference_panels.write(shared / "golden" / "panels", tmp_path)
    for name in reference_panels.PANELS:
        assert (tmp_path / f"{name}.csv").read_bytes() == (reference_panels.OUTPUT / f"{name}.csv").read_bytes()


@pytest.mark.parametrize(
    ("model", "extra"),
    [
        ("resnet50.a1_in1k", False),
        ("deit3_base_patch16_224.fb_in1k", False),
        ("convnextv2_base.fcmae_ft_in1k", False),
        ("tf_efficientnet_b7.ns_jft_in1k", True),
        ("regnety_1280.seer_ft_in1k", True),
        ("eva02_large_patch14_448.mim_m38m_ft_in1k", True),
        ("hgnetv2_b6.ssld_stage2_ft_in1k", True),
        ("vit_base_patch16_clip_224.openai_ft_in1k", True),
        ("beit_base_patch16_224.in22k_ft_in22k_in1k", True),
    ],
)
def test_models_of_timm_with_other_training_images_are_left_out(model, extra):
    assert bool(re.search(reference_panels.TIMM_EXTRA_DATA, model)) == extra


def test_an_accuracy_in_percent_becomes_a_share():
    assert reference_panels.share("90.056", percent=True) == "0.90056"
    assert reference_panels.share("0.8437", percent=False) == "0.84370"
    assert reference_panels.share("", percent=True) == ""
