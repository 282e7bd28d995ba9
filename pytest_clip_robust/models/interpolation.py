"""Interpolation of two models in the space of their parameters (WiSE-FT).

Source: Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022, arXiv 2109.01903.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import torch

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.assembly import build
from pytest_clip_robust.models.built import BuiltModel
from pytest_clip_robust.models.parameters import StateDict
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.system.text import one_line

COUNTER = "num_batches_tracked"
"""The counter of batch normalisation, which differs between any two checkpoints and shapes no features."""


def build_interpolation(spec: ModelSpec) -> BuiltModel:
    """Build ``interpolate:A,B?alpha=X``: every parameter is (1 - X) times that of A plus X times that of B.

    X = 0 is A itself, and X = 1 is B itself. `logit_scale` and `logit_bias` are interpolated as they are stored, the
    scale as its logarithm, like all other parameters: the weights of the paper are those of a whole state_dict, and
    its alpha is that of the fine-tuned model.

    Raises:
        ModelError: one of the models cannot be built, or they differ in more than parameters.
    """
    where = f"model {spec.label}"
    alpha = float(spec.option("alpha") or 0)
    first, second = (build(part) for part in spec.parts)
    if difference := _difference(first, second):
        raise ModelError(f"{where}: the two models differ in {difference}; only parameters can be interpolated")
    state, other = first.module.state_dict(), second.module.state_dict()
    if difference := _uncommon(state, other):
        raise ModelError(f"{where}: the two models differ in {difference}; only parameters can be interpolated")
    notes = tuple(dict.fromkeys((*first.notes, *second.notes)))
    if alpha in {0, 1}:
        return replace(second if alpha else first, notes=notes)
    _interpolate(state, other, alpha)
    return replace(first, notes=notes)


def _interpolate(state: StateDict, other: StateDict, alpha: float) -> None:
    """Change the tensors of `state`, which share memory with a module, to those between the two."""
    done = set()  # one tensor can have several names
    for name, tensor in state.items():
        if tensor.is_floating_point() and tensor.data_ptr() not in done:
            done.add(tensor.data_ptr())
            tensor.mul_(1 - alpha).add_(other[name], alpha=alpha)


def _difference(first: BuiltModel, second: BuiltModel) -> str:
    """Return the first setting in which two models differ with both values, or ``""``."""
    for what in ("architecture", "preprocess"):
        a, b = (_settings(getattr(one, what)) for one in (first, second))
        different = [key for key in dict.fromkeys([*a, *b]) if a.get(key) != b.get(key)]
        if different:
            key = different[0]
            values = f"{a.get(key, 'not set')} and {b.get(key, 'not set')}"
            return f"{'preprocessing' if what == 'preprocess' else what}: {key} is {one_line(values)}"
    return "" if first.text == second.text else "the tokenizer"


def _settings(value: object) -> dict[str, str]:
    """Return nested settings by path, as JSON; what is not set and what is false count as equal.

    Items of a list that are objects overlay each other: options that override a config are the same as such a config.
    """
    found = dict(_paths(value, ""))
    return {key: text for key, text in found.items() if text not in {"false", "null"}}


def _paths(value: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _paths(inner, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list) and any(isinstance(inner, dict | list) for inner in value):
        for position, inner in enumerate(value):
            yield from _paths(inner, path if isinstance(inner, dict) else f"{path}[{position}]")
    else:
        yield path, json.dumps(value, default=str)


def _uncommon(state: StateDict, other: StateDict) -> str:
    """Return the first parameter that only one of two models has, or that cannot be interpolated, or ``""``."""
    if only := sorted(state.keys() ^ other.keys()):
        return f"their parameters: only one has {only[0]}"
    for name, tensor in state.items():
        if tensor.shape != other[name].shape:
            return f"the shape of {name}: {tuple(tensor.shape)} and {tuple(other[name].shape)}"
        if not tensor.is_floating_point() and not name.endswith(COUNTER) and not torch.equal(tensor, other[name]):
            return f"{name}, which holds whole numbers"
    return ""
