from __future__ import annotations

from types import SimpleNamespace

import pytest

from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.scheduling.grouping import Need
from pytest_clip_robust.scheduling.hooks import needs_of

ROLES = {"id": ("photos", "more"), "ood": ("near", "far"), "rgbd": ("views",)}
RUN = SimpleNamespace(
    profile=SimpleNamespace(data=dict.fromkeys(sum(ROLES.values(), ())), sets=lambda role: ROLES.get(role, ()))
)
SPEC = ModelSpec.parse("ViT-B-32@openai")


def need(*fixtures, **parameters):
    name = f"test_it[{SPEC.label}-x]"
    callspec = SimpleNamespace(params=parameters)
    return needs_of(SimpleNamespace(name=name, callspec=callspec, fixturenames=fixtures), RUN)


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
    assert needs_of(SimpleNamespace(name="test_unit"), RUN) == Need(title="test_unit")
