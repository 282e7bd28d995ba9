"""The torch device of a run, found without importing torch where that is possible: the import takes seconds."""

from __future__ import annotations

import ctypes
import sys

from pytest_clip_robust.errors import ConfigError
from pytest_clip_robust.system.modules import module_alone

CUDA_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


def resolve_device(text: str, *, local_rank: int | None = None) -> str:
    """Return the torch device that `text` names; ``auto`` prefers a CUDA GPU, then Apple's MPS, then the CPU.

    If several processes run on one machine, ``auto`` and ``cuda`` assign GPUs round-robin by `local_rank`.

    Raises:
        ConfigError: `text` is not a torch device, or this machine does not have it.
    """
    if text == "cpu" or (text == "auto" and has_no_accelerator()):
        return "cpu"
    import torch  # noqa: PLC0415 - see the module's docstring

    if text in {"auto", "cuda"} and local_rank is not None and torch.cuda.is_available():
        return f"cuda:{local_rank % torch.cuda.device_count()}"
    if text == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(text)
    except RuntimeError:
        raise ConfigError(f"--clip-device {text!r}: expected auto, cpu, cuda, cuda:N or mps") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"--clip-device {text!r}: this machine has {torch.cuda.device_count()} CUDA GPUs")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError(f"--clip-device {text!r}: this machine has no MPS device")
    return text


def has_no_accelerator() -> bool:
    """Return True if torch surely finds no GPU here; False if only torch can tell.

    A build of torch for CUDA needs the library of NVIDIA's driver, and other builds need none of it.
    """
    if "torch" in sys.modules or sys.platform == "darwin":
        return False
    try:
        built = module_alone("torch", "version")
    except FileNotFoundError:
        return False
    if getattr(built, "hip", None):
        return False
    return not getattr(built, "cuda", None) or not _can_load(CUDA_DRIVER)


def _can_load(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
