"""Parametrization of tests by model, data set, corruption, OOD score and view angle.

What the profile leaves out is skipped by a marker and not by the test: skipped tests must not count as gates, and the
gates are counted before the first test runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from pytest_clip_robust.config.sections import bin_name
from pytest_clip_robust.errors import ClipRobustError
from pytest_clip_robust.models.spec import LMM, ModelSpec
from pytest_clip_robust.names import OOD_SCORES, PUBLISHED_SETS, REFERENCE_PANELS
from pytest_clip_robust.plugin.keys import RUN

if TYPE_CHECKING:
    from pytest_clip_robust.config.profile import Profile
    from pytest_clip_robust.config.run import RunConfig

NO_PANEL_FILE = "findings are about several models; name them in a panel file: --clip-panel FILE"


NO_SET = "no data set has the role"
"""The beginning of the reason why tests of a role that no set plays are skipped."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once per model, and once per data set of the role it asks for.

    Only our `model` fixture requests `clip_model_spec`, so a project's own `model` fixture is never parametrized.
    """
    run = metafunc.config.stash[RUN]
    if "clip_model_spec" in metafunc.fixturenames:
        models = _models_for(metafunc, run)
        labels = [spec.label for spec in models]
        metafunc.parametrize("clip_model_spec", models, ids=labels, indirect=True, scope="session")
    marker = metafunc.definition.get_closest_marker("clip_role")
    if marker is not None and "dataset" in metafunc.fixturenames:
        roles = _roles_of(marker)
        names = list(dict.fromkeys(name for role in roles for name in run.profile.sets(role)))
        if "corruption" in metafunc.fixturenames:
            _parametrize_corruptions(metafunc, names, run.profile)
        elif "panel_line" in metafunc.fixturenames and _uses_our("panel_line", metafunc):
            _parametrize_panels(metafunc, names or [""], run.profile)
        else:
            sets = [_dataset_parameter(metafunc, name, run.profile) for name in names]
            metafunc.parametrize("dataset", sets or [_absent(roles[0], run.profile)], indirect=True)
    if "decide_on_panel" in metafunc.fixturenames and "finding" in metafunc.fixturenames:
        metafunc.parametrize("finding", _findings(run))
    if "ood_score" in metafunc.fixturenames:
        metafunc.parametrize("ood_score", [_score_parameter(score, run.profile) for score in OOD_SCORES])
    if "ood_group" in metafunc.fixturenames:
        metafunc.parametrize("ood_group", [_group_parameter(group, run.profile) for group in ("near", "far", "all")])
    if "angles" in metafunc.fixturenames:
        metafunc.parametrize("angles", run.profile.correspondence.bins, ids=bin_name)


def _models_for(metafunc: pytest.Metafunc, run: RunConfig) -> Sequence[ModelSpec]:
    """Return the models that a test of a shipped suite is about: large multimodal models, or all others.

    If the run has no such model, all are returned: the tests are then skipped, and say why.
    """
    suite = metafunc.definition.get_closest_marker("clip_suite")
    if suite is None:
        return run.models
    return [spec for spec in run.models if (spec.kind == LMM) == (LMM in suite.args)] or run.models


def _parametrize_corruptions(metafunc: pytest.Metafunc, names: list[str], profile: Profile) -> None:
    """Run a test once per kind of corruption, and once per severity if it asks for `severity`."""
    from pytest_clip_robust.datasets.images.corrupted_folders import corrupted_kinds  # noqa: PLC0415 - reads the disk

    pairs: list[Any] = []
    also = metafunc.definition.get_closest_marker("clip_also")
    disabled = also is not None and also.args[0] not in profile.corruptions.also
    for name in names if not disabled else ():
        kinds: Iterable[str] = profile.corruptions.kinds
        if name in profile.sets("corrupted"):
            try:
                kinds = corrupted_kinds(profile.data[name])
            except ClipRobustError:
                kinds = ["unreadable"]  # the test itself reports why
        pairs += [pytest.param(name, kind, id=f"{name}-{kind}") for kind in kinds]
    reason = f"not enabled; add {also.args[0]!r} to corruptions.also in the profile" if also and disabled else ""
    skip = pytest.mark.skip(reason=reason or no_set("corruptions", profile))
    absent = pytest.param("", "", id="not-asked-for" if reason else "no-corruptions-set", marks=skip)
    metafunc.parametrize(("dataset", "corruption"), pairs or [absent], indirect=["dataset"])
    if "severity" in metafunc.fixturenames:
        metafunc.parametrize("severity", profile.corruptions.severities if pairs else ["none"])


def _parametrize_panels(metafunc: pytest.Metafunc, names: list[str], profile: Profile) -> None:
    """Run a test once per data set and shipped panel with published results on it."""
    pairs: list[Any] = []
    for name in names:
        reason = no_published(name, profile) if name else no_set("shift", profile)
        if reason:
            pairs.append(pytest.param(name, "", id=name or "no-shift-set", marks=pytest.mark.skip(reason=reason)))
            continue
        published = profile.data[name].published_as
        pairs += [
            pytest.param(name, panel, id=f"{name}-{panel}")
            for panel, sets in REFERENCE_PANELS.items()
            if published in sets
        ]
    metafunc.parametrize(("dataset", "panel_line"), pairs, indirect=True)


def _dataset_parameter(metafunc: pytest.Metafunc, name: str, profile: Profile) -> Any:
    """Return the data set, with a skip marker if the test needs a panel or observers that the profile does not have."""
    for fixture, known, reason in (
        ("panel", profile.panels, no_panel(name)),
        ("observers", profile.observers, no_observers(name)),
    ):
        if name not in known and _uses_our(fixture, metafunc):
            return pytest.param(name, marks=pytest.mark.skip(reason=reason))
    return name


def _findings(run: RunConfig) -> list[Any]:
    """Return the names of all findings, or one skipped test if the run has no panel."""
    if run.panel is None:
        return [pytest.param("", id="no-panel", marks=pytest.mark.skip(reason=NO_PANEL_FILE))]
    from pytest_clip_robust.properties.findings.registry import FINDINGS  # noqa: PLC0415 - SciPy

    return list(FINDINGS)


def _score_parameter(score: str, profile: Profile) -> Any:
    if not profile.ood_scores or score in profile.ood_scores:
        return score
    return pytest.param(score, marks=pytest.mark.skip(reason=f"{score!r} is not in ood.scores of the profile"))


def _group_parameter(group: str, profile: Profile) -> Any:
    if len(sets_by_group(profile).get(group, ())) > 1:
        return group
    reason = f"the group {group!r} has fewer than two OOD sets, so it has no mean; mark sets with group = {group!r}"
    return pytest.param(group, marks=pytest.mark.skip(reason=reason))


def sets_by_group(profile: Profile) -> dict[str, list[str]]:
    """Return the OOD sets by group, and all of them as the group ``all``."""
    groups: dict[str, list[str]] = {}
    for name in profile.sets("ood"):
        for group in (profile.data[name].group, "all"):
            groups.setdefault(group, []).append(name)
    return groups


def no_panel(dataset: str) -> str:
    """Return why a test of effective robustness on `dataset` is skipped."""
    return f"no panel of reference models for {dataset!r}; name a CSV file in the profile's [panels]"


def no_published(dataset: str, profile: Profile) -> str:
    """Return why `dataset` is not compared with published models, or ``""`` if it is."""
    id_set, *shifted = PUBLISHED_SETS
    if profile.data[dataset].published_as not in shifted:
        return (
            f"no shipped panel has results on {dataset!r}; if it is one of {', '.join(shifted)}, say so with "
            "published_as in its [data] table"
        )
    if not any(profile.data[name].published_as == id_set for name in profile.sets("id")):
        return f"published results are relative to {id_set!r}, which is not the ID set of profile {profile.name!r}"
    return ""


def no_observers(dataset: str) -> str:
    """Return why a test of error consistency on `dataset` is skipped."""
    return f"no observers of {dataset!r}; name tables of decisions in the profile's [observers]"


def _uses_our(fixture: str, metafunc: pytest.Metafunc) -> bool:
    """Return whether the test uses this plugin's `fixture`, and not a project's own one of that name."""
    definitions = metafunc._arg2fixturedefs.get(fixture, ())  # noqa: SLF001 - pytest has no public way to ask
    return bool(definitions) and definitions[-1].func.__module__ == "pytest_clip_robust.plugin.fixtures"


def _roles_of(marker: pytest.Mark) -> tuple[str, ...]:
    if not marker.args or not all(isinstance(role, str) for role in marker.args):
        raise pytest.UsageError(f"clip_role{marker.args}: expected one or more roles, such as clip_role('shift')")
    return marker.args


def _absent(role: str, profile: Profile) -> Any:
    return pytest.param("", id=f"no-{role}-set", marks=pytest.mark.skip(reason=no_set(role, profile)))


def no_set(role: str, profile: Profile) -> str:
    """Return why a test that asks for `role` is skipped."""
    return f"{NO_SET} {role!r} in profile {profile.name!r}; give one with --clip-data NAME=LOCATION?role={role}"
