from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch

from pytest_clip_robust.system import device
from pytest_clip_robust.system.device import has_no_accelerator, resolve_device


@pytest.fixture
def _without_torch(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch")


@pytest.mark.usefixtures("_without_torch")
def test_what_is_known_without_torch_is_what_torch_finds():
    found = has_no_accelerator()
    assert not found or not (torch.cuda.is_available() or torch.backends.mps.is_available())


@pytest.mark.usefixtures("_without_torch")
@pytest.mark.parametrize(
    ("built", "driver", "expected"),
    [
        ({"cuda": None, "hip": None}, False, True),
        ({"cuda": None}, True, True),
        ({"cuda": "13.0", "hip": None}, False, True),
        ({"cuda": "13.0", "hip": None}, True, False),
        ({"cuda": None, "hip": "6.4"}, False, False),
    ],
    ids=["CPU build", "old CPU build with a driver", "no driver", "driver", "ROCm"],
)
def test_a_machine_has_no_accelerator_if_torch_cannot_find_one(built, driver, expected, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(device, "module_alone", lambda *_: SimpleNamespace(**built))
    monkeypatch.setattr(device, "_can_load", lambda _: driver)
    assert has_no_accelerator() is expected
    if expected:
        assert resolve_device("auto") == "cpu"
        assert "torch" not in sys.modules


@pytest.mark.usefixtures("_without_torch")
def test_only_torch_knows_of_a_macs_gpu(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not has_no_accelerator()


def test_torch_is_asked_where_it_is_imported_anyway(monkeypatch):
    monkeypatch.setattr(device, "_can_load", lambda _: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto") == "cuda"


@pytest.mark.parametrize(("library", "expected"), [("libm.so.6", True), ("libno-such-driver.so", False)])
@pytest.mark.skipif(sys.platform != "linux", reason="the names are those of Linux")
def test_a_library_that_exists_can_be_loaded(library, expected):
    assert device._can_load(library) is expected
