"""Entry point of the plugin: options, markers and registration.

Nothing heavy is imported until a run names a model. Without a model the plugin adds its options and does nothing else.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_clip_robust.config.run import RunConfig

EXAMPLE = "pytest --model ViT-B-32@openai --clip-data photos=/path/to/class-folders"

NO_MODEL = f"no model given, so there is nothing to evaluate; for example: {EXAMPLE}"

NO_MODEL_TO_CHECK = "--clip-check: no model given; for example: pytest --clip-check --model ViT-B-32@openai"

MODEL_OPTION_TAKEN = "--model is defined by another plugin or conftest here; give the model with --clip-model instead"

TAKEN: pytest.StashKey[bool] = pytest.StashKey()

MARKERS = (
    "clip_suite(kind): a shipped suite, which needs --model; with kind 'lmm', one of large multimodal models.",
    "clip_adversarial: attacks the model through its gradients; only profiles with the role `adversarial` run it.",
    "clip_also(name): run the test only if the profile lists `name` in corruptions.also.",
    "clip_gpu(memory=GIB, count=N): run the test where N GPUs (default: 1) have GIB of memory each, or fail it.",
    "clip_role(role, ...): run the test once per data set that has one of the roles, as argument `dataset`.",
)

OPTIONS = (
    (
        "profile",
        "NAME|FILE",
        "",
        "Profile: data sets, their roles, prompts and thresholds (TOML file or built-in name)",
    ),
    ("panel", "FILE", "", "Evaluate the models of this TOML file, and write one table of all results (docs/study.md)"),
    (
        "findings",
        "fail|inform",
        "inform",
        "A finding of the study that does not hold on the panel fails its test, or is only shown (default: inform)",
    ),
    ("reference", "SPEC", "", "Compare with this model, evaluated in the same run, instead of with stored baselines"),
    ("baselines", "DIR", "baselines", "Directory of stored baselines (default: baselines, next to the ini file)"),
    ("baseline-name", "NAME", "", "Subdirectory of the model's baselines (default: the name of its architecture)"),
    ("alpha", "P", "0.05", "Chance that a run reports a regression while nothing got worse (default: 0.05)"),
    (
        "correction",
        "NAME",
        "benjamini-hochberg",
        "Correction for many gates: benjamini-hochberg, at the end of the run, or bonferroni (default: the first)",
    ),
    ("cache", "DIR|URL", "", "Feature store: a directory or fsspec URL (default: the user cache directory)"),
    ("report", "DIR", "", "Write report.json, index.html, summary.md and results.parquet to this directory"),
    ("device", "DEVICE", "auto", "Device that encodes: auto, cpu, cuda, cuda:N or mps (default: auto)"),
    ("precision", "P", "fp32", "Precision of the model: fp32, bf16 or fp16 (default: fp32)"),
    ("batch-size", "N", "", "Images per batch (default: as many as fit on a GPU, 16 on CPU)"),
    ("workers", "N", "", "Image-decoding processes; 0 decodes in-process (default: one per core with a GPU, 2 on CPU)"),
    ("pixel-cache", "SIZE|off", "4GiB", "Disk space for resized images, which later models reuse (default: 4GiB)"),
    (
        "engine",
        "local|ray|ray://HOST:PORT",
        "local",
        "Encode in this process, or on a Ray cluster: this one, that of RAY_ADDRESS, or a new one (default: local)",
    ),
    ("worker-memory", "GIB", "", "GPU memory that each xdist worker needs, so that several workers can share a GPU"),
    ("worker-gpus", "N", "1", "GPUs of the first xdist worker, for tests that need several (default: 1)"),
)
"""Options with a value and an ini setting of the same name: name, metavar, default, help."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add every option with its ini setting; ``--model`` is added later, if no other plugin defines it."""
    group = parser.getgroup("clip-robust", "robustness of CLIP-like models")
    _add_model_option(group, "--clip-model")
    parser.addini("clip_model", "Models to evaluate if the command line names none", type="linelist", default=[])
    group.addoption(
        "--clip-data",
        action="append",
        metavar="NAME=LOCATION",
        help="Location of a data set: directory, .parquet, .tar or Hub name, with options such as ?label=COLUMN "
        "(can be repeated)",
    )
    parser.addini("clip_data", "Data sets, one NAME=LOCATION per line", type="linelist", default=[])
    for name, metavar, default, text in OPTIONS:
        dest = f"clip_{name.replace('-', '_')}"
        group.addoption(f"--clip-{name}", dest=dest, metavar=metavar, help=text)
        parser.addini(dest, text, default=default)
    text = "Only check that the data sets of the profile are there, and say how to get the others; run no tests"
    group.addoption("--clip-data-check", action="store_true", help=text)
    text = "Only check that the models are complete and work, in seconds; run no tests"
    group.addoption("--clip-check", action="store_true", help=text)
    for name, text in (
        ("compile", "Run the model's towers through torch.compile"),
        ("strict", "Also fail gates with no baseline or an inconclusive comparison, and thresholds that match nothing"),
    ):
        group.addoption(f"--clip-{name}", action="store_true", help=text)
        parser.addini(f"clip_{name}", text, type="bool", default=False)


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config, parser: pytest.Parser) -> Generator[None]:
    """Add ``--model`` unless another plugin or an initial conftest has added it; adding it twice would crash pytest."""
    yield
    early_config.stash[TAKEN] = "--model" in _options_so_far(parser)
    if not early_config.stash[TAKEN]:
        _add_model_option(parser.getgroup("clip-robust"), "--model")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Check data or models in place of a session, if asked to; tests are not collected and no worker is started."""
    if config.getoption("clip_data_check") and not config.getoption("help"):
        from pytest_clip_robust.plugin.data_check import run_data_checks  # noqa: PLC0415

        return run_data_checks(config)
    if not config.getoption("clip_check") or config.getoption("help"):
        return None
    if not _names_models(config):
        raise pytest.UsageError(MODEL_OPTION_TAKEN if config.stash[TAKEN] else NO_MODEL_TO_CHECK)
    _share_the_machine(config)
    from pytest_clip_robust.plugin.model_check import run_checks  # noqa: PLC0415

    return run_checks(config)


def pytest_configure(config: pytest.Config) -> None:
    """Read the configuration and register the fixtures, if the run names a model."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    if _names_models(config):
        _start(config)
    else:
        config.pluginmanager.register(_NoModel(), "clip-robust-no-model")


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Return the number of workers for ``-n auto``; pytest-xdist asks before pytest is configured."""
    if not _names_models(config):
        return None
    from pytest_clip_robust.plugin.parallel.capacity import auto_workers  # noqa: PLC0415

    return auto_workers(config)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Raise a usage error if a shipped suite is run without a model: skipping it would look like a pass."""
    unnamed = config.pluginmanager.hasplugin("clip-robust-no-model")
    if unnamed and any(item.get_closest_marker("clip_suite") for item in items):
        raise pytest.UsageError(MODEL_OPTION_TAKEN if config.stash[TAKEN] else NO_MODEL)


