"""Overlap of copying and computing: inputs are copied ahead of the model, and results are fetched behind it.

A device works while Python continues. So each batch is started before the result of the previous one is awaited. On a
CPU, where starting a batch also finishes it, this costs the memory of one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import nullcontext
from typing import Any, NamedTuple, TypeVar

import torch

from pytest_clip_robust.encoding.pixels.reading import PixelBatch
from pytest_clip_robust.models.protocols import LoadedModel
from pytest_clip_robust.models.sanity import normalises_alike

Item = TypeVar("Item")
Started = TypeVar("Started")
Result = TypeVar("Result")


def one_ahead(
    items: Iterator[Item], start: Callable[[Item], Started], finish: Callable[[Started], Result]
) -> Iterator[Result]:
    """Yield ``finish(start(item))`` for every item, and start each item before the previous one is finished.

    If `items` or `start` fail, everything that was started is finished and yielded before the error is raised.

    >>> list(one_ahead(iter("ab"), lambda item: print("start", item) or item, str.upper))
    start a
    start b
    ['A', 'B']
    """
    started: list[Started] = []
    failure: BaseException | None = None
    try:
        while failure is None:
            try:
                started.append(start(next(items)))
            except StopIteration:
                break
            except BaseException as error:  # noqa: BLE001 - raised below
                failure = error
            if len(started) > 1:
                yield finish(started.pop(0))
        yield from map(finish, started)
        if failure is not None:
            raise failure
    finally:
        if isinstance(items, Generator):
            items.close()  # at once, even if a traceback keeps this frame alive


class TransferredBatch(NamedTuple):
    """A batch and its model `inputs` on the model's device, where the copy is complete once `arrived` has happened."""

    batch: PixelBatch
    inputs: torch.Tensor
    arrived: Any = None


class DeviceTransfer:
    """Copies batches to the model's device and applies the normalising step of its `preprocess` there.

    On a GPU, copies run on a separate stream, from pinned memory, while the model computes the previous batch.
    """

    def __init__(self, model: LoadedModel) -> None:
        """Serve `model`; if its `preprocess` is not split into steps, it gets complete pixels on the CPU."""
        steps = model.steps
        self._device = torch.device(model.device if steps is not None else "cpu")
        self._normalise = steps.normalise if steps is not None else torch.Tensor.float
        # Copying 8-bit pixels takes a quarter of the bytes, so normalise on the device if it gives the same numbers.
        self._normalise_on_device = steps is None or normalises_alike(steps, model.device)
        self._stream = _stream(self._device) if self._device.type == "cuda" else None

    def start(self, batch: PixelBatch) -> TransferredBatch:
        """Begin to copy."""
        with nullcontext() if self._stream is None else torch.cuda.stream(self._stream):
            pixels = batch.pixels if self._normalise_on_device else self._normalise(batch.pixels)
            inputs = pixels.to(self._device, non_blocking=True)
            if self._normalise_on_device:
                inputs = self._normalise(inputs)
            return TransferredBatch(batch, inputs, None if self._stream is None else self._stream.record_event())

    def finish(self, copied: TransferredBatch) -> TransferredBatch:
        """Make the model's stream, but not Python, wait for the copy."""
        if self._stream is not None:
            stream = torch.cuda.current_stream(self._device)
            stream.wait_event(copied.arrived)
            copied.inputs.record_stream(stream)
        return copied


def _stream(device: torch.device) -> Any:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
