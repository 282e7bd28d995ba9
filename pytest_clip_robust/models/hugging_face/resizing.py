"""Image processors of transformers that resize as Pillow does, with every release of torchvision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL.Image import Resampling
from transformers import AutoImageProcessor
from transformers.image_processing_backends import TorchvisionBackend

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.system.text import one_line

ALIKE = frozenset({Resampling.BILINEAR, Resampling.BICUBIC})
"""How torchvision resizes as Pillow does, up to steps of 1/255. By nearest neighbours it takes other pixels, and it has
neither box nor Hamming. It has Lanczos from 0.27 on: before, transformers resizes bicubically, without an error."""


def as_pillow_resizes(processor: Any, folder: Path, *, code: bool, where: str) -> Any:
    """Return an image processor that resizes as Pillow does: the given one, or its class that uses Pillow.

    folder: has the settings of the processor. code: whether the folder's own Python code may run. where: for messages.

    Raises:
        ModelError: the processor resizes with torchvision in another way, and has no class that uses Pillow.
    """
    if not _differs(processor):
        return processor
    what = f"{where}: its image processor, {type(processor).__name__}, resizes by {_kind(processor)} with torchvision"
    way_out = "load the model in your own function with py:, which resizes with Pillow"
    try:
        auto: Any = AutoImageProcessor
        found = auto.from_pretrained(folder, backend="pil", local_files_only=True, trust_remote_code=code)
    except Exception as error:  # processors raise errors of many kinds
        raise ModelError(
            f"{what}, and cannot be loaded with Pillow: {type(error).__name__}: {one_line(error)}; {way_out}"
        ) from error
    if _differs(found):
        raise ModelError(f"{what}, which gives other pixels than Pillow, and has no class that uses Pillow; {way_out}")
    return found


def _differs(processor: Any) -> bool:
    if not isinstance(processor, TorchvisionBackend) or not getattr(processor, "do_resize", True):
        return False
    return getattr(processor, "resample", None) not in {None, *ALIKE}


def _kind(processor: Any) -> str:
    return next((one.name for one in Resampling if one == processor.resample), repr(processor.resample))
