"""User-defined models: ``py:MODULE:FACTORY[?PARAMETER=VALUE&...]``, of a DualEncoder or a classifier.

MODULE is the name of an importable module, or the path of a file that ends in ``.py``.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import math
import re
import sys
from collections.abc import Callable, Mapping
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any

from pytest_clip_robust.errors import ClipRobustError, ModelError, did_you_mean
from pytest_clip_robust.models.protocols import EncodesImages, LoadedModel, PreprocessSteps
from pytest_clip_robust.models.sanity import steps_agree
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.system.files import is_file, user_path
from pytest_clip_robust.system.text import one_line

OF_IMAGES = ("preprocess", "encode_image", "identity")
OF_TEXTS = ("encode_text", "scale", "bias")
OF_HEADS = ("classify", "classes")
REQUIRED = (*OF_IMAGES[:2], *OF_TEXTS, OF_IMAGES[2])
"""The attributes of a DualEncoder; a classifier has those of `OF_HEADS` in place of those of `OF_TEXTS`."""

NOT_COMPILED = "not compiled: its factory has no parameter 'compiled', so --clip-compile has no effect"


OPTIONS = {"device": "--clip-device", "precision": "--clip-precision", "compiled": "--clip-compile"}
"""The options of the run that decide the arguments of these names."""

CONVERSIONS: dict[str, Callable[[str], Any]] = {
    "bool": lambda text: {"true": True, "false": False}[text.casefold()],
    "int": int,
    "float": float,
    "Path": Path,
}
"""How an argument of a spec is converted to the type of a factory's parameter."""
EXPECTED = {"bool": "true or false", "int": "a whole number", "float": "a number", "Path": "a path"}


def load_custom(
    spec: ModelSpec,
    *,
    device: str,
    precision: str,
    compiled: bool = False,
    folded: bool = True,  # noqa: ARG001 - the factory's own layers stay
) -> LoadedModel:
    """Call the factory and check the encoder that it returns.

    The factory is passed the arguments of the spec, and `device`, `precision` and `compiled` if it has parameters of
    these names. A factory without `device` chooses its own, and its `encode_image` receives tensors on the CPU.

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
    arguments = {name: value for name, value in offered.items() if name in wanted} | _arguments(spec, wanted, offered)
    try:
        encoder = factory(**arguments)
    except (ClipRobustError, KeyboardInterrupt):
        raise
    except BaseException as error:  # also SystemExit, and pytest.skip, which would end the test without a result
        raise ModelError(
            f"model {spec.label}: its factory failed: {type(error).__name__}: {one_line(error)}"
        ) from error
    _check(encoder, spec)
    # Arguments are part of the identity, because a factory's identity may not depend on them.
    identity = f"{encoder.identity}{''.join(f'|{name}={value}' for name, value in spec.options)}"
    digest = hashlib.sha256(identity.encode(errors="surrogatepass")).hexdigest()
    return LoadedModel(
        spec=spec,
        encoder=encoder,
        weights=digest,
        preprocess=digest,
        text=digest,
        precision=precision,
        device=device if "device" in wanted else "cpu",
        compiled=compiled and "compiled" in wanted,
        notes=(NOT_COMPILED,) if compiled and "compiled" not in wanted else (),
    )


def _factory(spec: ModelSpec) -> Callable[..., Any]:
    module_name, _, path = spec.name.rpartition(":")
    module = _from_file(user_path(module_name), spec) if module_name.endswith(".py") else _import(module_name, spec)
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
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a script may call sys.exit
        raise ModelError(
            f"model {spec.label}: cannot import {name}: {type(error).__name__}: {one_line(error)}"
        ) from error


def _from_file(path: Path, spec: ModelSpec) -> ModuleType:
    if not is_file(path):
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
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a script may call sys.exit
        del sys.modules[name]
        raise ModelError(f"model {spec.label}: {path} failed: {type(error).__name__}: {one_line(error)}") from error
    return module


def _parameters(factory: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return {}  # built-ins may have no signature


def _arguments(
    spec: ModelSpec, parameters: Mapping[str, inspect.Parameter], offered: Mapping[str, object]
) -> dict[str, Any]:
    """Return the arguments that the spec gives the factory, converted to the types of its parameters."""
    any_name = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
    fixed = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY)
    known = [name for name, one in parameters.items() if one.kind not in fixed and name not in offered]
    arguments = {}
    for name, value in spec.options:
        if name in offered:
            raise ModelError(f"model {spec.label}: {name} is set by {OPTIONS[name]}, not by the spec")
        if name not in known and not any_name:
            takes = f"it takes {', '.join(known)}" if known else "it takes no arguments"
            raise ModelError(
                f"model {spec.label}: its factory has no parameter {name!r}{did_you_mean(name, known)}; {takes}"
            )
        arguments[name] = _converted(value, parameters.get(name), f"model {spec.label}: {name}={value!r}")
    return arguments


def _converted(value: str, parameter: inspect.Parameter | None, what: str) -> Any:
    """Convert an argument to the parameter's type, if that is a bool, number or path; other types get the string."""
    if parameter is None:
        return value
    annotation = parameter.annotation
    if annotation is inspect.Parameter.empty:
        annotation = type(parameter.default)
    name = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    kinds = [kind for kind in CONVERSIONS if kind in re.findall(r"\w+", name)]
    if len(kinds) != 1 or "str" in name:
        return value
    try:
        return CONVERSIONS[kinds[0]](value)
    except (ValueError, KeyError):
        raise ModelError(f"{what}; the factory expects {EXPECTED[kinds[0]]}") from None


