"""One batch through the model: in as much memory as there is, and checked before anyone believes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.system.notice import Notice


@dataclass(slots=True)
class BatchLimit:
    """How many samples a model takes at once, where that is known."""

    samples: int | None = None


class Part(NamedTuple):
    """Features of some samples of a batch, as the model gave them; a GPU may still be at them until `arrived`."""

    samples: list[str]
    features: Any
    arrived: Any = None


class BatchEncoder:
    """Calls `encode`, which turns a batch of anything sliceable into (B, D) features.

    When the device's memory does not suffice, the batch is halved, for this and all later calls that share `limit`.
    """

    def __init__(
        self, encode: Callable[[Any], Any], *, who: str, notice: Notice, limit: BatchLimit | None = None
    ) -> None:
        """Wrap `encode`; `who` names the model in messages."""
        self._encode, self._who, self._notice = encode, who, notice
        self._limit = limit or BatchLimit()

    def __call__(self, batch: Any, samples: list[str]) -> NDArray[np.float32]:
        """Return the (B, D) float32 features of `samples`, whose inputs `batch` holds; see `start` and `finish`."""
        return self.finish(self.start(batch, samples))

    def start(self, batch: Any, samples: list[str]) -> list[Part]:
        """Send `samples`, whose inputs `batch` holds, through the model, and their features on the way back.

        Raises:
            ModelError: memory does not suffice for one sample.
        """
        parts: list[Part] = []
        done = 0
        while done < len(samples):
            size = min(self._limit.samples or len(samples), len(samples) - done)
            part = self._within_memory(batch[done : done + size], samples[done : done + size])
            if part is None:
                self._halve(size)
                continue
            parts.append(part)
            done += size
        return parts

    def finish(self, parts: list[Part]) -> NDArray[np.float32]:
        """Return the (B, D) float32 features of a batch once they are there.

        Raises:
            ModelError: they are not a row of D finite numbers for each sample.
        """
        features = [self._checked(part) for part in parts]
        return features[0] if len(features) == 1 else np.concatenate(features)

    def _within_memory(self, batch: Any, samples: list[str]) -> Part | None:
        try:
            with torch.inference_mode():
                return _on_the_way(self._encode(batch), samples)
        except torch.cuda.OutOfMemoryError:
            return None  # outside of this block, so that the traceback no longer holds the batch's tensors

    def _halve(self, size: int) -> None:
        if size == 1:
            raise ModelError(f"{self._who}: one sample does not fit into the device's memory: try --clip-device cpu")
        torch.cuda.empty_cache()
        self._limit.samples = size // 2
        self._notice(f"{self._who}: a batch of {size} does not fit into the device's memory: going on with {size // 2}")

    def _checked(self, part: Part) -> NDArray[np.float32]:
        features, samples = _to_array(part), part.samples
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
        return features


def _on_the_way(features: Any, samples: list[str]) -> Part:
    """Begin to copy features from a GPU, which gives them pinned memory, so that Python need not wait for the model."""
    if not isinstance(features, torch.Tensor) or not features.is_cuda:
        return Part(samples, features)
    copied = features.detach().float().to("cpu", non_blocking=True)
    return Part(samples, copied, torch.cuda.current_stream(features.device).record_event())


def _to_array(part: Part) -> NDArray[np.float32]:
    if part.arrived is not None:
        part.arrived.synchronize()
    features = part.features
    if isinstance(features, torch.Tensor):
        features = features.detach().float().cpu().numpy()
    return np.asarray(features, dtype=np.float32)
