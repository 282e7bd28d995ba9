"""What pytest calls. Thin: nothing heavy is imported until a run names a model.

Without a model the plugin registers its options and does nothing else.
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

NO_MODEL = f"no model named, so there is nothing to measure; for example: {EXAMPLE}"

MODEL_OPTION_TAKEN = "another plugin or conftest owns --model here; name the model with --clip-model instead"

TAKEN: pytest.StashKey[bool] = pytest.StashKey()

MARKERS = (
    "clip_suite: a shipped robustness suite; collecting one without --model is a usage error.",
    "clip_also(name): run the test only if the profile's corruptions.also has the name.",
    "clip_gpu(memory=GIB, count=N): run the test where it has N GPUs (1), each with so much memory; else it fails.",
    "clip_role(role, ...): run the test once for each data set that plays one of the roles, as argument `dataset`.",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add every option with its ini twin; ``--model`` follows once it is known to be free."""
    group = parser.getgroup("clip-robust", "robustness of CLIP-like models")
    _add_model_option(group, "--clip-model")
    parser.addini("clip_model", "models to measure when the command line names none", type="linelist", default=[])
    _add(parser, group, "profile", "NAME|FILE", "which sets play which role, prompts and thresholds (TOML)", "")
    group.addoption(
        "--clip-data",
        action="append",
        metavar="NAME=LOCATION",
        help="where a data set lies: a folder, parquet, tar files or a hub name; ?label=... and more may follow",
    )
    parser.addini("clip_data", "data sets, one NAME=LOCATION a line", type="linelist", default=[])
    _add(
        parser, group, "reference", "SPEC", "a model measured in the same run, to compare with instead of baselines", ""
    )
    _add(
        parser, group, "baselines", "DIR", "where baselines lie (default: baselines, beside the ini file)", "baselines"
    )
    _add(parser, group, "baseline-name", "NAME", "the models' folder there (default: the architecture)", "")
    _add(
        parser,
        group,
        "alpha",
        "P",
        "chance over all gates of calling any regressed that is not (default: 0.05)",
        "0.05",
    )
    _add(parser, group, "cache", "DIR|URL", "where features are kept (default: the user's cache folder)", "")
    _add(parser, group, "report", "DIR", "write report.json there", "")
    _add(parser, group, "device", "DEVICE", "auto, cpu, cuda, cuda:1, mps (default: auto)", "auto")
    _add(parser, group, "precision", "P", "fp32, bf16 or fp16 (default: fp32)", "fp32")
    _add(parser, group, "batch-size", "N", "images a batch (default: what fits, on a CPU 16)", "")
    _add(
        parser, group, "workers", "N", "processes that decode images, 0 for none (default: one a core, on a CPU 2)", ""
    )
    _add(
        parser,
        group,
        "pixel-cache",
        "SIZE|off",
        "how much disk resized images may take, for the next model (default: 4GiB)",
        "4GiB",
    )
    _add(parser, group, "worker-memory", "GIB", "memory a worker of -n needs, so that several share a GPU", "")
    _add(parser, group, "worker-gpus", "N", "GPUs of the first worker of -n, for tests that ask for several", "1")
    group.addoption("--clip-compile", action="store_true", help="run the model's towers through torch.compile")
    parser.addini("clip_compile", "the ini twin of --clip-compile", type="bool", default=False)
    group.addoption("--clip-strict", action="store_true", help="fail what has no baseline, and what is inconclusive")
    parser.addini("clip_strict", "the ini twin of --clip-strict", type="bool", default=False)


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config, parser: pytest.Parser) -> Generator[None]:
    """Take ``--model`` only if no other plugin and no initial conftest has; a second owner would crash pytest."""
    yield
    early_config.stash[TAKEN] = "--model" in _options_so_far(parser)
    if not early_config.stash[TAKEN]:
        _add_model_option(parser.getgroup("clip-robust"), "--model")


