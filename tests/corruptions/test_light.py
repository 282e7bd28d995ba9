from __future__ import annotations

import torch

from pytest_clip_robust.corruptions.light import to_codes, to_linear


def test_conversion_to_linear_light_and_back_is_exact():
    codes = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_codes(to_linear(codes)), codes)


def test_half_of_the_light_has_the_srgb_value_188():
    assert to_codes(torch.tensor([0.5, -1.0, 7.0])).tolist() == [188, 0, 255]
