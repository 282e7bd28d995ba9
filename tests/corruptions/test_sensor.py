from __future__ import annotations

import numpy as np
import pytest
import torch

from pytest_clip_robust.corruptions.light import to_linear
from pytest_clip_robust.corruptions.registry import corrupt, generator
from pytest_clip_robust.corruptions.sensor import ISO_PHOTONS, LOW_LIGHT_PHOTONS, READ_NOISE, _expose


@pytest.mark.parametrize("level", [0.0, 0.1, 0.6])
@pytest.mark.parametrize("photons", [ISO_PHOTONS[0], ISO_PHOTONS[4], LOW_LIGHT_PHOTONS])
def test_noise_has_the_variance_of_photons_and_of_reading(level, photons):
    found = _expose(torch.full((1, 3, 200, 200), level), photons, [generator("iso_noise", 0)])
    assert float(found.mean()) == pytest.approx(level, abs=0.02)
    expected = level / photons + (READ_NOISE / photons) ** 2
    assert float(found.var()) == pytest.approx(expected, rel=0.03)


def test_pixels_and_channels_are_independent():
    noise = _expose(torch.full((1, 3, 128, 128), 0.5), 16.0, [generator("iso_noise", 0)])[0] - 0.5
    flat = noise.flatten(1).numpy()
    assert np.abs(np.corrcoef(flat) - np.eye(3)).max() < 0.03
    assert abs(np.corrcoef(flat[0, 1:], flat[0, :-1])[0, 1]) < 0.03


@pytest.mark.parametrize(("severity", "gain"), [(1, 0.6), (2, 0.5), (3, 0.4), (4, 0.3), (5, 0.2)])
def test_low_light_scales_display_values(severity, gain):
    rgb = torch.full((1, 3, 100, 100), 200, dtype=torch.uint8)
    found = to_linear(corrupt(rgb, "low_light", severity, seeds=[0]))
    expected = to_linear(torch.tensor(round(200 * gain), dtype=torch.uint8))
    assert float(found.mean()) == pytest.approx(float(expected), abs=0.004)


@pytest.mark.parametrize(("severity", "bits"), [(1, 5), (2, 4), (3, 3), (4, 2), (5, 1)])
def test_quantisation_keeps_so_many_levels_of_the_whole_range(severity, bits):
    rgb = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(1, 3, 16, 16)
    found = corrupt(rgb, "color_quant", severity, seeds=[0])
    levels = found.unique()
    assert len(levels) == 2**bits
    assert (levels.min(), levels.max()) == (0, 255)
    assert (found.int() - rgb.int()).abs().max() <= 255 / (2**bits - 1) / 2 + 1
