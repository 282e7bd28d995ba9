from __future__ import annotations

from types import SimpleNamespace

import pytest

from pytest_clip_robust.errors import ConfigError
from pytest_clip_robust.plugin.gpu import GpuNeed, gpu_need


def need(mark):
    return gpu_need(SimpleNamespace(get_closest_marker=lambda name: None if mark is None else mark.mark))


@pytest.mark.parametrize(
    ("mark", "expected"),
    [
        (None, None),
        (pytest.mark.clip_gpu, GpuNeed(1, 0.0)),
        (pytest.mark.clip_gpu(memory=20), GpuNeed(1, 20.0)),
        (pytest.mark.clip_gpu(count=2, memory=7.5), GpuNeed(2, 7.5)),
    ],
)
def test_a_marker_says_what_a_test_needs(mark, expected):
    assert need(mark) == expected


@pytest.mark.parametrize(
    ("mark", "complaint"),
    [
        (pytest.mark.clip_gpu(2), "clip_gpu(2): expected count= and memory=, as in clip_gpu(count=2, memory=20)"),
        (pytest.mark.clip_gpu(gpus=2), "clip_gpu(gpus=): expected count= and memory=, as in *"),
        (pytest.mark.clip_gpu(count=0), "clip_gpu(count=0): expected a number of GPUs, 1 or more"),
        (pytest.mark.clip_gpu(count="2"), "clip_gpu(count='2'): expected a number of GPUs, 1 or more"),
        (
            pytest.mark.clip_gpu(memory="20GB"),
            "clip_gpu(memory='20GB'): expected the GiB needed on each GPU, *",
        ),
        (pytest.mark.clip_gpu(memory=-1), "clip_gpu(memory=-1): expected the GiB needed on each GPU, *"),
        (pytest.mark.clip_gpu(memory=float("nan")), "clip_gpu(memory=nan): expected the GiB *"),
    ],
)
def test_a_marker_that_says_something_else_is_refused(mark, complaint):
    with pytest.raises(ConfigError) as error:
        need(mark)
    assert str(error.value).startswith(complaint.rstrip("*"))
