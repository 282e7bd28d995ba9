"""Tests of the showroom's panel as it ships: its file, its feature packs, and that they hold what its profile needs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_clip_robust import showroom
from pytest_clip_robust.config.panel import panel_path, read_panel_file
from pytest_clip_robust.config.profile import load_profile
from pytest_clip_robust.datasets.images.loading import load_image_set
from pytest_clip_robust.encoding.encoder import image_key
from pytest_clip_robust.encoding.store.features import FeatureStore
from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.loading import load_model
from pytest_clip_robust.models.spec import ModelSpec

PACKS = showroom.pack_names()
LARGEST_PACK, LARGEST_PANEL = 2_000_000, 20_000_000
"""Bytes on disk; a wheel compresses them to about half."""


@pytest.fixture(scope="module")
def panel():
    return read_panel_file(panel_path("showroom", Path()))


@pytest.fixture(scope="module")
def profile(panel):
    return load_profile(panel.profile)


@pytest.fixture(scope="module")
def image_sets(profile):
    """Every set of images of the profile, read once for all packs."""
    return [
        load_image_set(profile.data[name], prompted=role != "ood")
        for role in ("id", "shift", "factors", "cue_conflict", "ood")
        for name in profile.sets(role)
    ]


@pytest.fixture(scope="module", params=PACKS)
def packed(request):
    return load_model(ModelSpec.parse(f"features:{request.param}"), device="cpu", precision="fp32")


def test_the_panel_has_twelve_models_or_more_and_every_pack(panel):
    assert len(panel.models) >= 12
    assert {f"features:{name}" for name in PACKS} == {str(one) for one in panel.specs if one.kind == "features"}


def test_a_pack_states_the_six_factors(packed):
    card = packed.card
    stated = (card.family, card.size, card.data, card.pairs, card.loss, card.fine_tuning, card.licence)
    assert None not in stated
    assert card.licence == "Apache-2.0"
    if card.fine_tuning == "zero-shot":
        assert card.samples_seen > card.pairs


def test_a_pack_has_every_image_of_the_profile(packed, image_sets):
    store = FeatureStore(packed.encoder.location)
    for images in image_sets:
        assert store.read(image_key(packed, images), images.digests)[1].all()


def test_packs_are_small_and_name_no_folder_of_the_machine_that_made_them():
    sizes = {}
    for name in PACKS:
        folder = showroom.pack_folder(name)
        files = [path for path in folder.rglob("*") if path.is_file()]
        sizes[name] = sum(path.stat().st_size for path in files)
        text = json.loads((folder / "pack.json").read_text())["spec"]
        assert not any(part.startswith("/") for part in text.replace("=", ":").split(":"))
    assert max(sizes.values()) < LARGEST_PACK
    assert sum(sizes.values()) < LARGEST_PANEL


def test_a_damaged_pack_is_named_with_the_fix(tmp_path, monkeypatch):
    import shutil

    name = PACKS[0]
    copy = tmp_path / "panel" / name
    shutil.copytree(showroom.pack_folder(name), copy)
    (copy / "pack.json").write_text("{}")
    monkeypatch.setattr(showroom, "HERE", tmp_path)
    with pytest.raises(ModelError, match=r"pack\.json is damaged: .* install pytest-clip-robust again"):
        load_model(ModelSpec.parse(f"features:{name}"), device="cpu", precision="fp32")
