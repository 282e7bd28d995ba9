from __future__ import annotations

import pytest
import torch

from pytest_clip_robust.encoding.encoder import Encoder
from pytest_clip_robust.encoding.engines import local
from pytest_clip_robust.encoding.engines.batch_size import LARGEST_BATCH, MEMORY_FRACTION, PROBE_BATCH, largest_batch
from pytest_clip_robust.encoding.engines.local import LocalEngine, default_workers

MIB = 2**20


class Memory:
    """A device of some MiB whose model needs `fixed` + `each` per sample."""

    def __init__(self, total, each, fixed=0):
        self.total, self.each, self.fixed = total * MIB, each * MIB, fixed * MIB
        self.needed = 0

    def run(self, size):
        self.needed = self.fixed + size * self.each
        if self.needed > self.total:
            raise torch.OutOfMemoryError("CUDA out of memory")

    def free(self):
        return self.total

    def peak(self, work):
        work()
        return self.needed


@pytest.mark.parametrize(
    ("total", "each", "size"),
    [
        (8000, 10, LARGEST_BATCH),
        (8000, 20, 256),
        (1000, 10, 64),
        (400, 10, 16),
        (100, 10, PROBE_BATCH),
        (80_000, 0, LARGEST_BATCH),
    ],
)
def test_a_batch_fits_into_a_share_of_the_free_memory(total, each, size):
    memory = Memory(total, each)
    assert largest_batch(memory, memory.run) == size
    if size not in {PROBE_BATCH, LARGEST_BATCH}:
        assert size * each <= MEMORY_FRACTION * total < 2 * size * each


def test_fixed_memory_of_a_model_makes_batches_smaller_but_never_too_large():
    memory = Memory(1000, 2, fixed=64)
    size = largest_batch(memory, memory.run)
    assert memory.fixed + size * memory.each <= memory.total


@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true but no accelerator")
def test_gpu_batches_are_measured_and_reused_for_later_sets(load, encoder, image_set, png, store, monkeypatch):
    memory, seen = Memory(500, 10), []
    monkeypatch.setattr(local, "CudaMemory", lambda device: memory)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    encode = encoder.encode_image

    def run(pixels):
        memory.run(len(pixels))
        seen.append(len(pixels))
        return encode(pixels)

    monkeypatch.setattr(encoder, "encode_image", run)
    engine, model = LocalEngine(workers=0, notice=lambda _: None), load(encoder, device="cuda:0")
    Encoder(store, engine).images(model, image_set([png(seed) for seed in range(80)]))
    assert seen == [PROBE_BATCH, PROBE_BATCH, 32, 32, 16]
    memory.total, seen[:] = 200 * MIB, []
    Encoder(store, engine).images(model, image_set([png(seed) for seed in range(80, 120)]))
    Encoder(store, engine).images(model, image_set([png(seed) for seed in range(120, 152)]))
    assert seen == [16, 16, 8, 16, 16]


def test_every_worker_has_something_to_do(load, encoder, image_set, png, store):
    engine = LocalEngine(workers=1)
    Encoder(store, engine).images(load(encoder, device="mps"), image_set([png(seed) for seed in range(80)]))
    assert encoder.image_batches == [40, 40]


def test_a_cpu_model_gets_two_decoding_workers_and_processes_with_gpus_share_the_cores(monkeypatch):
    monkeypatch.setattr(local, "count_cores", lambda: 32)
    assert default_workers("cpu") == 2
    assert default_workers("cpu", few=True) == 0
    assert default_workers("cuda", few=True) == 16
    assert default_workers("cuda") == 16
    assert default_workers("cuda:0", processes=8) == 4
    assert default_workers("cuda:0", processes=99) == 2
