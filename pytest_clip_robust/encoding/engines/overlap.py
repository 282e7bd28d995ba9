"""What runs side by side: copies to the device ahead of the model, results on their way back behind it.

A device works while Python goes on. So each batch is started before the result of the one before it is waited for; on a
CPU, which has done a thing once it is started, that costs the memory of one batch.
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
    """Yield ``finish(start(item))`` of every item, each started before the one before it is finished.

    Where `items` or `start` fail, what was started is finished and yielded before the error is raised.

    >>> list(one_ahead(iter("ab"), lambda item: print("start", item) or item, str.upper))
    start a
    start b
    ['A', 'B']
    """
    before: list[Started] = []
    failure: BaseException | None = None
    try:
        while failure is None:
            try:
                before.append(start(next(items)))
            except StopIteration:
                break
            except BaseException as error:  # noqa: BLE001 - raised below
                failure = error
            if len(before) > 1:
                yield finish(before.pop(0))
        yield from map(finish, before)
        if failure is not None:
            raise failure
    finally:
        if isinstance(items, Generator):
            items.close()  # now, even where a traceback keeps this frame alive


class PlacedBatch(NamedTuple):
    """A batch whose `inputs` are (on their way to) what the model takes, where it takes it."""

    batch: PixelBatch
    inputs: torch.Tensor
    arrived: Any = None


class Placing:
    """Brings batches to where a model takes them, and does there what is left of its `preprocess`.

    On a GPU, copies run on a stream of their own, from pinned memory, while the model is busy with the batch before.
    """

    def __init__(self, model: LoadedModel) -> None:
        """Serve `model`; one whose `preprocess` is not known in steps gets its pixels as they are, on the CPU."""
        steps = model.steps
        self._device = torch.device(model.device if steps is not None else "cpu")
        self._normalise = steps.normalise if steps is not None else torch.Tensor.float
        # A quarter of the bytes travels where the device does the arithmetic.
        self._normalise_there = steps is None or normalises_alike(steps, model.device)
        self._stream = _stream(self._device) if self._device.type == "cuda" else None

    def start(self, batch: PixelBatch) -> PlacedBatch:
        """Begin to copy."""
        with nullcontext() if self._stream is None else torch.cuda.stream(self._stream):
            pixels = batch.pixels if self._normalise_there else self._normalise(batch.pixels)
            inputs = pixels.to(self._device, non_blocking=True)
            if self._normalise_there:
                inputs = self._normalise(inputs)
            return PlacedBatch(batch, inputs, None if self._stream is None else self._stream.record_event())

    def finish(self, placed: PlacedBatch) -> PlacedBatch:
        """Let the model's stream wait for the copy; Python does not."""
        if self._stream is not None:
            stream = torch.cuda.current_stream(self._device)
            stream.wait_event(placed.arrived)
            placed.inputs.record_stream(stream)
        return placed


def _stream(device: torch.device) -> Any:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