def pytest_configure(config: pytest.Config) -> None:
    """Read the configuration and register the fixtures, if a model was named."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    if config.getoption("clip_models") or config.getini("clip_model"):
        _start(config)
    else:
        config.pluginmanager.register(_NoModel(), "clip-robust-no-model")


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Count the workers of ``-n auto``, which pytest-xdist asks for before pytest is configured."""
    if not (config.getoption("clip_models") or config.getini("clip_model")):
        return None
    from pytest_clip_robust.plugin.parallel.capacity import auto_workers  # noqa: PLC0415

    return auto_workers(config)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse to run a shipped suite without a model: skipping it would look like a pass."""
    unnamed = config.pluginmanager.hasplugin("clip-robust-no-model")
    if unnamed and any(item.get_closest_marker("clip_suite") for item in items):
        raise pytest.UsageError(MODEL_OPTION_TAKEN if config.stash[TAKEN] else NO_MODEL)


def _start(config: pytest.Config) -> None:
    """Register what a run with a model needs. Imported here, so that other runs of pytest never pay for it."""
    from pytest_clip_robust.errors import ClipRobustError  # noqa: PLC0415
    from pytest_clip_robust.plugin import fixtures, parametrize  # noqa: PLC0415
    from pytest_clip_robust.plugin.keys import RUN  # noqa: PLC0415
    from pytest_clip_robust.plugin.options import read_config  # noqa: PLC0415

    _check_rootdir(config)
    try:
        run = read_config(config)
        fixtures.check_recording(config, run)
    except ClipRobustError as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[RUN] = run
    config.pluginmanager.register(fixtures, "clip-robust-fixtures")
    config.pluginmanager.register(parametrize, "clip-robust-parametrize")
    config.pluginmanager.register(_reporter(config, run), "clip-robust-report")
    if hasattr(config, "workerinput") or config.getoption("tx", None):
        from pytest_clip_robust.plugin.parallel.hooks import start  # noqa: PLC0415

        start(config)


def _reporter(config: pytest.Config, run: RunConfig) -> object:
    """Make what reports of this process: the terminal's owner, a worker of xdist, or one that only encodes."""
    from pytest_clip_robust.plugin import fixtures  # noqa: PLC0415
    from pytest_clip_robust.plugin.collector import Collector, WorkerSide  # noqa: PLC0415

    summarise = partial(fixtures.summarise, config)
    if hasattr(config, "workerinput"):
        return WorkerSide(config, summarise)
    if run.rank is None:
        return Collector(config, run, summarise)
    from pytest_clip_robust.plugin.rank_report import RankReport  # noqa: PLC0415

    return RankReport(run, run.rank, summarise)


def _check_rootdir(config: pytest.Config) -> None:
    """Refuse a command line whose paths pytest took for the place of the tests.

    pytest looks for its ini file before plugins can name their options, so the path after a blank counts as a place of
    tests, and the project's own settings are lost without a word. After a ``=`` it does not.
    """
    given = [str(argument) for argument in config.invocation_params.args]
    if config.inipath is not None or config.getoption("rootdir") is not None:
        return
    for option, value in pairwise(given):
        if option.startswith("--clip-") and "=" not in option and Path(value).exists():
            raise pytest.UsageError(f"write {option}={value}: pytest takes a path after a blank for the tests' place")


class _NoModel:
    """Stands in for the fixtures where no model is named, so that a test fails in one clear line."""

    @pytest.fixture
    def model(self) -> Any:
        """Ask for the model under test."""
        pytest.fail(NO_MODEL, pytrace=False)

    @pytest.fixture
    def dataset(self) -> Any:
        """Ask for a data set of the profile."""
        pytest.fail(NO_MODEL, pytrace=False)

    @pytest.fixture
    def gate(self) -> Any:
        """Ask for a verdict."""
        pytest.fail(NO_MODEL, pytrace=False)


def _add(  # noqa: PLR0917 - read like a table
    parser: pytest.Parser, group: pytest.OptionGroup, name: str, metavar: str, text: str, default: str
) -> None:
    """Add ``--clip-NAME`` and its ini twin ``clip_NAME``."""
    dest = f"clip_{name.replace('-', '_')}"
    group.addoption(f"--clip-{name}", dest=dest, metavar=metavar, help=text)
    parser.addini(dest, text, default=default)


def _add_model_option(group: pytest.OptionGroup, option: str) -> None:
    group.addoption(
        option,
        action="append",
        dest="clip_models",
        metavar="SPEC",
        help="model to measure: ARCH[@TAG|@FILE], local-dir:DIR, hf-hub:ORG/REPO, py:module:factory (repeatable)",
    )


def _options_so_far(parser: pytest.Parser) -> set[str]:
    """List the options added so far. pytest offers no public way to ask (pytest-dev/pytest#11514)."""
    groups = [parser._anonymous, *parser._groups]  # noqa: SLF001
    return {name for group in groups for option in group.options for name in option.names()}
