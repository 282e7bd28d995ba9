"""The fixtures and hooks of a run that names a model."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from pytest_clip_robust.config import RunConfig
from pytest_clip_robust.errors import ClipRobustError, ConfigError
from pytest_clip_robust.foreign import hushed
from pytest_clip_robust.gates import Threshold, explain, find_threshold, judge
from pytest_clip_robust.gates.record import Record, junit_properties, record_error, record_judgement
from pytest_clip_robust.report.summary import RunSummary, merge_summaries

if TYPE_CHECKING:
    from pytest_clip_robust.evaluation import EvaluatedModel
    from pytest_clip_robust.measurement import Measurement
    from pytest_clip_robust.models.spec import ModelSpec
    from pytest_clip_robust.profile import Profile
    from pytest_clip_robust.properties.shape_bias import CueAnswers
    from pytest_clip_robust.properties.shift import Panel
    from pytest_clip_robust.workbench import Workbench

RUN: pytest.StashKey[RunConfig] = pytest.StashKey()
WORKBENCH: pytest.StashKey[Workbench] = pytest.StashKey()
RECORDS: pytest.StashKey[list[Record]] = pytest.StashKey()


@pytest.fixture(scope="session")
def clip_model_spec(request: pytest.FixtureRequest) -> ModelSpec:
    """Give the spec of the model under test; `pytest_generate_tests` lists them."""
    spec: ModelSpec = request.param
    return spec


@pytest.fixture(scope="session")
def model(clip_model_spec: ModelSpec, pytestconfig: pytest.Config) -> EvaluatedModel:
    """Give the model under test: `model.zero_shot(dataset)` answers with Predictions."""
    workbench = _workbench(pytestconfig)
    with hushed():
        from pytest_clip_robust.evaluation import EvaluatedModel  # noqa: PLC0415 - as heavy as the workbench
    return EvaluatedModel(workbench.load(clip_model_spec), workbench)


@pytest.fixture(scope="session")
def clip_profile(pytestconfig: pytest.Config) -> Profile:
    """Give the run's Profile: roles, data sets, prompts, thresholds and panels."""
    return pytestconfig.stash[RUN].profile


@pytest.fixture
def dataset(request: pytest.FixtureRequest) -> str:
    """Give the name of a data set in the role that the test's ``clip_role`` marker names."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def id_set(clip_profile: Profile) -> str:
    """Give the name of the in-distribution set, which shifts are measured against."""
    names = clip_profile.sets("id")
    if not names:
        raise ConfigError(_no_set("id", clip_profile))
    return names[0]


@pytest.fixture(scope="session")
def ood_groups(clip_profile: Profile) -> dict[str, list[str]]:
    """Give the OOD sets of each group that has any, and of ``all``."""
    groups: dict[str, list[str]] = {}
    for name in clip_profile.sets("ood"):
        for group in (clip_profile.data[name].group, "all"):
            groups.setdefault(group, []).append(name)
    return groups


@pytest.fixture
def panel(dataset: str, clip_profile: Profile) -> Panel:
    """Give the reference models that effective robustness on `dataset` is measured against."""
    from pytest_clip_robust.properties.shift import read_panel  # noqa: PLC0415 - SciPy, once a test needs it

    if dataset not in clip_profile.panels:
        pytest.skip(f"no panel of reference models for {dataset!r}: name a CSV file in the profile's [panels]")
    return read_panel(clip_profile.panels[dataset])


@pytest.fixture
def observers(dataset: str, clip_profile: Profile) -> list[CueAnswers]:
    """Give what people, or other models, answered about the cue-conflict set `dataset`."""
    from pytest_clip_robust.observers import read_observers  # noqa: PLC0415 - NumPy, once a test needs it

    if dataset not in clip_profile.observers:
        pytest.skip(f"no observers of {dataset!r}: name tables of decisions in the profile's [observers]")
    return read_observers(clip_profile.observers[dataset])


@pytest.fixture
def gate(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Give the gate: `gate(measurement)` holds it against the profile's threshold and fails the test below it.

    `gate(measurement, at_least=0.8)` or ``at_most`` sets the threshold in the test itself.
    """

    def hold(measurement: Measurement, *, at_least: float | None = None, at_most: float | None = None) -> None:
        run = request.config.stash[RUN]
        threshold = _inline_threshold(at_least, at_most, request.node.nodeid)
        if threshold is None:
            found = find_threshold(measurement, run.profile.thresholds)
            threshold = found[1] if found else None
        judgement = judge(measurement, threshold, strict=run.strict)
        message = explain(judgement) if judgement.verdict.fails else ""
        record = record_judgement(judgement, model=_model_label(request.node), message=message)
        request.node.stash.setdefault(RECORDS, []).append(record)
        request.node.user_properties.extend(junit_properties(record))
        if judgement.verdict.fails:
            pytest.fail(message, pytrace=False)

    return hold


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once a model, and once a data set of the role it asks for.

    Only our own `model` fixture pulls `clip_model_spec` in, so a project's own `model` fixture is left alone.
    """
    run = metafunc.config.stash[RUN]
    if "clip_model_spec" in metafunc.fixturenames:
        labels = [spec.label for spec in run.models]
        metafunc.parametrize("clip_model_spec", run.models, ids=labels, indirect=True, scope="session")
    marker = metafunc.definition.get_closest_marker("clip_role")
    if marker is not None and "dataset" in metafunc.fixturenames:
        roles = _roles_of(marker)
        names = list(dict.fromkeys(name for role in roles for name in run.profile.sets(role)))
        metafunc.parametrize("dataset", names or [_absent(roles[0], run.profile)], indirect=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show our errors as one line, and hand the records to whoever collects reports, over xdist's wire too."""
    report = yield
    records = item.stash.setdefault(RECORDS, [])
    error = call.excinfo.value if call.excinfo else None
    if isinstance(error, ClipRobustError):
        report.longrepr = str(error)
    unjudged = report.failed and not any(record["verdict"] != "passed" for record in records)
    if unjudged and _is_ours(item):
        line = str(error) if isinstance(error, ClipRobustError) else f"{type(error).__name__}: {error}".splitlines()[0]
        records.append(record_error(line, model=_model_label(item), measurement=_short_name(item)))
        report.user_properties.append(("clip_verdict", "error"))
    if report.when == "call" or report.failed:
        report.clip_records = records  # type: ignore[attr-defined]
        item.stash[RECORDS] = []
    return report


