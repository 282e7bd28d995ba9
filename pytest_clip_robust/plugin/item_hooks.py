"""Hooks around each test: the reference, GPUs, skips of a model's code, and the records of gates in reports."""

from __future__ import annotations

import traceback
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import SkipTest

import pytest
from _pytest.skipping import evaluate_skip_marks, xfailed_key

from pytest_clip_robust.errors import ClipRobustError, ConfigError, ModelError, NotApplicableError
from pytest_clip_robust.gates.record import record_error
from pytest_clip_robust.plugin.gpu import MARKER, gpu_need
from pytest_clip_robust.plugin.items import has_gate, model_label, model_spec, short_name
from pytest_clip_robust.plugin.keys import ALPHA, GATED, OUTCOMES, RECORDS, RUN, SESSION, UPDATES
from pytest_clip_robust.plugin.reference import run_for_reference
from pytest_clip_robust.system.text import one_line

NOT_APPLICABLE = "clip_not_applicable"
"""The attribute of a skip with the reason why the test does not apply to the model."""

NOT_FOR_MODEL = "not applicable: "
"""The beginning of the reason of such a skip."""

PLUGIN = Path(__file__).parent
PACKAGE = PLUGIN.parent


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
    with _not_applicable_is_skipped(), _skips_of_models_are_errors(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Fail a test whose model skips instead of encoding."""
    with _not_applicable_is_skipped(), _skips_of_models_are_errors(item):
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


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the processes of the run's engine."""
    if SESSION in config.stash:
        config.stash[SESSION].close()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Number the tests with a gate and derive the level of each; every worker of xdist collects the same tests.

    By Bonferroni's correction, tests with a skip marker do not count. Whether others skip themselves is only known when
    they run.
    """
    run = session.config.stash[RUN]
    gated = [item for item in session.items if has_gate(item)]
    session.config.stash[GATED] = {item.nodeid: place for place, item in enumerate(gated)}
    counted = sum(not _is_skipped(item) for item in gated) if run.correction == "bonferroni" else 1
    session.config.stash[ALPHA] = run.alpha / max(1, counted)


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
    if unjudged and (model_spec(item) is not None or has_gate(item)):
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
    if report.when == "call" and (expected := _expected_failure(item)) is not None:
        report.clip_xfail = expected  # type: ignore[attr-defined]
    if report.skipped and has_gate(item):
        report.clip_skipped = True  # type: ignore[attr-defined]
    if report.skipped and (reason := getattr(error, NOT_APPLICABLE, "")):
        report.clip_not_applicable = reason  # type: ignore[attr-defined]
    if report.when == "call" or report.failed:
        report.clip_records = records  # type: ignore[attr-defined]
        report.clip_updates = item.stash.get(UPDATES, [])  # type: ignore[attr-defined]
        report.clip_outcomes = item.stash.get(OUTCOMES, [])  # type: ignore[attr-defined]
        item.stash[RECORDS], item.stash[UPDATES], item.stash[OUTCOMES] = [], [], []
    return report


def _expected_failure(item: pytest.Item) -> str | None:
    """Return the reason of a marker that expects a gate of `item` to fail, or None."""
    mark = item.stash.get(xfailed_key, None)
    if mark is None:
        return None
    raises = pytest.fail.Exception if mark.raises is None else mark.raises
    expects = isinstance(raises, type | tuple) and issubclass(pytest.fail.Exception, raises)
    return mark.reason if expects else None


def _is_skipped(item: pytest.Item) -> bool:
    """Return whether a marker skips `item`; an invalid marker is reported when the test runs."""
    try:
        return evaluate_skip_marks(item) is not None
    except (Exception, pytest.fail.Exception):  # noqa: BLE001 - conditions are the project's code
        return False


@contextmanager
def _not_applicable_is_skipped() -> Iterator[None]:
    """Skip a test of a part that the model does not have, such as a text encoder."""
    try:
        yield
    except NotApplicableError as error:
        outcome = pytest.skip.Exception(f"{NOT_FOR_MODEL}{error}", _use_item_location=True)
        setattr(outcome, NOT_APPLICABLE, str(error))
        raise outcome from None


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
