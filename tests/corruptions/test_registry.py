from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_clip_robust.corruptions.kinds import needs_depth
from pytest_clip_robust.corruptions.registry import APPLY, corrupt
from pytest_clip_robust.errors import ConfigError, DataError
from pytest_clip_robust.names import CORRUPTION_KINDS as NAMES
from pytest_clip_robust.names import SEVERITIES

DEVICE_TOLERANCE = 2
"""Difference of pixel values between GPU and CPU that all but a thousandth of the pixels must not exceed."""

RANDOM = ("xy_motion_blur", "iso_noise", "low_light", "bit_error")


def photograph(size=64, seed=0):
    """Return an image of smooth light with texture, and the depth of a slope with a step."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    light = 0.5 + 0.3 * np.sin(7 * x + seed) * np.cos(5 * y) + rng.normal(0, 0.05, (3, size, size))
    rgb = torch.from_numpy((light.clip(0, 1) * 255).astype(np.uint8))
    depth = torch.from_numpy((2 + y + 3 * (x > 0.5)).astype(np.float32))
    return rgb, depth


def run(kind, severity=3, *, seeds=(5,), size=64):
    rgb, depth = (torch.stack(parts) for parts in zip(*(photograph(size, seed) for seed in seeds), strict=True))
    return rgb, corrupt(rgb, kind, severity, seeds=seeds, depth=depth)


def test_the_kinds_are_those_of_the_vocabulary():
    assert tuple(APPLY) == NAMES
    assert [kind for kind in NAMES if needs_depth(kind)] == list(NAMES[:6])


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("kind", NAMES)
def test_every_kind_gives_another_image_of_the_same_form(kind, severity):
    rgb, found = run(kind, severity)
    assert found.shape == rgb.shape
    assert found.dtype == torch.uint8
    assert (found != rgb).float().mean() > 0.01 or kind == "color_quant"


@pytest.mark.parametrize("kind", NAMES)
def test_severities_grow(kind):
    away = [
        float(
            np.mean(
                [(run(kind, s, seeds=(seed,))[1].float() - photograph(seed=seed)[0]).abs().mean() for seed in range(3)]
            )
        )
        for s in SEVERITIES
    ]
    assert away == sorted(away)
    assert away[0] < away[-1]


@pytest.mark.parametrize("kind", NAMES)
def test_an_image_does_not_depend_on_its_batch(kind):
    _, together = run(kind, seeds=(3, 4, 5, 6))
    for row, seed in enumerate((3, 4, 5, 6)):
        _, alone = run(kind, seeds=(seed,))
        assert torch.equal(together[row], alone[0])


@given(order=st.permutations([1, 2, 3]), kind=st.sampled_from(NAMES), severity=st.sampled_from(SEVERITIES))
@settings(max_examples=20, deadline=None)
def test_an_image_does_not_depend_on_the_order(order, kind, severity):
    _, found = run(kind, severity, seeds=tuple(order), size=48)
    _, sorted_ = run(kind, severity, seeds=(1, 2, 3), size=48)
    assert torch.equal(found[torch.tensor(order).argsort()], sorted_)


@pytest.mark.parametrize("kind", NAMES)
def test_threads_change_nothing(kind):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        _, alone = run(kind, size=160)
        torch.set_num_threads(2)
        _, shared = run(kind, size=160)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(alone, shared)


@pytest.mark.parametrize("kind", NAMES)
def test_the_seed_decides_what_is_random_and_nothing_else(kind):
    rgb, depth = photograph()
    one, other = (corrupt(rgb[None], kind, 3, seeds=[seed], depth=depth[None]) for seed in (1, 2))
    assert torch.equal(one, other) != (kind in RANDOM)


def test_global_random_generators_are_not_used():
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - the global state is what is watched
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    for kind in RANDOM:
        run(kind)
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()  # noqa: NPY002


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
@pytest.mark.parametrize("kind", NAMES)
def test_a_gpu_gives_the_same_image(kind):
    rgb, depth = photograph(224)
    on_cpu = corrupt(rgb[None], kind, 3, seeds=[1], depth=depth[None])
    on_gpu = corrupt(rgb[None].cuda(), kind, 3, seeds=[1], depth=depth[None].cuda())
    assert on_gpu.is_cuda
    away = (on_cpu.int() - on_gpu.cpu().int()).abs()
    assert (away > DEVICE_TOLERANCE).float().mean() < 0.001


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("shape", [(16, 16), (17, 45), (45, 17)])
def test_odd_and_small_sizes(kind, shape):
    rgb = torch.randint(0, 256, (1, 3, *shape), dtype=torch.uint8)
    found = corrupt(rgb, kind, 5, seeds=[0], depth=torch.rand(1, *shape) + 1)
    assert found.shape == rgb.shape


@pytest.mark.parametrize("kind", NAMES[:6])
def test_only_ratios_of_depths_count(kind):
    rgb, depth = photograph()
    metres = corrupt(rgb[None], kind, 4, seeds=[1], depth=depth[None])
    millimetres = corrupt(rgb[None], kind, 4, seeds=[1], depth=1024 * depth[None])
    assert (metres.int() - millimetres.int()).abs().max() <= 1


@pytest.mark.parametrize("kind", ["near_focus", "far_focus", "fog_3d"])
def test_a_flat_scene_has_no_depth_to_blur_or_to_fog(kind):
    rgb, depth = photograph()
    assert torch.equal(corrupt(rgb[None], kind, 5, seeds=[1], depth=torch.full_like(depth, 3.0)[None])[0], rgb)


def test_without_depth_the_other_kinds_still_work():
    rgb, _ = photograph()
    for kind in NAMES[6:]:
        corrupt(rgb[None], kind, 1, seeds=[0])


RGB = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
DEPTH = torch.ones(2, 32, 32)
CAMERA = torch.tensor([[40.0, 0, 16], [0, 40, 16], [0, 0, 1]]).expand(2, 3, 3)


def changed(i, j, value):
    camera = CAMERA.clone()
    camera[1, i, j] = value
    return camera


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"kind": "fog3d"}, ConfigError, "no corruption 'fog3d' .did you mean 'fog_3d'"),
        ({"severity": 0}, ConfigError, "severity 0 of flash: expected a whole number from 1 to 5"),
        ({"severity": 6}, ConfigError, "severity 6"),
        ({"severity": 2.5}, ConfigError, "severity 2.5"),
        ({"rgb": RGB.float()}, DataError, "torch.float32; expected .B, 3, H, W. of torch.uint8"),
        ({"rgb": RGB[0]}, DataError, "shape .3, 32, 32."),
        ({"rgb": RGB[..., :15]}, DataError, "15x32 is too small to corrupt: expected at least 16"),
        ({"seeds": [1]}, DataError, "1 seeds for 2 images"),
        ({"depth": None}, DataError, "flash needs depth"),
        ({"depth": DEPTH[:, :16]}, DataError, "depth of shape .2, 16, 32."),
        ({"depth": DEPTH[:1]}, DataError, "depth of shape .1, 32, 32."),
        ({"depth": 0 * DEPTH}, DataError, "known for 0.0% of the pixels"),
        ({"depth": DEPTH * float("nan")}, DataError, "give another depth column"),
        ({"intrinsics": CAMERA[:1]}, DataError, "intrinsics of shape .1, 3, 3. for 2 images"),
        ({"intrinsics": changed(0, 0, 0.0)}, DataError, "fx, fy above 0"),
        ({"intrinsics": changed(1, 1, float("nan"))}, DataError, "expected ..fx, 0, cx"),
        ({"intrinsics": changed(0, 2, 320.0)}, DataError, r"principal point \(320, 16\).* image of 32x32"),
        ({"intrinsics": changed(0, 1, 3.0)}, DataError, "skew 3"),
        ({"intrinsics": changed(2, 0, 1.0)}, DataError, "expected"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(arguments, error, message):
    given = {"rgb": RGB, "kind": "flash", "severity": 1, "seeds": [1, 2], "depth": DEPTH, "intrinsics": CAMERA}
    with pytest.raises(error, match=message) as caught:
        corrupt(**(given | arguments))
    assert "\n" not in str(caught.value)
