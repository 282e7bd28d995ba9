"""The fixtures and hooks of a run that names a model."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_clip_robust.core.summary import RunSummary, merge_summaries
from pytest_clip_robust.errors import ClipRobustError, ConfigError
from pytest_clip_robust.gates.record import record_error
from pytest_clip_robust.plugin.gate import Gate, baseline_folder, is_recording, model_label, model_spec, short_name
from pytest_clip_robust.plugin.gpu import MARKER, gpu_need
from pytest_clip_robust.plugin.keys import GATED, MODELS, RECORDS, RUN, SESSION, TURNS, UPDATES
from pytest_clip_robust.plugin.parametrize import _no_set
from pytest_clip_robust.plugin.reference import run_for_reference
from pytest_clip_robust.system.quiet import quiet

if TYPE_CHECKING:
    from pytest_clip_robust.config.profile import Profile
    from pytest_clip_robust.config.run import RunConfig
    from pytest_clip_robust.evaluation.model import EvaluatedModel
    from pytest_clip_robust.evaluation.session import Session
    from pytest_clip_robust.models.spec import ModelSpec
    from pytest_clip_robust.properties.shift import Panel
    from pytest_clip_robust.scoring.cues import CueAnswers


@pytest.fixture(scope="session")
def clip_model_spec(request: pytest.FixtureRequest) -> ModelSpec:
    """Give the spec of the model under test; `pytest_generate_tests` lists them."""
    spec: ModelSpec = request.param
    return spec


@pytest.fixture(scope="session")
def model(clip_model_spec: ModelSpec, pytestconfig: pytest.Config) -> EvaluatedModel:
    """Give the model under test: `model.zero_shot(dataset)` answers with Predictions."""
    session = _session(pytestconfig)
    with quiet():
        from pytest_clip_robust.evaluation.model import EvaluatedModel  # noqa: PLC0415 - as heavy as the session
    models = pytestconfig.stash.setdefault(MODELS, {})
    if clip_model_spec not in models:
        if pytestconfig.stash[RUN].reference is None:
            models.clear()
        models[clip_model_spec] = EvaluatedModel(session.load(clip_model_spec), session)
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
    from pytest_clip_robust.evaluation.cues import read_observers  # noqa: PLC0415 - NumPy, once a test needs it

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
        run_for_reference(item, spec)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail a test that asks for GPUs where this process does not have them."""
    need = gpu_need(item)
    if need is None:
        return
    from pytest_clip_robust.plugin.parallel.capacity import gpus_of  # noqa: PLC0415 - asks nvidia-smi, for tests that need it

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
    session.config.stash[GATED] = {nodeid: place for place, nodeid in enumerate(gated)}


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
    if run.rank is not None:
        raise ConfigError(
            f"--snapshot-update: {run.rank} measures nothing, so it has nothing to record; record in a run without "
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
    if SESSION not in config.stash:
        return merge_summaries([])
    return config.stash[SESSION].summary()


def _session(config: pytest.Config) -> Session:
    """Import what is heavy only when the first test asks for a model."""
    with quiet():
        from pytest_clip_robust.evaluation.session import Session  # noqa: PLC0415

    if SESSION not in config.stash:
        worker = getattr(config, "workerinput", {})
        config.stash[SESSION] = Session(
            config.stash[RUN],
            uncaptured=_uncaptured(config),
            lock_folder=Path(worker[TURNS]) if TURNS in worker else None,
            processes=worker.get("workercount", 1),
        )
    return config.stash[SESSION]


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


def _is_ours(item: pytest.Item) -> bool:
    return model_spec(item) is not None or "gate" in getattr(item, "fixturenames", ())
