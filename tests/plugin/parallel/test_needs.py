from __future__ import annotations

import json
from dataclasses import asdict
from types import SimpleNamespace

import pytest

from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.plugin.gpu import GpuNeed
from pytest_clip_robust.plugin.parallel.grouping import Need
from pytest_clip_robust.plugin.parallel.hooks import needs_of

ROLES = {"id": ("photos", "more"), "ood": ("near", "far"), "corruptions": ("views",)}
RUN = SimpleNamespace(
    profile=SimpleNamespace(data=dict.fromkeys(sum(ROLES.values(), ())), sets=lambda role: ROLES.get(role, ()))
)
SPEC = ModelSpec.parse("ViT-B-32@openai")


def item(name, *, mark=None, **fields):
    return SimpleNamespace(name=name, get_closest_marker=lambda _: mark and mark.mark, **fields)


def need(*fixtures, **parameters):
    name = f"test_it[{SPEC.label}-x]"
    callspec = SimpleNamespace(params=parameters)
    return needs_of(item(name, callspec=callspec, fixturenames=fixtures), RUN)


@pytest.mark.parametrize(
    ("fixtures", "parameters", "sets"),
    [
        ((), {"dataset": "near"}, ("near",)),
        (("id_set",), {"dataset": "near", "metric": "auroc", "k": 1}, ("near", "photos")),
        (("id_set", "ood_groups"), {"group": "all"}, ("far", "near", "photos")),
        ((), {"own_name_for_a_set": "far"}, ("far",)),
        ((), {"dataset": "no set of the profile"}, ()),
        (("id_set", "ood_groups"), {"dataset": "views", "corruption": "fog"}, ("views",)),
    ],
)
def test_sets_are_those_that_parameters_and_fixtures_name(fixtures, parameters, sets):
    expected = Need(model=SPEC.label, sets=sets, title="test_it[x]")
    assert need(*fixtures, clip_model_spec=SPEC, **parameters) == expected


def test_a_test_without_parameters_needs_nothing():
    assert needs_of(item("test_unit"), RUN) == Need(title="test_unit")
    assert not needs_of(item("test_unit"), RUN).matters


def test_a_marker_s_gpus_are_a_need_and_cross_the_wire():
    found = needs_of(item("test_unit", mark=pytest.mark.clip_gpu(count=2, memory=8)), RUN)
    assert found == Need(title="test_unit", gpu=GpuNeed(2, 8.0))
    assert found.matters
    assert Need.from_plain(json.loads(json.dumps(asdict(found)))) == found
    assert needs_of(item("test_unit", mark=pytest.mark.clip_gpu("all")), RUN).gpu is None
