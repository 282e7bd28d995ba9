"""The fixtures and hooks of a run that names a model."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_clip_robust.correspondence_plan import bin_name
from pytest_clip_robust.errors import ClipRobustError, ConfigError
from pytest_clip_robust.foreign import hushed
from pytest_clip_robust.gate import (
    PLACES,
    RECORDS,
    RUN,
    UPDATES,
    Gate,
    baseline_folder,
    is_recording,
    model_label,
    model_spec,
    short_name,
)
from pytest_clip_robust.gates.record import record_error
from pytest_clip_robust.gpu_need import MARKER, gpu_need
from pytest_clip_robust.reference import run_twin
from pytest_clip_robust.report.summary import RunSummary, merge_summaries

if TYPE_CHECKING:
    from pytest_clip_robust.config import RunConfig
    from pytest_clip_robust.evaluation import EvaluatedModel
    from pytest_clip_robust.models.spec import ModelSpec
    from pytest_clip_robust.profile import Profile
    from pytest_clip_robust.properties.shape_bias import CueAnswers
    from pytest_clip_robust.properties.shift import Panel
    from pytest_clip_robust.workbench import Workbench

TURNS = "clip_robust_turns"
"""Where the controller of a parallel run tells its workers in which folder they take turns."""

WORKBENCH: pytest.StashKey[Workbench] = pytest.StashKey()
MODELS: pytest.StashKey[dict[ModelSpec, EvaluatedModel]] = pytest.StashKey()
"""Loaded once: a reference takes turns with the model, and a session's fixture keeps only the last of them."""


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
    models = pytestconfig.stash.setdefault(MODELS, {})
    if clip_model_spec not in models:
        if pytestconfig.stash[RUN].reference is None:
            models.clear()
        models[clip_model_spec] = EvaluatedModel(workbench.load(clip_model_spec), workbench)
    return models[clip_model_spec]


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
def gate(request: pytest.FixtureRequest) -> Gate:
    """Give the gate: `gate(measurement)` fails the test where a value is below its threshold or got worse.

    `gate(measurement, at_least=0.8)`, ``at_most`` and ``tolerance`` stand before the profile's.
    """
    return Gate(request)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> None:
    """Measure the reference first, where there is one."""
    spec = item.config.stash[RUN].reference
    if spec is not None:
        run_twin(item, spec)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail a test that asks for GPUs where this process does not have them."""
    need = gpu_need(item)
    if need is None:
        return
    from pytest_clip_robust.scheduling.room import gpus_of  # noqa: PLC0415 - asks nvidia-smi, for tests that need it

    gpus = gpus_of(item.config)
    if need.fits(gpus):
        return
    found = f"only {', '.join(f'{free:.1f}' for free in gpus)} GiB" if gpus else "none"
    worker = hasattr(item.config, "workerinput")
    way_out = "start with -n and --clip-worker-gpus, or fewer workers" if worker else "run it where they are"
    raise ConfigError(f"this test asks for {need} ({MARKER}) and has {found}: {way_out}")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Count the tests with a gate, for a family-wise error; every worker of xdist collects the same."""
    gated = [item.nodeid for item in session.items if "gate" in getattr(item, "fixturenames", ())]
    session.config.stash[PLACES] = {nodeid: place for place, nodeid in enumerate(gated)}


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
        if "corruption" in metafunc.fixturenames:
            _parametrize_corruptions(metafunc, names, run.profile)
        else:
            metafunc.parametrize("dataset", names or [_absent(roles[0], run.profile)], indirect=True)
    if "angles" in metafunc.fixturenames:
        metafunc.parametrize("angles", run.profile.correspondence.bins, ids=bin_name)


def _parametrize_corruptions(metafunc: pytest.Metafunc, names: list[str], profile: Profile) -> None:
    """Run a test once a kind of corruption, and once a severity if it asks for `severity`."""
    from pytest_clip_robust.datasets.corrupted_folders import corrupted_kinds  # noqa: PLC0415 - reads the disk

    pairs: list[Any] = []
    also = metafunc.definition.get_closest_marker("clip_also")
    unasked = also is not None and also.args[0] not in profile.corruptions.also
    for name in names if not unasked else ():
        kinds: Iterable[str] = profile.corruptions.kinds
        if name in profile.sets("corrupted"):
            try:
                kinds = corrupted_kinds(profile.data[name])
            except ClipRobustError:
                kinds = ["unreadable"]  # the test itself will say why
        pairs += [pytest.param(name, kind, id=f"{name}-{kind}") for kind in kinds]
    reason = f"not asked for: add {also.args[0]!r} to the profile's corruptions.also" if also and unasked else ""
    skip = pytest.mark.skip(reason=reason or _no_set("rgbd", profile))
    absent = pytest.param("", "", id="not-asked-for" if reason else "no-rgbd-set", marks=skip)
    metafunc.parametrize(("dataset", "corruption"), pairs or [absent], indirect=["dataset"])
    if "severity" in metafunc.fixturenames:
        metafunc.parametrize("severity", profile.corruptions.severities if pairs else ["none"])


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
        records.append(
            record_error(line, model=model_label(item), measurement=short_name(item.name, model_label(item)))
        )
        report.user_properties.append(("clip_verdict", "error"))
    if report.when == "call" or report.failed:
        report.clip_records = records  # type: ignore[attr-defined]
        report.clip_updates = item.stash.get(UPDATES, [])  # type: ignore[attr-defined]
        item.stash[RECORDS], item.stash[UPDATES] = [], []
    return report


def check_recording(config: pytest.Config, run: RunConfig) -> None:
    """Refuse to record baselines where it is not clear whose they are.

    Raises:
        ConfigError: two models would write the same folder, a model has none, or the process only encodes a share.
    """
    if not is_recording(config):
        return
    if run.share is not None:
        raise ConfigError(
            f"--snapshot-update: {run.share} measures nothing, so it has nothing to record; record in a run without "
            "RANK and WORLD_SIZE"
        )
    owners: dict[Path, str] = {}
    for spec in run.models:
        folder = baseline_folder(run, spec)
        if folder is None:
            raise ConfigError(
                f"--snapshot-update: {spec.label} names no architecture; say whose baselines these are with "
                "--clip-baseline-name"
            )
        if folder in owners:
            raise ConfigError(
                f"--snapshot-update: {owners[folder]} and {spec.label} would both be recorded in {folder.name!r}; "
                "record one at a time"
            )
        owners[folder] = spec.label


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
        turns = getattr(config, "workerinput", {}).get(TURNS)
        config.stash[WORKBENCH] = Workbench(
            config.stash[RUN], uncaptured=_uncaptured(config), turns=None if turns is None else Path(turns)
        )
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


def _is_ours(item: pytest.Item) -> bool:
    return model_spec(item) is not None or "gate" in getattr(item, "fixturenames", ())
