"""Depth estimation by a transformers model, for images without depth."""

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

from pytest_clip_robust.corruptions.sizes import canvas_size
from pytest_clip_robust.errors import ConfigError
from pytest_clip_robust.system.hub import reachable
from pytest_clip_robust.system.quiet import quiet
from pytest_clip_robust.system.text import one_line

METRIC_TYPES = frozenset({"depth_pro", "glpn", "prompt_depth_anything", "zoedepth"})
"""Model types that predict distances. The others predict inverse depth up to scale and shift, unless their
configuration says ``depth_estimation_type: metric``."""

FAR_OVER_NEAR = 10.0
"""Ratio of the farthest to the nearest depth, which relative models do not predict."""

MEDIAN_CODE = 1000
"""Depth maps are stored in 16 bits, scaled so that the median has this value; corruptions use ratios only."""


class DepthEstimator:
    """A loaded depth-estimation model; `identity` changes whenever its weights or its preprocessing change."""

    def __init__(self, source: str, *, device: str = "cpu") -> None:
        """Load the model from the folder `source`, or from the hub if there is no such folder.

        Raises:
            ConfigError: the model does not exist, or it is not a depth-estimation model.
        """
        self.source, self._device = source, device
        self._processor, self._model = _load(source)
        self._model.to(device).eval()
        self.identity = _identity(self._model, self._processor)

    def estimate(self, images: Sequence[Image.Image]) -> list[bytes]:
        """Return depth maps of RGB images of any size, as 16-bit PNG files of the size of their canvas.

        Raises:
            ConfigError: the model's predictions are NaN or infinite.
        """
        maps = []
        for image in images:
            inputs = self._processor(images=image, return_tensors="pt").to(self._device)
            with torch.inference_mode(), quiet():
                prediction = self._model(**inputs).predicted_depth.float()
            if not torch.isfinite(prediction).all():
                raise ConfigError(
                    f"depth model {self.source!r}: its predictions are NaN or infinite; choose another depth model"
                )
            width, height = canvas_size(*image.size)
            resized = torch.nn.functional.interpolate(
                prediction.reshape(1, 1, *prediction.shape[-2:]), (height, width), mode="bilinear", align_corners=False
            )
            maps.append(_png(self._distance(resized[0, 0]).cpu().numpy()))
        return maps

    def _distance(self, prediction: Tensor) -> Tensor:
        config = self._model.config
        if getattr(config, "depth_estimation_type", "") == "metric" or config.model_type in METRIC_TYPES:
            return prediction
        return from_inverse(prediction)


def from_inverse(inverse: Tensor) -> Tensor:
    """Convert inverse depth of unknown scale and shift to depth from 1 to FAR_OVER_NEAR.

    A constant prediction gives a constant depth of 1.
    """
    low, high = inverse.min(), inverse.max()
    share = (inverse - low) / (high - low) if high > low else torch.ones_like(inverse)
    return 1 / (share + (1 - share) / FAR_OVER_NEAR)


def _load(source: str) -> tuple[Any, Any]:
    local = not Path(source).is_dir() and not reachable()
    try:
        with quiet():
            from transformers import AutoImageProcessor, AutoModelForDepthEstimation  # noqa: PLC0415 - seconds

            # Without trust_remote_code=False, transformers would ask on the terminal whether to run code of the folder.
            settings = {"local_files_only": local, "trust_remote_code": False}
            processor = AutoImageProcessor.from_pretrained(source, **settings)  # type: ignore[no-untyped-call]
            model, loading = AutoModelForDepthEstimation.from_pretrained(source, output_loading_info=True, **settings)
    except Exception as error:  # transformers raises many types for an unusable folder
        reason = "it is not cached, and the hub cannot be reached" if local else one_line(error)
        raise ConfigError(
            f"depth model {source!r} cannot be loaded: {reason}; "
            "give the folder or hub name of a transformers depth-estimation model"
        ) from error
    missing = sorted(loading["missing_keys"])
    if missing:
        raise ConfigError(
            f"depth model {source!r}: its checkpoint has no weights for {len(missing)} parameters, such as "
            f"{missing[0]!r}; transformers would use random ones"
        )
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
