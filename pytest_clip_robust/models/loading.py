"""From a spec to a model that passed its checks."""

from __future__ import annotations

import torch

from pytest_clip_robust.errors import ConfigError
from pytest_clip_robust.models.custom import load_custom
from pytest_clip_robust.models.protocols import LoadedModel
from pytest_clip_robust.models.sanity import check_model
from pytest_clip_robust.models.spec import ModelKind, ModelSpec
from pytest_clip_robust.system.quiet import quiet


def load_model(spec: ModelSpec, *, device: str, precision: str, compiled: bool = False) -> LoadedModel:
    """Load `spec` on `device` and check it; `compiled` puts its towers through torch.compile where that works.

    Raises:
        ModelError: it cannot be loaded, or fails its checks.
    """
    if spec.kind is ModelKind.PYTHON:
        loaded = load_custom(spec, device=device, precision=precision, compiled=compiled)
    else:
        with quiet():
            from pytest_clip_robust.models.open_clip.loader import load_openclip  # noqa: PLC0415 - seconds that py: spares

            loaded = load_openclip(spec, device=device, precision=precision, compiled=compiled)
    check_model(loaded)
    return loaded


def resolve_device(text: str, *, local_rank: int | None = None) -> str:
    """Return the torch device that `text` names; ``auto`` takes a CUDA GPU, then Apple's, then the CPU.

    Of several processes on one machine, ``auto`` and ``cuda`` give each the GPU of its `local_rank`, in turns.

    Raises:
        ConfigError: it is no device, or not one of this machine.
    """
    if text in {"auto", "cuda"} and local_rank is not None and torch.cuda.is_available():
        return f"cuda:{local_rank % torch.cuda.device_count()}"
    if text == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(text)
    except RuntimeError:
        raise ConfigError(f"--clip-device {text!r}: expected auto, cpu, cuda, cuda:N or mps") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"--clip-device {text!r}: this machine shows {torch.cuda.device_count()} CUDA GPUs")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError(f"--clip-device {text!r}: this machine has none")
    return text
