"""Options of the command line and the ini file, checked and turned into a RunConfig."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pytest_clip_robust.config.panel import ModelPanel, panel_path, read_panel_file
from pytest_clip_robust.config.profile import Profile, load_profile
from pytest_clip_robust.config.run import RunConfig, user_cache
from pytest_clip_robust.core.byte_sizes import parse_byte_size
from pytest_clip_robust.errors import ConfigError, did_you_mean
from pytest_clip_robust.gates.baseline_files import families
from pytest_clip_robust.models.series import expand_series, is_series
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.names import CORRECTIONS, LOCAL_ENGINE, PRECISIONS, RAY_ENGINE, REPORTS_OF_FINDINGS
from pytest_clip_robust.system.rank import Rank, read_rank
from pytest_clip_robust.system.text import printable
from pytest_clip_robust.system.versions import require_package

if TYPE_CHECKING:
    import pytest

Number = TypeVar("Number", int, float)

DEFAULT_PROFILE = "showroom"
"""The profile of a run that names neither a profile nor data."""


def read_config(config: pytest.Config) -> RunConfig:
    """Return the RunConfig of this session; the command line takes precedence over the ini file.

    Raises:
        ClipRobustError: an option is wrong; the message names it.
    """
    panel = _panel(config)
    asked = {text: tuple(map(ModelSpec.parse, expand_series(text))) for text in requested_models(config, panel)}
    named = [spec for specs in asked.values() for spec in specs]
    specs = tuple(dict.fromkeys([*(panel.specs if panel else ()), *named]))
    report = str(_value(config, "clip_report"))
    precision = _one_of(config, "clip_precision", PRECISIONS)
    correction = _one_of(config, "clip_correction", CORRECTIONS)
    findings = _one_of(config, "clip_findings", REPORTS_OF_FINDINGS)
    reference = str(_value(config, "clip_reference"))
    name = str(_value(config, "clip_baseline_name"))
    if name and (not re.fullmatch(r"[\w.-]+", name) or name.startswith(".")):
        raise ConfigError(f"--clip-baseline-name {name!r}: expected a folder name of letters, digits, '.', '_' and '-'")
    return RunConfig(
        models=specs,
        series=tuple(found for text, found in asked.items() if is_series(text)),
        panel=panel,
        findings=findings,
        reference=ModelSpec.parse(reference) if reference else None,
        baselines=_baselines(config),
        baseline_name=name,
        alpha=_probability(config, "clip_alpha"),
        correction=correction,
        profile=read_profile(config, panel),
        cache=read_cache(config),
        report=config.invocation_params.dir / report if report else None,
        device=device_asked(config),
        precision=precision,
        batch_size=_whole_number(config, "clip_batch_size", at_least=1),
        workers=_whole_number(config, "clip_workers", at_least=0),
        pixel_cache=_size(config, "clip_pixel_cache"),
        engine=_engine(config),
        compile=bool(config.getoption("clip_compile") or config.getini("clip_compile")),
        worker_memory=worker_memory_asked(config),
        worker_gpus=worker_gpus_asked(config),
        strict=bool(config.getoption("clip_strict") or config.getini("clip_strict")),
        rank=_rank(config),
    )


def read_profile(config: pytest.Config, panel: ModelPanel | None = None) -> Profile:
    """Return the profile of this session, with the data sets of ``--clip-data``.

    It is that of the option, else that of the panel, else the default one unless data sets are given.

    Raises:
        ConfigError: the profile, or a data option, is wrong; the message names it.
    """
    data_options = [*config.getini("clip_data"), *(config.getoption("clip_data") or [])]
    named = str(_value(config, "clip_profile")) or (panel.profile if panel else "")
    return load_profile(named or (None if data_options else DEFAULT_PROFILE), data_options)


def read_cache(config: pytest.Config) -> str:
    """Return the folder or URL of the cache."""
    return str(_value(config, "clip_cache")) or str(user_cache())


def requested_models(config: pytest.Config, panel: ModelPanel | None) -> list[str]:
    """Return the model specs of the command line, or else of the ini file; the ini file's only without a panel."""
    return list(config.getoption("clip_models") or (() if panel else config.getini("clip_model")))


def device_asked(config: pytest.Config) -> str:
    """Return the device as the command line, or else the ini file, names it."""
    return str(_value(config, "clip_device"))


def worker_memory_asked(config: pytest.Config) -> float | None:
    """Return the GiB that an xdist worker needs, or None if not given.

    Raises:
        ConfigError: it is not an amount of memory.
    """
    text = str(_value(config, "clip_worker_memory"))
    if not text:
        return None
    wanted = "GiB, a number above 0 such as 6"
    memory = _number(config, "clip_worker_memory", float, wanted)
    if not 0 < memory < math.inf:
        raise ConfigError(f"--clip-worker-memory {text!r}: expected {wanted}")
    return memory


