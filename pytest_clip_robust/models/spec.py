"""Model specs: the string after ``--model``, parsed into one frozen value. Imports nothing heavy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

from pytest_clip_robust.errors import ModelError, did_you_mean
from pytest_clip_robust.system.text import printable

CHECKPOINT_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")
LONGEST = 4096

EXAMPLES = "ViT-B-32@openai, ViT-B-32@runs/epoch_3.pt, local-dir:models/mine, hf-hub:org/repo or py:my.module:factory"


class ModelKind(StrEnum):
    """Where a model comes from; the value is the spec's prefix."""

    OPEN_CLIP = "open_clip"
    LOCAL_DIR = "local-dir"
    HF_HUB = "hf-hub"
    PYTHON = "py"


PREFIXES = {f"{kind}:": kind for kind in ModelKind if kind is not ModelKind.OPEN_CLIP}
COMING = {"hf:": "transformers models", "timm:": "timm classifiers"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One model, named.

    name: the open_clip architecture or config file, the folder, the repository, or ``module:factory``.
    weights: an open_clip tag or the path of a checkpoint; ``""`` asks for the default tag, or does not apply.
    quick_gelu: what the spec says of a checkpoint's activation function; None where it says nothing.
    """

    kind: ModelKind
    name: str
    weights: str = ""
    quick_gelu: bool | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a model spec.

        Raises:
            ModelError: `text` is no model spec; the message says what one looks like.

        >>> ModelSpec.parse("ViT-B-32@openai").weights
        'openai'
        """
        _check_text(text)
        for prefix, what in COMING.items():
            if text.startswith(prefix):
                raise ModelError(f"model spec {text!r}: {what} are not supported yet; wrap the model with py:")
        for prefix, kind in PREFIXES.items():
            if text.startswith(prefix):
                return cls(kind=kind, name=_named(text.removeprefix(prefix), kind, text))
        return cls._parse_open_clip(text)

    @classmethod
    def _parse_open_clip(cls, text: str) -> Self:
        body, question, query = text.partition("?")
        arch, at, weights = body.partition("@")
        if not arch or (at and not weights):
            raise ModelError(f"model spec {text!r} lacks a part of ARCH@WEIGHTS; write {EXAMPLES}")
        prefix, colon, _ = arch.partition(":")
        if colon and not arch.endswith(".json"):
            near = did_you_mean(f"{prefix}:", PREFIXES)
            raise ModelError(f"model spec {text!r}: unknown kind {prefix!r}{near}; write {EXAMPLES}")
        spec = cls(kind=ModelKind.OPEN_CLIP, name=arch, weights=weights, quick_gelu=_quick_gelu(query, text))
        if question and not spec.has_checkpoint:
            raise ModelError(f"model spec {text!r}: ?quick_gelu= is for ARCH@CHECKPOINT; a tag knows its activation")
        return spec

    @property
    def has_checkpoint(self) -> bool:
        """Tell whether `weights` is the path of a file rather than an open_clip tag."""
        if self.kind is not ModelKind.OPEN_CLIP or not self.weights:
            return False
        looks_like_a_path = "/" in self.weights or "\\" in self.weights
        return looks_like_a_path or self.weights.endswith(CHECKPOINT_SUFFIXES) or Path(self.weights).is_file()

    @property
    def label(self) -> str:
        """Name the model for people: the spec itself, fit to print."""
        return printable(str(self))

    @property
    def family(self) -> str:
        """Name what stays the same from checkpoint to checkpoint, fit for a folder; ``""`` where a spec does not tell.

        >>> ModelSpec.parse("ViT-B-32@runs/42/epoch_3.pt").family
        'ViT-B-32'
        """
        if self.kind is ModelKind.LOCAL_DIR:
            return ""
        name = self.name.rpartition("/")[2].removesuffix(".json")
        return re.sub(r"[^\w.-]", "_", name.replace(".py:", ".").replace(":", "."), flags=re.ASCII).lstrip(".")

    def __str__(self) -> str:
        prefix = "" if self.kind is ModelKind.OPEN_CLIP else f"{self.kind}:"
        weights = f"@{self.weights}" if self.weights else ""
        query = "" if self.quick_gelu is None else f"?quick_gelu={str(self.quick_gelu).lower()}"
        return f"{prefix}{self.name}{weights}{query}"


def _check_text(text: str) -> None:
    if not text.strip():
        raise ModelError(f"model spec {text!r} is empty; write {EXAMPLES}")
    if len(text) > LONGEST:
        raise ModelError(f"model spec of {len(text)} characters, starting {text[:40]!r}; expected at most {LONGEST}")
    if not text.isprintable():
        raise ModelError(f"model spec {text!r} has control characters; write {EXAMPLES}")


def _named(name: str, kind: ModelKind, text: str) -> str:
    if kind is ModelKind.PYTHON:
        module, colon, factory = name.rpartition(":")
        if not colon or not module or not all(part.isidentifier() for part in factory.split(".")):
            raise ModelError(f"model spec {text!r}: expected py:MODULE:FACTORY or py:FILE.py:FACTORY")
    elif kind is ModelKind.HF_HUB and name.count("/") != 1:
        raise ModelError(f"model spec {text!r}: expected hf-hub:ORGANISATION/REPOSITORY")
    elif not name:
        raise ModelError(f"model spec {text!r}: expected a folder after local-dir:")
    return name


def _quick_gelu(query: str, text: str) -> bool | None:
    if not query:
        return None
    answers = {"quick_gelu=true": True, "quick_gelu=false": False}
    if query not in answers:
        raise ModelError(f"model spec {text!r}: {query!r} is not one of {' or '.join(answers)}")
    return answers[query]