def _check(encoder: object, spec: ModelSpec) -> None:
    """Check that `encoder` is a DualEncoder, or an image encoder with a head, and that its settings are usable."""
    try:
        has_head = any(hasattr(encoder, name) for name in OF_HEADS)
        required = (*OF_IMAGES, *OF_HEADS) if has_head else REQUIRED
        lacking = [name for name in required if not hasattr(encoder, name)]
        both = has_head and hasattr(encoder, "encode_text")
    except Exception as error:  # a property can raise anything
        raise ModelError(f"model {spec.label}: {type(error).__name__}: {one_line(error)}") from error
    if lacking:
        needs = "a classifier has" if has_head else "a DualEncoder has"
        other = "" if has_head else f"; a classifier has {', '.join(OF_HEADS)} in place of {', '.join(OF_TEXTS)}"
        raise ModelError(
            f"model {spec.label}: its {type(encoder).__name__} has no {', '.join(lacking)}; {needs} "
            f"{', '.join(required)}{other}"
        )
    if both:
        raise ModelError(
            f"model {spec.label}: its {type(encoder).__name__} has both encode_text and a head (classify, classes), so "
            "that it is not clear which one answers; return two objects from two functions"
        )
    assert isinstance(encoder, EncodesImages)  # noqa: S101 - checked above; narrows the type
    if not isinstance(encoder.identity, str) or not encoder.identity:
        raise ModelError(
            f"model {spec.label}: identity={encoder.identity!r}; expected a string that identifies its weights"
        )
    for name in () if has_head else ("scale", "bias"):
        try:
            value = float(getattr(encoder, name))
        except (TypeError, ValueError):
            value = math.nan
        if not math.isfinite(value) or (name == "scale" and value <= 0):
            expected = "a positive number" if name == "scale" else "a finite number"
            raise ModelError(f"model {spec.label}: {name}={getattr(encoder, name)!r}; expected {expected}")
    _check_steps(encoder, spec)


def _check_steps(encoder: EncodesImages, spec: ModelSpec) -> None:
    steps = getattr(encoder, "preprocess_steps", None)
    if steps is not None and not isinstance(steps, PreprocessSteps):
        raise ModelError(
            f"model {spec.label}: preprocess_steps is a {type(steps).__name__}; expected PreprocessSteps or None"
        )
    try:
        agree = steps is None or steps_agree(steps, encoder.preprocess)
    except Exception as error:
        raise ModelError(
            f"model {spec.label}: its preprocess_steps failed: {type(error).__name__}: {one_line(error)}"
        ) from error
    if not agree:
        raise ModelError(
            f"model {spec.label}: its preprocess_steps and preprocess disagree; fix the steps or set them to None"
        )