def summarise(config: pytest.Config) -> RunSummary:
    """Say what this process has loaded and encoded; nothing, where no test has needed a model yet."""
    if WORKBENCH not in config.stash:
        return merge_summaries([])
    return config.stash[WORKBENCH].summary()


def _workbench(config: pytest.Config) -> Workbench:
    """Import what is heavy only when the first test asks for a model."""
    with hushed():
        from pytest_clip_robust.workbench import Workbench  # noqa: PLC0415

    if WORKBENCH not in config.stash:
        config.stash[WORKBENCH] = Workbench(config.stash[RUN], uncaptured=_uncaptured(config))
    return config.stash[WORKBENCH]


def _uncaptured(config: pytest.Config) -> Callable[[], AbstractContextManager[None]]:
    """Let progress through pytest's capture, so that long work is seen while it happens."""

    @contextmanager
    def opened() -> Iterator[None]:
        capture = config.pluginmanager.getplugin("capturemanager")
        if capture is None or not config.pluginmanager.hasplugin("terminalreporter"):
            yield
            return
        with capture.global_and_fixture_disabled():
            yield

    return opened


def _inline_threshold(at_least: float | None, at_most: float | None, nodeid: str) -> Threshold | None:
    bounds = {name: bound for name, bound in (("at_least", at_least), ("at_most", at_most)) if bound is not None}
    return Threshold(**bounds, source=f"the test {nodeid.rpartition('::')[2]}") if bounds else None


def _roles_of(marker: pytest.Mark) -> tuple[str, ...]:
    if not marker.args or not all(isinstance(role, str) for role in marker.args):
        raise pytest.UsageError(f"clip_role{marker.args}: expected a role, or several, such as clip_role('shift')")
    return marker.args


def _absent(role: str, profile: Profile) -> Any:
    return pytest.param("", id=f"no-{role}-set", marks=pytest.mark.skip(reason=_no_set(role, profile)))


def _no_set(role: str, profile: Profile) -> str:
    return (
        f"no data set plays the role {role!r} in profile {profile.name!r}; "
        f"give one with --clip-data NAME=LOCATION?role={role}"
    )


def _model_label(item: pytest.Item) -> str:
    spec = _params(item).get("clip_model_spec")
    return "" if spec is None else spec.label


def _short_name(item: pytest.Item) -> str:
    """Name the test without its model, which has a column of its own."""
    return item.name.replace(f"{_model_label(item)}-", "", 1).replace(f"[{_model_label(item)}]", "", 1)


def _is_ours(item: pytest.Item) -> bool:
    return "clip_model_spec" in _params(item) or "gate" in getattr(item, "fixturenames", ())


def _params(item: pytest.Item) -> dict[str, Any]:
    callspec = getattr(item, "callspec", None)
    return {} if callspec is None else callspec.params