def worker_gpus_asked(config: pytest.Config) -> int:
    """Return the number of GPUs of the first xdist worker.

    Raises:
        ConfigError: it is not a whole number, 1 or more.
    """
    return _whole_number(config, "clip_worker_gpus", at_least=1) or 1


def _value(config: pytest.Config, name: str) -> object:
    given = config.getoption(name)
    return config.getini(name) if given is None else given


def _panel(config: pytest.Config) -> ModelPanel | None:
    """Return the panel of the command line, or else of the ini file if the command line names no model."""
    given = config.getoption("clip_panel")
    if given is not None:
        return read_panel_file(panel_path(str(given), config.invocation_params.dir)) if given else None
    named = "" if config.getoption("clip_models") else str(config.getini("clip_panel"))
    folder = config.rootpath if config.inipath is None else config.inipath.parent
    return read_panel_file(panel_path(named, folder)) if named else None


def _one_of(config: pytest.Config, name: str, allowed: Sequence[str]) -> str:
    value = str(_value(config, name))
    if value not in allowed:
        near = did_you_mean(value, allowed)
        raise ConfigError(f"{_option(name)} {value!r}{near}: expected one of {', '.join(allowed)}")
    return value


def _baselines(config: pytest.Config) -> Path:
    """Return the folder of baselines: of the option, relative to the working directory, else next to the ini file.

    A run from a sub-directory can have another ini file, or none. If there are no baselines next to it, the nearest
    ones above count, so that a run never misses baselines that exist.
    """
    given = config.getoption("clip_baselines")
    if given is not None:
        return config.invocation_params.dir / str(given)
    name = str(config.getini("clip_baselines"))
    project = config.rootpath if config.inipath is None else config.inipath.parent
    candidates = [folder / name for start in (project, config.invocation_params.dir) for folder in _upwards(start)]
    return next((folder for folder in candidates if families(folder)), project / name)


def _upwards(folder: Path) -> Iterator[Path]:
    """Yield `folder` and the folders above it, up to the root of its repository."""
    for one in (folder, *folder.parents):
        yield one
        if (one / ".git").exists():
            return


def _rank(config: pytest.Config) -> Rank | None:
    rank = read_rank(os.environ)
    if rank is not None and config.getoption("tx", None) and config.getoption("dist", "no") != "no":
        raise ConfigError(
            f"-n cannot be combined with WORLD_SIZE={rank.world_size}; remove -n, or unset RANK and WORLD_SIZE"
        )
    return rank


def _engine(config: pytest.Config) -> str:
    """Return ``"local"``, ``"ray"``, or the address of a Ray cluster.

    Raises:
        ConfigError: it is something else, Ray is not installed, or something else spreads the work already.
    """
    engine = str(_value(config, "clip_engine"))
    if engine == LOCAL_ENGINE:
        return engine
    if engine != RAY_ENGINE and not re.fullmatch(r"ray://[^\s/:]+:\d+", engine):
        near = did_you_mean(engine, (LOCAL_ENGINE, RAY_ENGINE))
        raise ConfigError(f"--clip-engine {printable(engine)!r}{near}: expected local, ray or ray://HOST:PORT")
    require_package("ray", f"--clip-engine {engine}", extra="ray")
    if config.getoption("tx", None) and config.getoption("dist", "no") != "no":
        raise ConfigError(
            f"-n cannot be combined with --clip-engine {engine}, which spreads the work itself; remove one"
        )
    if read_rank(os.environ) is not None:
        raise ConfigError(f"WORLD_SIZE cannot be combined with --clip-engine {engine}; unset RANK and WORLD_SIZE")
    return engine


def _probability(config: pytest.Config, name: str) -> float:
    wanted = "a number between 0 and 1, such as 0.05"
    probability = _number(config, name, float, wanted)
    if not 0 < probability < 1:
        raise ConfigError(f"{_option(name)} {probability}: expected {wanted}")
    return probability


def _size(config: pytest.Config, name: str) -> int:
    """Return a number of bytes, 0 for ``off``."""
    text = str(_value(config, name)).strip()
    if text.lower() in {"off", "0"}:
        return 0
    size = parse_byte_size(text)
    if size is None:
        raise ConfigError(f"{_option(name)} {text!r}: expected a size such as 4GiB or 500MB, or off")
    return size


def _whole_number(config: pytest.Config, name: str, *, at_least: int) -> int | None:
    """Return a number, or None if not given."""
    if not str(_value(config, name)):
        return None
    number = _number(config, name, int, "a whole number")
    if number < at_least:
        raise ConfigError(f"{_option(name)} {number}: expected at least {at_least}")
    return number


def _number(config: pytest.Config, name: str, kind: Callable[[str], Number], wanted: str) -> Number:
    value = _value(config, name)
    try:
        return kind(str(value))
    except ValueError:
        raise ConfigError(f"{_option(name)} {value!r}: expected {wanted}") from None


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
