from __future__ import annotations

import torch

from pytest_clip_robust.corruptions.light import to_codes, to_linear


def test_codes_come_back_as_they_were():
    codes = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_codes(to_linear(codes)), codes)


def test_half_of_the_light_is_code_188():
    assert to_codes(torch.tensor([0.5, -1.0, 7.0])).tolist() == [188, 0, 255]
