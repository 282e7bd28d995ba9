"""Load a model by its spec and check it."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Protocol, cast

from pytest_clip_robust.models.card.reading import card_for
from pytest_clip_robust.models.protocols import LoadedModel
from pytest_clip_robust.models.sanity import check_model, scale_notes
from pytest_clip_robust.models.spec import KINDS, ModelSpec
from pytest_clip_robust.system.allocator import keep_freed_memory
from pytest_clip_robust.system.quiet import quiet


class Loader(Protocol):
    """The function that a kind of model names in `KINDS`."""

    def __call__(
        self, spec: ModelSpec, *, device: str, precision: str, compiled: bool = False, folded: bool = True
    ) -> LoadedModel:
        """Load the model that `spec` names on `device`."""


def load_model(spec: ModelSpec, *, device: str, precision: str, compiled: bool = False) -> LoadedModel:
    """Load `spec` on `device` and check it; `compiled` runs its towers through torch.compile where possible.

    Raises:
        ModelError: it cannot be loaded, or fails its checks.
    """
    loaded = load_unchecked(spec, device=device, precision=precision, compiled=compiled)
    check_model(loaded)
    return replace(loaded, notes=(*loaded.notes, *scale_notes(loaded)), card=card_for(loaded))


def load_unchecked(
    spec: ModelSpec, *, device: str, precision: str, compiled: bool = False, folded: bool = True
) -> LoadedModel:
    """Load `spec` without its checks.

    folded: whether convolutional towers are made faster, which replaces layers: see `speed_up_convolutions`.

    Raises:
        ModelError: it cannot be loaded.
    """
    if device == "cpu":
        keep_freed_memory()
    return _loader(spec)(spec, device=device, precision=precision, compiled=compiled, folded=folded)


def _loader(spec: ModelSpec) -> Loader:
    module, _, function = KINDS[spec.kind].loader.partition(":")
    with quiet():  # open_clip and its dependencies warn on import
        return cast("Loader", getattr(importlib.import_module(module), function))
