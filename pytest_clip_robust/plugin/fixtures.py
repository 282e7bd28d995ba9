"""Fixtures and hooks of a run that names a model."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import SkipTest

import pytest
from _pytest.skipping import evaluate_skip_marks

from pytest_clip_robust.core.summary import RunSummary, merge_summaries
from pytest_clip_robust.errors import ClipRobustError, ConfigError, ModelError, did_you_mean
from pytest_clip_robust.gates.baseline_files import families
from pytest_clip_robust.gates.record import record_error
from pytest_clip_robust.plugin.gate import Gate, baseline_folder, is_recording, model_label, model_spec, short_name
from pytest_clip_robust.plugin.gpu import MARKER, gpu_need
from pytest_clip_robust.plugin.keys import ALPHA, GATED, MODELS, RECORDS, RUN, SESSION, TURNS, UPDATES
from pytest_clip_robust.plugin.parametrize import no_observers, no_panel, no_set, sets_by_group
from pytest_clip_robust.plugin.reference import run_for_reference
from pytest_clip_robust.system.quiet import quiet
from pytest_clip_robust.system.text import one_line

PLUGIN = Path(__file__).parent
PACKAGE = PLUGIN.parent

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
    """Return the spec of the model under test, one of those that `pytest_generate_tests` lists."""
    if not hasattr(request, "param"):
        raise ConfigError("`model` must be an argument of the test or its fixtures; getfixturevalue comes too late")
    spec: ModelSpec = request.param
    return spec


@pytest.fixture(scope="session")
def model(clip_model_spec: ModelSpec, pytestconfig: pytest.Config) -> EvaluatedModel:
    """Return the model under test: `model.zero_shot(dataset)` returns Predictions."""
    session = _session(pytestconfig)
    with quiet():
        from pytest_clip_robust.evaluation.model import EvaluatedModel  # noqa: PLC0415 - imports torch
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
def observers(dataset: str, clip_profile: Profile) -> list[CueAnswers]:
    """Return the decisions of people, or of other models, on the cue-conflict set `dataset`."""
    from pytest_clip_robust.evaluation.cues import read_observers  # noqa: PLC0415 - NumPy, once a test needs it

    if dataset not in clip_profile.observers:
        pytest.skip(no_observers(dataset))
    return read_observers(clip_profile.observers[dataset])


@pytest.fixture
def gate(request: pytest.FixtureRequest) -> Gate:
    """Return the gate: `gate(measurement)` fails the test if the value is below its threshold or got worse.

    `gate(measurement, at_least=0.8)`, ``at_most`` and ``tolerance`` take precedence over the profile's.
    """
    if "gate" not in request.node.fixturenames:
        raise ConfigError(
            "`gate` must be an argument of the test or its fixtures; gates are counted before the first test runs, so "
            "getfixturevalue comes too late"
        )
    return Gate(request)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> None:
    """Measure the reference model first, if there is one."""
    spec = item.config.stash[RUN].reference
    if spec is not None:
        run_for_reference(item, spec)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
    """Prepare a test, or another attempt of it: drop what an earlier attempt reported, and check its GPUs."""
    item.user_properties[:] = [one for one in item.user_properties if not one[0].startswith("clip_")]
    _check_gpus(item)
    with _skips_of_models_are_errors(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Fail a test whose model skips instead of encoding."""
    with _skips_of_models_are_errors(item):
        return (yield)


def _check_gpus(item: pytest.Item) -> None:
    need = gpu_need(item)
    if need is None:
        return
    from pytest_clip_robust.plugin.parallel.capacity import gpus_of  # noqa: PLC0415 - runs nvidia-smi

    gpus = gpus_of(item.config)
    if need.fits(gpus):
        return
    found = f"only {', '.join(f'{free:.1f} GiB' for free in gpus)}" if gpus else "none"
    worker = hasattr(item.config, "workerinput")
    way_out = "raise --clip-worker-gpus, or use fewer workers" if worker else "run it on a machine that has them"
    raise ConfigError(f"this test needs {need} ({MARKER}), but this process has {found}; {way_out}")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Count the tests with a gate and derive the level of each; every worker of xdist collects the same tests.

    Tests with a skip marker do not count. Whether others skip themselves is only known when they run.
    """
    gated = [item for item in session.items if _has_gate(item)]
    session.config.stash[GATED] = {item.nodeid: place for place, item in enumerate(gated)}
    session.config.stash[ALPHA] = session.config.stash[RUN].alpha / max(1, sum(not _is_skipped(one) for one in gated))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show our errors as one line, and attach the records to the report, which xdist sends to the controller."""
    report = yield
    records = item.stash.setdefault(RECORDS, [])
    error = call.excinfo.value if call.excinfo else None
    if isinstance(error, ClipRobustError):
        report.longrepr = str(error)
    unjudged = report.failed and not any(record["verdict"] != "passed" for record in records)
    if unjudged and _is_ours(item):
        line = str(error) if isinstance(error, ClipRobustError) else f"{type(error).__name__}: {error}".splitlines()[0]
        records.append(
            record_error(
                line,
                model=model_label(item),
                measurement=short_name(item.name, model_label(item)),
                test=item.nodeid,
            )
        )
        report.user_properties.append(("clip_verdict", "error"))
    if report.skipped and _has_gate(item):
        report.clip_skipped = True  # type: ignore[attr-defined]
    if report.when == "call" or report.failed:
        report.clip_records = records  # type: ignore[attr-defined]
        report.clip_updates = item.stash.get(UPDATES, [])  # type: ignore[attr-defined]
        item.stash[RECORDS], item.stash[UPDATES] = [], []
    return report


