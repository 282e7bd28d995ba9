"""Models of torch in two steps: built with checked parameters, then used at one precision on one device.

Adapters and interpolation change parameters between the two steps. So they are the same for every library, and a
model's digest is always that of the parameters that are used.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, cast

import torch

from pytest_clip_robust.core.digest import digest
from pytest_clip_robust.models.adapters import add_adapter
from pytest_clip_robust.models.built import BuiltModel, TorchEncoder
from pytest_clip_robust.models.card.facts import card_of
from pytest_clip_robust.models.card.weights import weights_claim
from pytest_clip_robust.models.checkpoint import content_digest
from pytest_clip_robust.models.compilation import noise_pixels
from pytest_clip_robust.models.convolutions import speed_up_convolutions
from pytest_clip_robust.models.protocols import LoadedModel
from pytest_clip_robust.models.spec import KINDS, ModelSpec
from pytest_clip_robust.system.quiet import quiet


def load_built(
    spec: ModelSpec, *, device: str, precision: str, compiled: bool = False, folded: bool = True
) -> LoadedModel:
    """Load a model of a kind that has a `builder`; `folded` makes convolutional towers faster.

    Raises:
        ModelError: it cannot be built as it was trained; the message names the spec and what to do.
    """
    with quiet():
        built = build(spec)
        module: Any = built.module.eval()
        weights = content_digest(module.state_dict(), built.architecture)
        card = card_of([weights_claim({name: one.numel() for name, one in module.named_parameters()})])
        preprocess = digest(built.preprocess)
        encoder = built.encoder(
            module.to(device),
            identity=digest([weights, preprocess, built.text]),
            device=device,
            precision=precision,
        )
        if folded:
            speed_up_convolutions(module, partial(_encode_noise, encoder), precision=precision)
        notes = [*built.notes, *(encoder.compile() if compiled else ())]
    return LoadedModel(
        spec=spec,
        encoder=encoder,
        weights=weights,
        preprocess=preprocess,
        text=built.text,
        precision=precision,
        device=device,
        compiled=compiled,
        notes=tuple(notes),
        card=card,
    )


def _encode_noise(encoder: TorchEncoder) -> torch.Tensor:
    features: torch.Tensor = encoder.encode_image(noise_pixels(encoder.preprocess))
    return features


def build(spec: ModelSpec) -> BuiltModel:
    """Build the model that `spec` names, with its adapter.

    Raises:
        ModelError: it cannot be built as it was trained.
    """
    module, _, function = KINDS[spec.kind].builder.partition(":")
    builder = cast("Callable[[ModelSpec], BuiltModel]", getattr(importlib.import_module(module), function))
    base = builder(replace(spec, adapter=""))
    return add_adapter(base, spec) if spec.adapter else base
