"""Simulation of large runs for `scaling.py`: GPUs, their nodes, the bucket with the features, and what runs alone.

Discrete events in pure Python; equal arguments give equal results. Nothing here is measured: unit costs are arguments.

Two ways of running are simulated, as the package has them:

- ``workers``: `pytest -n`, one process for each GPU. Each takes a data set of a model, preferably of the model that it
  has loaded, encodes it on its GPU, writes the shards, and judges the gates.
- ``ray``: `--clip-engine ray`. One process, the driver, sends blocks of one data set to the workers on all GPUs, writes
  the shards that come back, and judges the gates while the GPUs wait.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Literal

AHEAD = 2
"""Blocks that a worker of Ray has at once; as `encoding.cluster.pool.AHEAD`."""

AT_ONCE = 8
"""Shards that a process sends at once; as `encoding.store.features.WRITES_AT_ONCE`."""

BATCH, BATCHES_PER_BLOCK, BLOCKS_PER_WORKER = 512, 16, 4
"""As in `encoding.engines.blocks` for GPUs."""

Way = Literal["workers", "ray"]


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a run does: `images` in `sets` data sets of one size, encoded by `models`, and `gates` for each model."""

    images: int
    models: int
    gates: int
    sets: int = 1

    @property
    def images_per_set(self) -> int:
        """Images of one set; the last one may have fewer in reality."""
        return -(-self.images // self.sets)


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Unit costs in seconds and bytes.

    row: bytes of a stored row. write, logits: seconds per image. gate, gate_sample: a gate takes gate + gate_sample *
    samples seconds. report: seconds per gate when the run ends. load: seconds to load a model. start: seconds until a
    process can begin. shard: rows of a shard.
    """

    row: float = 0.0
    write: float = 0.0
    logits: float = 0.0
    gate: float = 0.0
    gate_sample: float = 0.0
    report: float = 0.0
    load: float = 0.0
    start: float = 0.0
    shard: int = 2048

    def judged(self, work: Work) -> float:
        """Return the seconds that logits and gates of one set of one model take."""
        each = self.gate + self.gate_sample * work.images_per_set
        return self.logits * work.images_per_set + each * work.gates / work.sets


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """GPUs on nodes, and a bucket.

    rate: images per second of a GPU. cores: CPU cores for each GPU. decode: CPU seconds to read, decode and resize an
    image. slow_share: the share of GPUs that need `slow` times as long. losses: lost nodes per hour and node;
    a lost node is back after `back` seconds, without what it had begun.
    latency, connection, bandwidth, requests: seconds per request, bytes per second of one connection and of the whole
    bucket, and requests per second of the whole bucket.
    """

    gpus: int
    rate: float
    node: int = 8
    cores: int = 16
    decode: float = 0.0
    slow_share: float = 0.0
    slow: float = 2.0
    losses: float = 0.0
    back: float = 300.0
    latency: float = 0.0
    connection: float = float("inf")
    bandwidth: float = float("inf")
    requests: float = float("inf")

    @property
    def images_per_second(self) -> float:
        """Images per second of one GPU with its cores."""
        return min(self.rate, self.cores / self.decode) if self.decode else self.rate


@dataclass(kw_only=True)
class Outcome:
    """The end of a run.

    seconds: its duration. busy: seconds in which GPUs encoded, of all GPUs together. repeated: images that were encoded
    and lost with a node. lost: nodes. puts, stored: requests and bytes written to the bucket.
    """

    seconds: float = 0.0
    busy: float = 0.0
    repeated: int = 0
    lost: int = 0
    puts: int = 0
    stored: float = 0.0


@dataclass
class Bucket:
    """Requests to the bucket, one after the other where its limits demand it."""

    cluster: Cluster
    free: float = 0.0
    puts: int = 0
    stored: float = 0.0

    def put(self, now: float, rows: int, costs: Costs) -> float:
        """Return the time at which `rows` have arrived that one process sends from `now` on, `AT_ONCE` shards at once.

        The bucket serves requests in the order in which processes begin to write.
        """
        if not rows:
            return now
        shards, size = -(-rows // costs.shard), rows * costs.row
        self.free = max(self.free, now) + max(size / self.cluster.bandwidth, shards / self.cluster.requests)
        self.puts, self.stored = self.puts + shards, self.stored + size
        one = self.cluster.latency + size / shards / self.cluster.connection
        return max(self.free, now + -(-shards // AT_ONCE) * one)


@dataclass
class Gpu:
    """A GPU with its process. epoch: how often its node was lost; events of an earlier epoch are void."""

    number: int
    slow: float
    model: int = -1
    epoch: int = 0
    blocks: deque[int] = field(default_factory=deque)
    running: bool = False
    since: float = 0.0
    down: bool = False


def simulate(work: Work, cluster: Cluster, costs: Costs, *, way: Way, seed: int = 0) -> Outcome:
    """Return the outcome of a whole run."""
    run = _WorkerRun if way == "workers" else _RayRun
    return run(work, cluster, costs, seed).outcome()


class _Run:
    """Events in the order of their times; what happens is in the two classes below."""

    def __init__(self, work: Work, cluster: Cluster, costs: Costs, seed: int) -> None:
        self.work, self.cluster, self.costs = work, cluster, costs
        self.random = random.Random(seed)  # noqa: S311 - a simulation
        self.bucket, self.result = Bucket(cluster), Outcome()
        slow = {place for place in range(cluster.gpus) if self.random.random() < cluster.slow_share}
        self.gpus = [Gpu(i, cluster.slow if i in slow else 1.0) for i in range(cluster.gpus)]
        self._events: list[tuple[float, int, str, int, int]] = []
        self._order = count()
        for node in range(-(-cluster.gpus // cluster.node)):
            self._next_loss(0.0, node)

    def outcome(self) -> Outcome:
        """Run to the end."""
        end = self.run() + self.costs.report * self.work.gates * self.work.models
        self.result.seconds = end
        self.result.puts, self.result.stored = self.bucket.puts, self.bucket.stored
        return self.result

    def run(self) -> float:
        """Return the time at which the last gate is judged."""
        raise NotImplementedError

    def lose(self, gpu: Gpu, now: float) -> None:
        """Take the work of a lost GPU back."""
        raise NotImplementedError

    def encoding(self, gpu: Gpu, images: int) -> float:
        """Return the seconds in which a GPU encodes images."""
        return images / self.cluster.images_per_second * gpu.slow

    def waste(self, gpu: Gpu, now: float, images: int) -> None:
        """Count what a lost GPU had encoded of `images`."""
        whole = self.encoding(gpu, images)
        spent = min(max(0.0, now - gpu.since), whole)
        self.result.busy += spent
        self.result.repeated += round(images * spent / whole) if whole else 0

    def loading(self, gpu: Gpu, model: int) -> float:
        """Return the seconds to load a model, if it is not the one that a GPU has."""
        other, gpu.model = gpu.model != model, model
        return self.costs.load if other else 0.0

    def push(self, time: float, kind: str, place: int, epoch: int = 0) -> None:
        """Add an event."""
        heapq.heappush(self._events, (time, next(self._order), kind, place, epoch))

    def events(self) -> Iterator[tuple[float, str, int]]:
        """Yield events that still hold; nodes are lost and come back here."""
        while self._events:
            now, _, kind, place, epoch = heapq.heappop(self._events)
            if kind == "lost":
                self._lose_node(now, place)
            elif kind not in {"encoded", "done", "back"} or self.gpus[place].epoch == epoch:
                yield now, kind, place

    def _next_loss(self, now: float, node: int) -> None:
        if self.cluster.losses:
            self.push(now + self.random.expovariate(self.cluster.losses / 3600), "lost", node)

    def _lose_node(self, now: float, node: int) -> None:
        self.result.lost += 1
        for gpu in self.gpus[node * self.cluster.node : (node + 1) * self.cluster.node]:
            self.lose(gpu, now)
            gpu.epoch, gpu.model, gpu.running, gpu.down = gpu.epoch + 1, -1, False, True
            self.push(now + self.cluster.back, "back", gpu.number, gpu.epoch)
        self._next_loss(now + self.cluster.back, node)


class _WorkerRun(_Run):
    """One process for each GPU, as with `pytest -n`; several nodes share the models."""

    def run(self) -> float:
        left = [self.work.sets] * self.work.models
        self._left, self._has = left, {}
        remaining = self.work.sets * self.work.models
        for gpu in self.gpus:
            self.push(self.costs.start, "back", gpu.number, gpu.epoch)
        for now, kind, place in self.events():
            gpu = self.gpus[place]
            images = self.work.images_per_set
            if kind == "encoded":
                written = self.bucket.put(now + self.costs.write * images, images, self.costs)
                self.push(written + self.costs.judged(self.work), "done", place, gpu.epoch)
                continue
            if kind == "done":
                gpu.running = False
                self.result.busy += self.encoding(gpu, images)
                del self._has[place]
                remaining -= 1
                if not remaining:
                    return now
            gpu.down = False
            self._begin(now)
        return 0.0

    def lose(self, gpu: Gpu, now: float) -> None:
        """Give the set back; the shards that were written of it are not counted on."""
        if gpu.running:
            self._left[self._has.pop(gpu.number)] += 1
            self.waste(gpu, now, self.work.images_per_set)

    def _begin(self, now: float) -> None:
        for gpu in self.gpus:
            if gpu.running or gpu.down:
                continue
            model = self._choose(gpu)
            if model is None:
                return
            self._left[model] -= 1
            self._has[gpu.number] = model
            began = now + self.loading(gpu, model)
            gpu.running, gpu.since = True, began
            self.push(began + self.encoding(gpu, self.work.images_per_set), "encoded", gpu.number, gpu.epoch)

    def _choose(self, gpu: Gpu) -> int | None:
        """Return the model of which a GPU encodes the next set: its own, else the one with the most sets left."""
        if gpu.model >= 0 and self._left[gpu.model]:
            return gpu.model
        model = max(range(self.work.models), key=self._left.__getitem__)
        return model if self._left[model] else None


class _RayRun(_Run):
    """One driver, and blocks of one set at a time on all GPUs."""

    def run(self) -> float:
        now = self.costs.start
        for model in range(self.work.models):
            for _ in range(self.work.sets):
                now = self._encode_set(now, model) + self.costs.judged(self.work)
        return now

    def _encode_set(self, now: float, model: int) -> float:
        images = self.work.images_per_set
        wanted = -(-images // (BLOCKS_PER_WORKER * self.cluster.gpus))
        block = BATCH * min(max(1, -(-wanted // BATCH)), BATCHES_PER_BLOCK)
        self._waiting = deque(min(block, images - start) for start in range(0, images, block))
        self._model, left, driver, unwritten = model, images, now, 0
        finished: deque[int] = deque()
        sent: deque[float] = deque()
        handling = False
        self._give(now)
        for time, kind, place in self.events():
            gpu = self.gpus[place]
            if kind == "back":
                gpu.down = False
                self._give(time)
                continue
            if kind == "done":
                finished.append(gpu.blocks.popleft())
                self.result.busy += self.encoding(gpu, finished[-1])
                gpu.running = False
                self._start(gpu, time)
            else:  # the driver has handled a block
                handling = False
                self._give(time)
            if finished and not handling:
                rows = finished.popleft()
                left, unwritten, handling = left - rows, unwritten + rows, True
                driver = max(driver, time) + self.costs.write * rows
                whole = unwritten if not left else unwritten // self.costs.shard * self.costs.shard
                sent.append(self.bucket.put(driver, whole, self.costs))
                unwritten -= whole
                if len(sent) >= AT_ONCE:
                    driver = max(driver, sent.popleft())
                if not left:
                    return max(driver, *sent)
                self.push(driver, "handled", 0)
        return driver

    def lose(self, gpu: Gpu, now: float) -> None:
        """Put the blocks of a lost GPU in front of the others."""
        if gpu.running:
            self.waste(gpu, now, gpu.blocks[0])
        self._waiting.extendleft(gpu.blocks)
        gpu.blocks.clear()

    def _give(self, now: float) -> None:
        for most in range(1, AHEAD + 1):
            for gpu in self.gpus:
                if self._waiting and not gpu.down and len(gpu.blocks) < most:
                    gpu.blocks.append(self._waiting.popleft())
                    self._start(gpu, now)

    def _start(self, gpu: Gpu, now: float) -> None:
        if gpu.running or not gpu.blocks or gpu.down:
            return
        began = now + self.loading(gpu, self._model)
        gpu.running, gpu.since = True, began
        self.push(began + self.encoding(gpu, gpu.blocks[0]), "done", gpu.number, gpu.epoch)