def check_baselines(config: pytest.Config, run: RunConfig) -> None:
    """Check that baselines can be recorded, if syrupy is asked to, or else that those named by an option exist.

    Raises:
        ConfigError: two models would write the same folder, a model has none, the process only encodes its share, or
            baselines that are named do not exist.
    """
    if is_recording(config):
        _check_recording(run)
    elif run.reference is None and run.rank is None:
        _check_existing(run, named=config.getoption("clip_baselines") is not None)


def _check_existing(run: RunConfig, *, named: bool) -> None:
    if named and not run.baselines.is_dir():
        raise ConfigError(
            f"--clip-baselines {run.baselines}: no such directory; to record baselines there, add --snapshot-update"
        )
    known = families(run.baselines)
    if run.baseline_name and known and run.baseline_name not in known:
        raise ConfigError(
            f"--clip-baseline-name {run.baseline_name!r}: no such baselines in {run.baselines}"
            f"{did_you_mean(run.baseline_name, known)}; known: {', '.join(known)}; to record new ones, add "
            "--snapshot-update"
        )


def _check_recording(run: RunConfig) -> None:
    if run.rank is not None:
        raise ConfigError(
            f"--snapshot-update: {run.rank} only encodes and measures nothing; record without RANK and WORLD_SIZE"
        )
    owners: dict[Path, str] = {}
    for spec in run.models:
        folder = baseline_folder(run, spec)
        if folder is None:
            raise ConfigError(
                f"--snapshot-update: {spec.label} does not name its architecture; name the folder of its baselines "
                "with --clip-baseline-name=NAME"
            )
        if folder in owners:
            raise ConfigError(
                f"--snapshot-update: {owners[folder]} and {spec.label} would both be recorded in {folder.name!r}; "
                "record one model at a time"
            )
        owners[folder] = spec.label


def summarise(config: pytest.Config) -> RunSummary:
    """Return what this process has loaded and encoded so far."""
    if SESSION not in config.stash:
        return merge_summaries([])
    return config.stash[SESSION].summary()


def _session(config: pytest.Config) -> Session:
    """Return the run's session; it imports torch, so it is created when the first test asks for a model."""
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
    """Return a context in which output passes pytest's capture, so that the progress of long work is visible."""

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
    return model_spec(item) is not None or _has_gate(item)


def _has_gate(item: pytest.Item) -> bool:
    return "gate" in getattr(item, "fixturenames", ())


def _is_skipped(item: pytest.Item) -> bool:
    """Return whether a marker skips `item`; an invalid marker is reported when the test runs."""
    try:
        return evaluate_skip_marks(item) is not None
    except (Exception, pytest.fail.Exception):  # noqa: BLE001 - conditions are the project's code
        return False


@contextmanager
def _skips_of_models_are_errors(item: pytest.Item) -> Iterator[None]:
    """Raise ModelError if the code of a model, called by this package, ends the test as skipped or the run as passed.

    Raises:
        ModelError: the test would be skipped or expected to fail, or the run would end.
    """
    try:
        yield
    except (pytest.skip.Exception, pytest.xfail.Exception, pytest.exit.Exception, SkipTest) as outcome:
        frames = (Path(frame.f_code.co_filename) for frame, _ in traceback.walk_tb(outcome.__traceback__))
        if not any(PACKAGE in path.parents and PLUGIN not in path.parents for path in frames):
            raise
        how = type(outcome).__name__.lower()
        raise ModelError(
            f"{model_label(item)}: the model's code ended the test ({how}: {one_line(outcome)}); a model that cannot "
            "be evaluated is an error, never a skip"
        ) from None
