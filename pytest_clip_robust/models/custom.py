"""User-defined models: ``py:MODULE:FACTORY`` or ``py:FILE.py:FACTORY``, where FACTORY returns a DualEncoder."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import math
import sys
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any

from pytest_clip_robust.errors import ClipRobustError, ModelError, did_you_mean
from pytest_clip_robust.models.protocols import DualEncoder, LoadedModel, PreprocessSteps
from pytest_clip_robust.models.sanity import steps_agree
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.system.text import one_line

REQUIRED = ("preprocess", "encode_image", "encode_text", "scale", "bias", "identity")

NOT_COMPILED = "not compiled: its factory has no parameter 'compiled', so --clip-compile has no effect"


def load_custom(spec: ModelSpec, *, device: str, precision: str, compiled: bool = False) -> LoadedModel:
    """Call the factory and check the encoder that it returns.

    The factory is passed `device`, `precision` and `compiled` if it has parameters of these names. A factory without
    `device` chooses its own, and its `encode_image` receives tensors on the CPU.

    Raises:
        ModelError: the module, the factory or the encoder is wrong, or the factory fails.
    """
    factory = _factory(spec)
    wanted = _parameters(factory)
    if precision != "fp32" and "precision" not in wanted:
        raise ModelError(
            f"model {spec.label}: its factory has no parameter 'precision', so it ignores --clip-precision "
            f"{precision}; add the parameter, or use fp32"
        )
    offered = {"device": device, "precision": precision, "compiled": compiled}
    try:
        encoder = factory(**{name: value for name, value in offered.items() if name in wanted})
    except ClipRobustError:
        raise
    except Exception as error:
        raise ModelError(
            f"model {spec.label}: its factory failed: {type(error).__name__}: {one_line(error)}"
        ) from error
    _check(encoder, spec)
    digest = hashlib.sha256(encoder.identity.encode()).hexdigest()
    return LoadedModel(
        spec=spec,
        encoder=encoder,
        weights=digest,
        preprocess=digest,
        text=digest,
        precision=precision,
        device=device if "device" in wanted else "cpu",
        notes=(NOT_COMPILED,) if compiled and "compiled" not in wanted else (),
    )


def _factory(spec: ModelSpec) -> Callable[..., Any]:
    module_name, _, path = spec.name.rpartition(":")
    module = _from_file(Path(module_name), spec) if module_name.endswith(".py") else _import(module_name, spec)
    try:
        factory = reduce(getattr, path.split("."), module)
    except AttributeError:
        near = did_you_mean(path, (name for name in vars(module) if not name.startswith("_")))
        raise ModelError(f"model {spec.label}: {module_name} has no {path!r}{near}") from None
    if not callable(factory):
        raise ModelError(f"model {spec.label}: {path} is a {type(factory).__name__}; expected a function or class")
    return factory


def _import(name: str, spec: ModelSpec) -> ModuleType:
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.append(
            str(Path.cwd())
        )  # as `python -m` does; the module may import other modules of this folder later
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise ModelError(
            f"model {spec.label}: cannot import {name}: {type(error).__name__}: {one_line(error)}"
        ) from error


def _from_file(path: Path, spec: ModelSpec) -> ModuleType:
    if not path.is_file():
        raise ModelError(f"model {spec.label}: no file {path}")
    # A unique name, so that a file named like a package does not hide it; worker processes unpickle by this name.
    name = f"clip_robust_model_{hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    found = importlib.util.spec_from_file_location(name, path)
    if found is None or found.loader is None:
        raise ModelError(f"model {spec.label}: {path} is not a Python file")
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    try:
        found.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ModelError(f"model {spec.label}: {path} failed: {type(error).__name__}: {one_line(error)}") from error
    return module


def _parameters(factory: Callable[..., Any]) -> frozenset[str]:
    try:
        return frozenset(inspect.signature(factory).parameters)
    except (TypeError, ValueError):
        return frozenset()  # built-ins may have no signature


def _check(encoder: object, spec: ModelSpec) -> None:
    lacking = [name for name in REQUIRED if not hasattr(encoder, name)]
    if lacking:
        raise ModelError(
            f"model {spec.label}: its {type(encoder).__name__} has no {', '.join(lacking)}; a DualEncoder has "
            f"{', '.join(REQUIRED)}"
        )
    assert isinstance(encoder, DualEncoder)  # noqa: S101 - checked above; narrows the type
    if not isinstance(encoder.identity, str) or not encoder.identity:
        raise ModelError(
            f"model {spec.label}: identity={encoder.identity!r}; expected a string that identifies its weights"
        )
    for name in ("scale", "bias"):
        try:
            value = float(getattr(encoder, name))
        except (TypeError, ValueError):
            value = math.nan
        if not math.isfinite(value) or (name == "scale" and value <= 0):
            expected = "a positive number" if name == "scale" else "a finite number"
            raise ModelError(f"model {spec.label}: {name}={getattr(encoder, name)!r}; expected {expected}")
    _check_steps(encoder, spec)


def _check_steps(encoder: DualEncoder, spec: ModelSpec) -> None:
    steps = getattr(encoder, "preprocess_steps", None)
    if steps is not None and not isinstance(steps, PreprocessSteps):
        raise ModelError(
            f"model {spec.label}: preprocess_steps is a {type(steps).__name__}; expected PreprocessSteps or None"
        )
    if steps is not None and not steps_agree(steps, encoder.preprocess):
        raise ModelError(
            f"model {spec.label}: its preprocess_steps and preprocess disagree; fix the steps or set them to None"
        )
