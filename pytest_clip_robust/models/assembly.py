"""Models of torch in two steps: built with checked parameters, then used at one precision on one device.

Whatever changes parameters, such as an adapter or an interpolation, does so between the two steps. So it is the same
for every library, and a model's digest is always that of the parameters that are used.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch

from pytest_clip_robust.core.digest import digest
from pytest_clip_robust.models.checkpoint import content_digest
from pytest_clip_robust.models.protocols import DualEncoder, LoadedModel
from pytest_clip_robust.models.spec import KINDS, ModelSpec
from pytest_clip_robust.system.quiet import quiet


class TorchEncoder(DualEncoder, Protocol):
    """A dual encoder whose towers can be compiled."""

    def compile(self) -> list[str]:
        """Compile both towers with torch.compile; return a note for each tower that cannot be compiled."""


class MakesEncoder(Protocol):
    """The function that makes an encoder of a module which is on its device, in evaluation mode."""

    def __call__(self, module: Any, *, identity: str, device: str, precision: str) -> TorchEncoder:
        """Return an encoder that uses `module`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltModel:
    """A model with all of its parameters, on the CPU and in fp32.

    module: holds the parameters; `encoder` reads them only when it is called.
    architecture: settings that shape features in addition to the parameters, such as the activation function.
    preprocess: the settings of the image transform. Both are JSON. text: the digest of the tokenizer.
    encoder: makes the encoder of the module. notes: one-line remarks for the run's header.
    """

    module: torch.nn.Module
    architecture: object
    preprocess: object
    text: str
    encoder: MakesEncoder
    notes: tuple[str, ...] = ()


def load_built(spec: ModelSpec, *, device: str, precision: str, compiled: bool = False) -> LoadedModel:
    """Load a model of a kind that has a `builder`.

    Raises:
        ModelError: it cannot be built as it was trained; the message names the spec and what to do.
    """
    with quiet():
        built = build(spec)
        module = built.module.eval()
        weights = content_digest(module.state_dict(), built.architecture)
        preprocess = digest(built.preprocess)
        encoder = built.encoder(
            module.to(device, memory_format=torch.channels_last),
            identity=digest([weights, preprocess, built.text]),
            device=device,
            precision=precision,
        )
        notes = [*built.notes, *(encoder.compile() if compiled else ())]
    return LoadedModel(
        spec=spec,
        encoder=encoder,
        weights=weights,
        preprocess=preprocess,
        text=built.text,
        precision=precision,
        device=device,
        notes=tuple(notes),
    )


def build(spec: ModelSpec) -> BuiltModel:
    """Build the model that `spec` names, with its adapter.

    Raises:
        ModelError: it cannot be built as it was trained.
    """
    module, _, function = KINDS[spec.kind].builder.partition(":")
    builder = cast("Callable[[ModelSpec], BuiltModel]", getattr(importlib.import_module(module), function))
    return builder(spec)
