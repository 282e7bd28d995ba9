from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch

from pytest_clip_robust.encoding.engines import overlap
from pytest_clip_robust.encoding.engines.overlap import DeviceTransfer, one_ahead
from pytest_clip_robust.encoding.pixels.reading import PixelBatch
from pytest_clip_robust.models.protocols import PreprocessSteps


def test_each_is_started_before_the_one_before_it_is_finished():
    log = []
    done = one_ahead(iter("abc"), lambda item: log.append(f"start {item}") or item, log.append)
    list(done)
    assert log == ["start a", "start b", "a", "start c", "b", "c"]


def test_no_items_give_no_results():
    assert list(one_ahead(iter(()), str, str)) == []


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("where", ["items", "start"])
def test_what_was_started_before_an_error_is_not_lost(error, where):
    def items():
        yield from (1, 2)
        if where == "items":
            raise error
        yield 3

    def start(item):
        if item == 3:
            raise error
        return item

    results = one_ahead(items(), start, lambda item: item)
    assert [next(results), next(results)] == [1, 2]
    with pytest.raises(error):
        next(results)


def test_an_error_at_the_end_of_one_is_raised_and_stops_the_source():
    closed = []

    def items():
        try:
            yield from range(9)
        finally:
            closed.append(True)

    with pytest.raises(ZeroDivisionError) as error:
        list(one_ahead(items(), lambda item: item, lambda item: 1 // item))
    assert closed == [True]
    assert error.value


def test_closing_the_iterator_closes_the_source():
    closed = []

    def items():
        try:
            yield from range(9)
        finally:
            closed.append(True)

    results = one_ahead(items(), str, str)
    next(results)
    results.close()
    assert closed == [True]


STEPS = PreprocessSteps(
    identity="halves", resize=lambda image: image, normalise=lambda pixels: pixels.permute(0, 3, 1, 2).float() / 2
)


class HalvingEncoder:
    scale, bias, identity, preprocess_steps = 1.0, 0.0, "halving", STEPS


def batch_of(size=2):
    pixels = torch.arange(size * 12, dtype=torch.uint8).reshape(size, 2, 2, 3)
    return PixelBatch(list(range(size)), pixels, [True] * size, [])


def test_normalising_runs_on_the_models_device(load):
    transfer, batch = DeviceTransfer(load(HalvingEncoder())), batch_of()
    copied = transfer.finish(transfer.start(batch))
    assert copied.batch is batch
    assert torch.equal(copied.inputs, STEPS.normalise(batch.pixels))


def test_a_model_without_steps_gets_its_pixels_as_they_are(load, encoder):
    transfer = DeviceTransfer(load(encoder, device="cuda"))
    pixels = torch.rand(2, 3, 4, 4)
    copied = transfer.finish(transfer.start(PixelBatch([0, 1], pixels, [True] * 2, [])))
    assert copied.inputs is pixels


def test_the_cpu_normalises_if_the_device_rounds_differently(load, monkeypatch):
    monkeypatch.setattr(overlap, "normalises_alike", lambda steps, device: False)
    moved = []
    to = torch.Tensor.to
    monkeypatch.setattr(torch.Tensor, "to", lambda self, *args, **options: moved.append(self.dtype) or to(self, *args))
    transfer, batch = DeviceTransfer(load(HalvingEncoder())), batch_of()
    assert torch.equal(transfer.finish(transfer.start(batch)).inputs, STEPS.normalise(batch.pixels))
    assert moved == [torch.float32]


def test_a_gpu_copies_on_a_separate_stream_and_the_model_waits_for_it(load, monkeypatch):
    """Fake streams that record the calls in order."""
    log = []

    class Stream:
        def record_event(self):
            log.append("copied")
            return "event"

        def wait_event(self, event):
            log.append(f"model waits for the {event}")

    @contextmanager
    def stream(_):
        log.append("on the side stream")
        yield
        log.append("back on the model's stream")

    monkeypatch.setattr(overlap, "_stream", lambda device: Stream())
    monkeypatch.setattr(overlap, "normalises_alike", lambda steps, device: True)
    monkeypatch.setattr(torch.cuda, "stream", stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream())
    monkeypatch.setattr(torch.Tensor, "to", lambda self, device, non_blocking: log.append(str(device)) or self)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda self, stream: log.append("memory kept"))
    transfer, batch = DeviceTransfer(load(HalvingEncoder(), device="cuda")), batch_of()
    copied = transfer.start(batch)
    assert log == ["on the side stream", "cuda", "copied", "back on the model's stream"]
    log.clear()
    assert torch.equal(transfer.finish(copied).inputs, batch.pixels.permute(0, 3, 1, 2).float() / 2)
    assert log == ["model waits for the event", "memory kept"]