def _names_models(config: pytest.Config) -> bool:
    """Return whether the command line or the ini file names a model or a panel of models."""
    asked = (config.getoption("clip_models"), config.getoption("clip_panel"))
    return any(asked) or bool(config.getini("clip_model") or config.getini("clip_panel"))


def _start(config: pytest.Config) -> None:
    """Register what a run with a model needs; it is imported here, so that other runs of pytest stay fast."""
    _share_the_machine(config)
    from pytest_clip_robust.config.checking import check_profile  # noqa: PLC0415
    from pytest_clip_robust.errors import ClipRobustError  # noqa: PLC0415
    from pytest_clip_robust.plugin import fixtures, item_hooks, parametrize  # noqa: PLC0415
    from pytest_clip_robust.plugin.baseline_folders import check_baselines  # noqa: PLC0415
    from pytest_clip_robust.plugin.keys import RUN  # noqa: PLC0415
    from pytest_clip_robust.plugin.options import read_config  # noqa: PLC0415

    _check_rootdir(config)
    try:
        run = read_config(config)
        check_profile(run.profile)
        check_baselines(config, run)
    except ClipRobustError as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[RUN] = run
    config.pluginmanager.register(fixtures, "clip-robust-fixtures")
    config.pluginmanager.register(item_hooks, "clip-robust-items")
    config.pluginmanager.register(parametrize, "clip-robust-parametrize")
    for name, reporter in _reporters(config, run).items():
        config.pluginmanager.register(reporter, name)
    if hasattr(config, "workerinput") or config.getoption("tx", None):
        from pytest_clip_robust.plugin.parallel.hooks import start  # noqa: PLC0415

        start(config)


