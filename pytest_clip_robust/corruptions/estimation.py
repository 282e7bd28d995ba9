"""Depth for images that have none, from a transformers depth-estimation model."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from pytest_clip_robust.corruptions.canvas import canvas_size
from pytest_clip_robust.errors import ConfigError
from pytest_clip_robust.system.hub import reachable
from pytest_clip_robust.system.quiet import quiet
from pytest_clip_robust.system.text import one_line

METRIC_TYPES = frozenset({"depth_pro", "glpn", "prompt_depth_anything", "zoedepth"})
"""Model types that answer with distances; the others answer with inverse depth up to scale and shift, unless their
configuration says ``depth_estimation_type: metric``."""

FAR_OVER_NEAR = 10.0
"""What a relative answer cannot say: how much farther the farthest is than the nearest."""

MEDIAN_CODE = 1000
"""Depth maps are kept in 16 bits, the median at this code: corruptions ask for ratios of depths only."""


class DepthEstimator:
    """A depth-estimation model, ready to be asked. `identity` changes whenever its weights or preprocessing do."""

    def __init__(self, source: str, *, device: str = "cpu") -> None:
        """Load the model in folder `source`, or of that name on the hub.

        Raises:
            ConfigError: there is none, or it is no depth-estimation model.
        """
        self.source, self._device = source, device
        self._processor, self._model = _load(source)
        self._model.to(device).eval()
        self.identity = _identity(self._model, self._processor)

    def estimate(self, images: Sequence[Image.Image]) -> list[bytes]:
        """Return the depth maps of RGB images of any sizes, as 16-bit PNG files of the size that they are corrupted at.

        Raises:
            ConfigError: the model's answers are NaN or infinite.
        """
        maps = []
        for image in images:
            inputs = self._processor(images=image, return_tensors="pt").to(self._device)
            with torch.inference_mode(), quiet():
                answer = self._model(**inputs).predicted_depth.float()
            if not torch.isfinite(answer).all():
                raise ConfigError(f"depth model {self.source!r}: its answers are NaN or infinite; take another one")
            width, height = canvas_size(*image.size)
            resized = torch.nn.functional.interpolate(
                answer.reshape(1, 1, *answer.shape[-2:]), (height, width), mode="bilinear", align_corners=False
            )
            maps.append(_png(self._distance(resized[0, 0]).cpu().numpy()))
        return maps

    def _distance(self, answer: Tensor) -> Tensor:
        config = self._model.config
        if getattr(config, "depth_estimation_type", "") == "metric" or config.model_type in METRIC_TYPES:
            return answer
        return from_inverse(answer)


def from_inverse(inverse: Tensor) -> Tensor:
    """Turn inverse depth of unknown scale and shift into depth from 1 to FAR_OVER_NEAR.

    A flat answer is a flat scene.
    """
    low, high = inverse.min(), inverse.max()
    share = (inverse - low) / (high - low) if high > low else torch.ones_like(inverse)
    return 1 / (share + (1 - share) / FAR_OVER_NEAR)


def _load(source: str) -> tuple[Any, Any]:
    local = not Path(source).is_dir() and not reachable()
    try:
        with quiet():
            from transformers import AutoImageProcessor, AutoModelForDepthEstimation  # noqa: PLC0415 - seconds

            processor = AutoImageProcessor.from_pretrained(  # type: ignore[no-untyped-call]
                source, local_files_only=local
            )
            model = AutoModelForDepthEstimation.from_pretrained(source, local_files_only=local)
    except Exception as error:  # whatever transformers meets in a foreign folder
        way_out = "the hub cannot be reached, and it is not cached" if local else one_line(error)
        raise ConfigError(
            f"depth model {source!r} cannot be loaded: {way_out}; "
            "give the folder or hub name of a transformers depth-estimation model"
        ) from error
    return processor, model


def _identity(model: Any, processor: Any) -> str:
    digest = hashlib.sha256(json.dumps(processor.to_dict(), sort_keys=True, default=str).encode())
    digest.update(json.dumps(model.config.to_dict(), sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _png(depth: NDArray[np.float32]) -> bytes:
    known = depth[depth > 0]
    median = float(np.median(known)) if known.size else 1.0
    codes = np.where(depth > 0, np.clip(np.round(depth / median * MEDIAN_CODE), 1, 2**16 - 1), 0).astype(np.uint16)
    buffer = io.BytesIO()
    Image.fromarray(codes).save(buffer, "PNG")
    return buffer.getvalue()
