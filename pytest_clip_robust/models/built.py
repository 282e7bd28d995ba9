"""A model of torch that is built and not yet used: what loaders return, and what changes parameters works on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch

from pytest_clip_robust.models.protocols import EncodesImages


class TorchEncoder(EncodesImages, Protocol):
    """An encoder whose towers can be compiled."""

    def compile(self) -> list[str]:
        """Compile the towers with torch.compile; return a note for each tower that cannot be compiled."""


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