def _share_the_machine(config: pytest.Config) -> None:
    """Set the number of threads and how they wait, before anything imports torch."""
    from pytest_clip_robust.system.threads import share_the_machine  # noqa: PLC0415

    share_the_machine(alone=not config.getoption("tx", None))


def _reporters(config: pytest.Config, run: RunConfig) -> dict[str, object]:
    """Return the reporting plugins of this process: of the controller, a worker, or a rank that only encodes."""
    from pytest_clip_robust.plugin.collector import Collector, WorkerSide  # noqa: PLC0415
    from pytest_clip_robust.plugin.results import Results  # noqa: PLC0415
    from pytest_clip_robust.plugin.session import summarise  # noqa: PLC0415

    summary = partial(summarise, config)
    if hasattr(config, "workerinput"):
        return {"clip-robust-report": WorkerSide(config, summary)}
    if run.rank is None:
        results = Results(config, run)
        found: dict[str, object] = {"clip-robust-results": results}
        if run.panel is None:
            return found | {"clip-robust-report": Collector(config, run, results, summary)}
        from pytest_clip_robust.plugin.panel_study import PanelStudy  # noqa: PLC0415

        study = PanelStudy(config, run, run.panel, results, summary)
        report = Collector(config, run, results, summary, findings=lambda: study.findings)
        return found | {"clip-robust-report": report, "clip-robust-panel": study}
    from pytest_clip_robust.plugin.rank_report import RankReport  # noqa: PLC0415

    return {"clip-robust-report": RankReport(run, run.rank, summary)}


def _check_rootdir(config: pytest.Config) -> None:
    """Raise a usage error if pytest took the path of one of our options for a test path.

    pytest looks for its ini file before plugins add their options, so a path after a space counts as a test path, and
    the project's settings are silently not read. After ``=`` it does not count.
    """
    given = [str(argument) for argument in config.invocation_params.args]
    if config.inipath is not None or config.getoption("rootdir") is not None:
        return
    for option, value in pairwise(given):
        if option.startswith("--clip-") and "=" not in option and Path(value).exists():
            raise pytest.UsageError(
                f"write {option}={value} (with '='): pytest treats a path after a space as a test path"
            )


class _NoModel:
    """Fixtures of a run without a model: a test that uses them fails with one clear line."""

    @pytest.fixture
    def model(self) -> Any:
        """Fail: there is no model."""
        pytest.fail(NO_MODEL, pytrace=False)

    @pytest.fixture
    def dataset(self) -> Any:
        """Fail: there is no model."""
        pytest.fail(NO_MODEL, pytrace=False)

    @pytest.fixture
    def gate(self) -> Any:
        """Fail: there is no model."""
        pytest.fail(NO_MODEL, pytrace=False)


def _add_model_option(group: pytest.OptionGroup, option: str) -> None:
    group.addoption(
        option,
        action="append",
        dest="clip_models",
        metavar="SPEC",
        help="Model to evaluate: ARCH[@TAG|@FILE], local-dir:DIR, hf-hub:ORG/REPO, hf:ORG/REPO, hf:DIR or "
        "py:MODULE:FACTORY (can be repeated)",
    )


def _options_so_far(parser: pytest.Parser) -> set[str]:
    """Return the options added so far. pytest has no public way to ask (pytest-dev/pytest#11514)."""
    groups = [parser._anonymous, *parser._groups]  # noqa: SLF001
    return {name for group in groups for option in group.options for name in option.names()}
