"""One batch through the model: in as much memory as there is, and checked before anyone believes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pytest_clip_robust.encoding.notice import Notice
from pytest_clip_robust.errors import ModelError


class BatchEncoder:
    """Calls `encode`, which turns a batch of anything sliceable into (B, D) features.

    When the device's memory does not suffice, the batch is halved, for this and all later calls.
    """

    def __init__(self, encode: Callable[[Any], Any], *, who: str, notice: Notice) -> None:
        """Wrap `encode`; `who` names the model in messages."""
        self._encode, self._who, self._notice = encode, who, notice
        self._limit: int | None = None

    def __call__(self, batch: Any, samples: list[str]) -> NDArray[np.float32]:
        """Return the (B, D) float32 features of `samples`, whose inputs `batch` holds.

        Raises:
            ModelError: memory does not suffice for one sample, or the features are not B rows of D finite numbers.
        """
        parts = []
        done = 0
        while done < len(samples):
            size = min(self._limit or len(samples), len(samples) - done)
            features = self._within_memory(batch[done : done + size])
            if features is None:
                self._halve(size)
                continue
            self._check(features, samples[done : done + size])
            parts.append(features)
            done += size
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _within_memory(self, batch: Any) -> NDArray[np.float32] | None:
        try:
            with torch.inference_mode():
                return _to_array(self._encode(batch))
        except torch.cuda.OutOfMemoryError:
            return None  # outside of this block, so that the traceback no longer holds the batch's tensors

    def _halve(self, size: int) -> None:
        if size == 1:
            raise ModelError(f"{self._who}: one sample does not fit into the device's memory: try --clip-device cpu")
        torch.cuda.empty_cache()
        self._limit = size // 2
        self._notice(
            f"{self._who}: a batch of {size} does not fit into the device's memory: going on with {self._limit}"
        )

    def _check(self, features: NDArray[np.float32], samples: list[str]) -> None:
        if features.ndim != 2 or len(features) != len(samples) or not features.size:
            raise ModelError(
                f"{self._who}: features of shape {features.shape} for {len(samples)} samples: "
                f"expected ({len(samples)}, D)"
            )
        finite = np.isfinite(features).all(axis=1)
        if not finite.all():
            raise ModelError(
                f"{self._who}: the features of {samples[int(finite.argmin())]!r} are NaN or infinite: "
                "check the checkpoint, or try --clip-precision fp32"
            )


def _to_array(features: Any) -> NDArray[np.float32]:
    if isinstance(features, torch.Tensor):
        features = features.detach().float().cpu().numpy()
    return np.asarray(features, dtype=np.float32)
