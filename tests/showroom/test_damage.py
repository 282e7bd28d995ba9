"""Damage changes one layer by the requested strength, and is deterministic."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pytest_clip_robust import showroom

MODEL = showroom.HERE / "models" / "showroom-clip"


@pytest.fixture
def damage(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[2] / "tools")
    from showroom import damage

    return damage


def test_noise_has_the_requested_fraction_of_the_layers_standard_deviation(damage):
    layer = torch.randn(200, 200) * 3
    added = damage.noisy(layer, strength=0.1, seed=0) - layer
    assert float(added.std()) == pytest.approx(0.3, rel=0.02)
    assert torch.equal(damage.noisy(layer, strength=0.1, seed=0), layer + added)


def test_only_one_layer_changes(damage, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["damage", str(MODEL), "--out", str(tmp_path / "x"), "--strength", "0.1"])
    damage.main()
    before, after = load_file(MODEL / damage.WEIGHTS), load_file(tmp_path / "x" / damage.WEIGHTS)
    assert [name for name in before if not torch.equal(before[name], after[name])] == [damage.LAYER]
    assert {path.name for path in (tmp_path / "x").iterdir()} == {path.name for path in MODEL.iterdir()}


def test_an_unknown_layer_is_named(damage, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        sys, "argv", ["damage", str(MODEL), "--out", str(tmp_path / "x"), "--strength", "0.1", "--layer", "no.such"]
    )
    with pytest.raises(SystemExit):
        damage.main()
    assert "has no layer 'no.such'" in capsys.readouterr().err
