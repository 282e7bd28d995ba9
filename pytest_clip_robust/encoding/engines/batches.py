"""One batch through the model: split if memory runs out, and its features checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.outputs import float_array
from pytest_clip_robust.system.notice import Notice


@dataclass(slots=True)
class BatchLimit:
    """The number of samples that a model can take at once, or None if it is not known."""

    samples: int | None = None


class StartedPart(NamedTuple):
    """Some samples of a batch and the model's output for them, which a GPU can still be computing until `arrived`."""

    samples: list[str]
    features: Any
    arrived: Any = None


class BatchEncoder:
    """Calls `encode`, which turns a batch of anything sliceable into (B, D) features.

    If the device runs out of memory, the batch is halved, for this call and all later calls that share `limit`.
    """

    def __init__(
        self, encode: Callable[[Any], Any], *, name: str, notice: Notice, limit: BatchLimit | None = None
    ) -> None:
        """Wrap `encode`; `name` is the model's, for messages."""
        self._encode, self._name, self._notice = encode, name, notice
        self._limit = limit or BatchLimit()

    def __call__(self, batch: Any, samples: list[str]) -> NDArray[np.float32]:
        """Return the (B, D) float32 features of `samples`, whose inputs are `batch`; see `start` and `finish`."""
        return self.finish(self.start(batch, samples))

    def start(self, batch: Any, samples: list[str]) -> list[StartedPart]:
        """Send `samples`, whose inputs are `batch`, through the model, and begin to copy the features back.

        Raises:
            ModelError: memory does not suffice for one sample.
        """
        parts: list[StartedPart] = []
        done = 0
        while done < len(samples):
            size = min(self._limit.samples or len(samples), len(samples) - done)
            part = self._try_start(batch[done : done + size], samples[done : done + size])
            if part is None:
                self._halve(size)
                continue
            parts.append(part)
            done += size
        return parts

    def finish(self, parts: list[StartedPart]) -> NDArray[np.float32]:
        """Wait for a batch and return its (B, D) float32 features.

        Raises:
            ModelError: they are not one row of D finite numbers per sample.
        """
        features = [self._checked(part) for part in parts]
        return features[0] if len(features) == 1 else np.concatenate(features)

    def _try_start(self, batch: Any, samples: list[str]) -> StartedPart | None:
        """Return None if memory runs out."""
        try:
            with torch.inference_mode():
                return _begin_copy(self._encode(batch), samples)
        except torch.cuda.OutOfMemoryError:
            return None  # the caller retries after this block, where no traceback keeps the batch's tensors alive

    def _halve(self, size: int) -> None:
        if size == 1:
            raise ModelError(f"{self._name}: one sample does not fit into the device's memory: try --clip-device cpu")
        torch.cuda.empty_cache()
        self._limit.samples = size // 2
        self._notice(
            f"{self._name}: a batch of {size} does not fit into the device's memory; continuing with {size // 2}"
        )

    def _checked(self, part: StartedPart) -> NDArray[np.float32]:
        features, samples = _to_array(part), part.samples
        if features.ndim != 2 or len(features) != len(samples) or not features.size:
            raise ModelError(
                f"{self._name}: features of shape {features.shape} for {len(samples)} samples: "
                f"expected ({len(samples)}, D)"
            )
        finite = np.isfinite(features).all(axis=1)
        if not finite.all():
            raise ModelError(
                f"{self._name}: the features of {samples[int(finite.argmin())]!r} are NaN or infinite: "
                "check the checkpoint, or try --clip-precision fp32"
            )
        return features


def _begin_copy(features: Any, samples: list[str]) -> StartedPart:
    """Begin to copy features from a GPU into pinned memory, so that Python does not have to wait for the model."""
    if not isinstance(features, torch.Tensor) or not features.is_cuda:
        return StartedPart(samples, features)
    copied = features.detach().float().to("cpu", non_blocking=True)
    return StartedPart(samples, copied, torch.cuda.current_stream(features.device).record_event())


def _to_array(part: StartedPart) -> NDArray[np.float32]:
    if part.arrived is not None:
        part.arrived.synchronize()
    return float_array(part.features)
