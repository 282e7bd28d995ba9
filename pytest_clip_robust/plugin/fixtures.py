"""Fixtures of a run that names a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from pytest_clip_robust.errors import ConfigError, did_you_mean
from pytest_clip_robust.plugin.baseline_folders import baseline_folder
from pytest_clip_robust.plugin.baselines import columns_in, entries_in
from pytest_clip_robust.plugin.gate import Gate
from pytest_clip_robust.plugin.items import has_gate, model_spec
from pytest_clip_robust.plugin.keys import FINDING, MODELS, RUN
from pytest_clip_robust.plugin.parametrize import (
    NO_PANEL_FILE,
    no_observers,
    no_panel,
    no_published,
    no_set,
    sets_by_group,
)
from pytest_clip_robust.plugin.session import session_of
from pytest_clip_robust.system.quiet import quiet

if TYPE_CHECKING:
    from pytest_clip_robust.config.profile import Profile
    from pytest_clip_robust.core.evidence import Column
    from pytest_clip_robust.evaluation.model import EvaluatedModel
    from pytest_clip_robust.models.spec import ModelSpec
    from pytest_clip_robust.properties.reference_panels.lines import PanelLine
    from pytest_clip_robust.properties.shift import Panel
    from pytest_clip_robust.scoring.cues import CueAnswers


@pytest.fixture(scope="session")
def clip_model_spec(request: pytest.FixtureRequest) -> ModelSpec:
    """Return the spec of the model under test, one of those that `pytest_generate_tests` lists."""
    if not hasattr(request, "param"):
        raise ConfigError("`model` must be an argument of the test or its fixtures; getfixturevalue comes too late")
    spec: ModelSpec = request.param
    return spec


@pytest.fixture(scope="session")
def model(clip_model_spec: ModelSpec, pytestconfig: pytest.Config) -> EvaluatedModel:
    """Return the model under test: `model.zero_shot(dataset)` returns Predictions."""
    session = session_of(pytestconfig)
    with quiet():
        from pytest_clip_robust.evaluation.model import EvaluatedModel  # noqa: PLC0415 - imports SciPy and more
    models = pytestconfig.stash.setdefault(MODELS, {})
    if clip_model_spec not in models:
        if pytestconfig.stash[RUN].reference is None:
            models.clear()
        models[clip_model_spec] = EvaluatedModel(session.load(clip_model_spec), session)
    return models[clip_model_spec]


@pytest.fixture(scope="session")
def clip_profile(pytestconfig: pytest.Config) -> Profile:
    """Return the run's Profile: roles, data sets, prompts, thresholds and panels."""
    return pytestconfig.stash[RUN].profile


@pytest.fixture
def dataset(request: pytest.FixtureRequest) -> str:
    """Return the name of a data set in the role that the test's ``clip_role`` marker names."""
    if not hasattr(request, "param"):
        raise ConfigError('`dataset` needs a role: mark the test with @pytest.mark.clip_role("id"), or another role')
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def id_set(clip_profile: Profile) -> str:
    """Return the name of the in-distribution set, which shifts are measured against."""
    names = clip_profile.sets("id")
    if not names:
        raise ConfigError(no_set("id", clip_profile))
    return names[0]


@pytest.fixture(scope="session")
def ood_groups(clip_profile: Profile) -> dict[str, list[str]]:
    """Return the OOD sets by group, and all of them as the group ``all``."""
    return sets_by_group(clip_profile)


@pytest.fixture
def panel(dataset: str, clip_profile: Profile) -> Panel:
    """Return the reference models that effective robustness on `dataset` is measured against."""
    from pytest_clip_robust.properties.shift import read_panel  # noqa: PLC0415 - SciPy, once a test needs it

    if dataset not in clip_profile.panels:
        pytest.skip(no_panel(dataset))
    return read_panel(clip_profile.panels[dataset])


@pytest.fixture
def panel_line(request: pytest.FixtureRequest, dataset: str, clip_profile: Profile) -> PanelLine:
    """Return the line through the published accuracies of a shipped panel on `dataset`; a test runs once per panel."""
    from pytest_clip_robust.properties.reference_panels import lines  # noqa: PLC0415 - SciPy, once a test needs it

    if not hasattr(request, "param"):
        raise ConfigError('`panel_line` needs the fixture `dataset` and a role: @pytest.mark.clip_role("shift")')
    if reason := no_published(dataset, clip_profile):
        pytest.skip(reason)
    return lines.panel_line(request.param, clip_profile.data[dataset].published_as)


@pytest.fixture
def observers(dataset: str, clip_profile: Profile) -> list[CueAnswers]:
    """Return the decisions of people, or of other models, on the cue-conflict set `dataset`."""
    from pytest_clip_robust.evaluation.cues import read_observers  # noqa: PLC0415 - NumPy, once a test needs it

    if dataset not in clip_profile.observers:
        pytest.skip(no_observers(dataset))
    return read_observers(clip_profile.observers[dataset])


@pytest.fixture
def decide_on_panel(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Return a function that leaves the outcome of the test to a finding, by its name, on all models of the panel.

    The process that owns the terminal decides it when all models were measured (`plugin.panel_study`).
    """
    from pytest_clip_robust.properties.findings.registry import FINDINGS  # noqa: PLC0415 - SciPy, once it is needed

    if request.config.stash[RUN].panel is None:
        pytest.skip(NO_PANEL_FILE)

    def decide(name: str) -> None:
        if name not in FINDINGS:
            near = did_you_mean(name, FINDINGS)
            raise ConfigError(f"no finding {name!r}{near}; the findings are {', '.join(FINDINGS)}")
        request.node.user_properties.append((FINDING, name))

    return decide


@pytest.fixture
def stored_columns(request: pytest.FixtureRequest) -> Callable[[str], dict[tuple[str, str], Column]]:
    """Return a function that reads the evidence of a stored baseline: the key of a measurement -> its columns.

    Columns are named by stratum and column. Without a baseline the result is empty.

    Raises:
        BaselineError: when called, if the baseline is damaged.
    """
    item, run = request.node, request.config.stash[RUN]
    folder = baseline_folder(run, model_spec(item))

    def columns(key: str) -> dict[tuple[str, str], Column]:
        path = None if folder is None else folder / f"{item.path.stem}.json"
        entry = None if path is None else entries_in(path).get(key)
        if path is None or entry is None:
            return {}
        stored = columns_in(path.with_suffix(".parquet")).get(entry["outcomes"], ())
        return {(stratum, name): values for stratum, name, values in stored}

    return columns


@pytest.fixture
def gate(request: pytest.FixtureRequest) -> Gate:
    """Return the gate: `gate(measurement)` fails the test if the value is below its threshold or got worse.

    `gate(measurement, at_least=0.8)`, ``at_most`` and ``tolerance`` take precedence over the profile's.
    """
    if not has_gate(request.node):
        raise ConfigError(
            "`gate` must be an argument of the test or its fixtures; gates are counted before the first test runs, so "
            "getfixturevalue comes too late"
        )
    return Gate(request)
