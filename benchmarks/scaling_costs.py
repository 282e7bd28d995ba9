"""Unit costs of this package's own code, for `scaling.py`: the store, a bucket, gates, evidence, reports, identities.

Every section measures the real classes at several sizes. Seconds are CPU seconds of this process, which depend little
on what else the machine does.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import sys
import tempfile
import time
import tracemalloc
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np

ROWS = 2048
"""Rows per shard, as the encoder writes them."""

WIDTHS = (512, 768, 1024)

HEADLINES = 20
"""Headline gates of each model; the showroom has 19."""


class Cost(NamedTuple):
    """A measured number: its name, the value, the unit, and how it was measured."""

    name: str
    value: float
    unit: str
    how: str


def cpu(work: Callable[[], object]) -> float:
    """Return the CPU seconds of this process that `work` takes."""
    started = time.process_time()
    work()
    return time.process_time() - started


def best(work: Callable[[], object], repeats: int = 3) -> float:
    """Return the smallest CPU seconds of several runs; the caches of the processor are shared with other work."""
    return min(cpu(work) for _ in range(repeats))


def peak(work: Callable[[], object]) -> int:
    """Return the most bytes that `work` has allocated at once, as Python and NumPy report them."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def digests(count: int, salt: object = "") -> list[str]:
    """Return digests as of images."""
    return [hashlib.sha256(f"{salt} {i}".encode()).hexdigest() for i in range(count)]


def a_key() -> Any:
    """Return a key of the store."""
    from pytest_clip_robust.encoding.store.features import StoreKey

    return StoreKey(kind="image", weights="a" * 64, transform="b" * 64, precision="fp32")


def filled(root: str, shards: int, *, width: int) -> tuple[Any, list[list[str]]]:
    """Write shards of random rows with the store itself; return the store and the digests of each shard."""
    from pytest_clip_robust.encoding.store.features import FeatureStore

    store, rng = FeatureStore(root), np.random.default_rng(0)
    parts = [digests(ROWS, number) for number in range(shards)]
    for part in parts:
        store.write(a_key(), part, rng.standard_normal((ROWS, width), dtype=np.float32))
    return store, parts


def store_rows(folder: Path, *, shards: int) -> Iterator[Cost]:
    """Measure bytes and CPU seconds of a row that is written, and read by a process that has not read it before."""
    from pytest_clip_robust.encoding.store.features import FeatureStore

    for width in WIDTHS:
        root = str(folder / f"width{width}")
        parts = [digests(ROWS, number) for number in range(shards)]
        rows = np.random.default_rng(0).standard_normal((ROWS, width), dtype=np.float32)
        written = iter(range(100))

        def write(root: str = root, parts: list[list[str]] = parts, rows: Any = rows, written: Any = written) -> None:
            store = FeatureStore(f"{root}/{next(written)}")
            for part in parts:
                store.write(a_key(), part, rows)

        seconds = best(write)
        size = sum(path.stat().st_size for path in Path(root, "0").rglob("*.parquet"))
        every = [one for part in parts for one in part]

        def read(root: str = root, every: list[str] = every) -> None:
            found = FeatureStore(f"{root}/0").read(a_key(), every)[1]
            assert found.all()  # noqa: S101 - what is timed must be the work

        n = shards * ROWS
        yield Cost(f"store.bytes_per_row.{width}", size / n, "bytes", f"{shards} shards of {ROWS:,} rows")
        yield Cost(f"store.write_per_row.{width}", seconds / n, "CPU s", "FeatureStore.write, local folder")
        yield Cost(f"store.read_per_row.{width}", best(read) / n, "CPU s", "FeatureStore.read of every row, no memory")


def store_shards(folder: Path, *, most: int) -> Iterator[Cost]:
    """Measure a read of one shard's rows by the number of shards in its key: by a new process, and again."""
    from pytest_clip_robust.encoding.store.features import FeatureStore

    sizes = [n for n in (most // 16, most // 4, most) if n]
    for shards in sizes:
        root = str(folder / f"shards{shards}")
        writer, _ = filled(root, shards, width=8)
        absent = digests(ROWS, "absent")
        own = cpu(lambda writer=writer, absent=absent: writer.read(a_key(), absent))
        store = FeatureStore(root)
        first = cpu(lambda store=store, absent=absent: store.read(a_key(), absent))
        again = cpu(lambda store=store, absent=absent: store.read(a_key(), absent))
        allocated = peak(lambda root=root, absent=absent: FeatureStore(root).read(a_key(), absent))
        how = f"{ROWS:,} rows that {shards:,} shards of 8 dimensions do not hold"
        yield Cost(f"store.lookup_own.{shards}", own, "CPU s", f"{how}; by the process that wrote them")
        yield Cost(f"store.lookup_first.{shards}", first, "CPU s", f"{how}; first read of a process")
        yield Cost(f"store.lookup_again.{shards}", again, "CPU s", f"{how}; a later read")
        yield Cost(f"store.lookup_memory.{shards}", allocated, "bytes", "peak of a first read")


@contextmanager
def bucket() -> Iterator[tuple[str, Counter[str]]]:
    """Start an S3 server on this machine; yield a URL, and the number of requests that s3fs has sent, by operation."""
    import fsspec
    import s3fs
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # one line per request
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    keys = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "test")
    where = {"AWS_ENDPOINT_URL": "http://{}:{}".format(*server.get_host_and_port()), "AWS_DEFAULT_REGION": "us-east-1"}
    requests: Counter[str] = Counter()
    sent = s3fs.S3FileSystem._call_s3  # noqa: SLF001 - the one place that every request passes

    async def counted(self: Any, method: str, *arguments: Any, **named: Any) -> Any:
        requests[method] += 1
        return await sent(self, method, *arguments, **named)

    s3fs.S3FileSystem.clear_instance_cache()  # instances keep the address of another server
    try:
        with patch.dict(os.environ, keys | where), patch.object(s3fs.S3FileSystem, "_call_s3", counted):
            name = f"scaling-{uuid.uuid4().hex}"  # servers of one process share their buckets
            fsspec.filesystem("s3").mkdir(name)
            yield f"s3://{name}", requests
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
        server.stop()


def store_requests(_: Path) -> Iterator[Cost]:
    """Count the requests of writing shards to a bucket, and of reading them."""
    from pytest_clip_robust.encoding.store.features import FeatureStore

    shards = 12
    with bucket() as (url, requests):
        writer, parts = filled(f"{url}/run", shards, width=8)
        every = [one for part in parts for one in part]
        requests.clear()
        filled(f"{url}/again", shards, width=8)
        wrote = Counter(requests)
        for name, store, asked, some in (
            ("first", FeatureStore(f"{url}/run"), every, "all"),
            ("own", writer, digests(ROWS, "absent"), "none"),
        ):
            requests.clear()
            store.read(a_key(), asked)
            for operation, count in sorted(requests.items()):
                yield Cost(f"bucket.read_{name}.{operation}", count, "requests", f"a read of {some} of {shards} shards")
    for operation, count in sorted(wrote.items()):
        yield Cost(f"bucket.write.{operation}", count, "requests", f"writing {shards} shards to a new key")


def gate_tests(_: Path, *, samples: tuple[int, ...]) -> Iterator[Cost]:
    """Measure the comparison of two models at a gate, by metric and number of samples."""
    from gates import MEASURES, Model

    from pytest_clip_robust.gates.regression import baseline_from, change_since

    for n in samples:
        rng = np.random.default_rng(0)
        before, after = (Model.draw(rng, n, shared_seed=1) for _ in range(2))
        spent = []
        for name, measure in MEASURES.items():

            def compare(measure: Any = measure, before: Any = before, after: Any = after) -> None:
                baseline = baseline_from(measure(before), name="before")
                change_since(measure(after), baseline, alpha=0.05, decided_at_end=True)

            spent.append(best(compare, 2 if n < 500_000 else 1))
            slug = name.lower().replace(" ", "_").replace("-", "")
            yield Cost(f"gate.seconds.{slug}.{n}", spent[-1], "CPU s", "measured for two models, and compared")
            if n <= 200_000:
                yield Cost(f"gate.memory.{slug}.{n}", peak(compare), "bytes", "peak of the same")
        yield Cost(f"gate.seconds.mean.{n}", float(np.mean(spent)), "CPU s", f"mean of {len(MEASURES)} metrics")


def gate_records(folder: Path) -> Iterator[Cost]:
    """Measure what carries the evidence of a gate: packing for a test report, and the files of baselines."""
    from pytest_clip_robust.gates.baseline_files import pack_columns, unpack_columns, write_columns

    n = 1_000_000
    rng = np.random.default_rng(0)
    columns = (
        ("photos", "outcome", rng.random(n) < 0.7),
        ("photos", "confidence", rng.integers(0, 256, n, dtype=np.uint8)),
        ("photos", "answer", rng.integers(0, 1000, n, dtype=np.int32)),
    )
    packed = pack_columns(columns)
    how = f"the evidence of top-1 on {n:,} samples"
    yield Cost("evidence.pack", best(lambda: pack_columns(columns)) / n, "CPU s per sample", how)
    yield Cost("evidence.unpack", best(lambda: unpack_columns(packed)) / n, "CPU s per sample", how)
    yield Cost("evidence.packed", sum(len(one[3]) for one in packed) / n, "bytes per sample", how)
    file = folder / "evidence.parquet"
    yield Cost("evidence.write", cpu(lambda: write_columns(file, {"one": columns})) / n, "CPU s per sample", how)
    yield Cost("evidence.file", file.stat().st_size / n, "bytes per sample", f"{how}, as Parquet")


def logits(_: Path) -> Iterator[Cost]:
    """Measure logits of 1,000 classes, and the decisions on them."""
    from pytest_clip_robust.scoring.zero_shot import zero_shot_logits

    n, classes, width = 50_000, 1000, 512
    rng = np.random.default_rng(0)
    features = rng.standard_normal((n, width), dtype=np.float32)
    weights = rng.standard_normal((classes, width), dtype=np.float32)
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)

    def work() -> np.ndarray:
        return zero_shot_logits(features, weights, scale=100.0, bias=0.0)

    how = f"{n:,} images, {classes:,} classes, {width} dimensions"
    yield Cost("logits.seconds", best(work) / n, "CPU s per image", how)
    yield Cost("logits.memory", peak(work) / n, "bytes per image", f"peak, {how}")


def a_record_of_each_kind() -> list[Any]:
    """Return one decided record for each kind of metric, of two models on 500 samples."""
    from gates import MEASURES, Model

    from pytest_clip_robust.gates import judge
    from pytest_clip_robust.gates.record import record_judgement
    from pytest_clip_robust.gates.regression import baseline_from, change_since

    rng = np.random.default_rng(0)
    before, after = (Model.draw(rng, 500, shared_seed=1) for _ in range(2))
    found = []
    for measure in MEASURES.values():
        one = measure(after)
        change = change_since(one, baseline_from(measure(before), name="before"), alpha=0.05, decided_at_end=True)
        found.append(record_judgement(judge(one, None, change), model="model"))
    return found


def reports(folder: Path, *, models: int, gates: int) -> Iterator[Cost]:
    """Measure the decision on all gates of a run, and its report: seconds, bytes and memory."""
    from pytest_clip_robust.core.summary import merge_summaries
    from pytest_clip_robust.gates import conclude, decide
    from pytest_clip_robust.report.document import build_document, write_document
    from pytest_clip_robust.report.html.render import write_page
    from pytest_clip_robust.report.results import write_results
    from pytest_clip_robust.report.summary import write_summary

    kinds = a_record_of_each_kind()
    records = [
        pickle.loads(pickle.dumps(kinds[gate % len(kinds)]))  # noqa: S301 - a copy of our own
        | {"model": f"model-{model}", "test": f"test_{gate}[model-{model}]", "place": gate, "measurement": f"g{gate}"}
        | {"headline": gate < HEADLINES}
        for model in range(models)
        for gate in range(gates)
    ]
    n = len(records)
    where, how = f"{models}x{gates}", f"{models} models x {gates:,} gates"
    yield Cost(f"report.record.{where}", len(pickle.dumps(records)) / n, "bytes per gate", f"a record, pickled; {how}")
    decided: list[Any] = []
    seconds = cpu(lambda: decided.extend(decide(records, alpha=0.05, headline_share=0.5, strict=False)))
    yield Cost(f"report.decide.{where}", seconds / n, "CPU s per gate", how)
    made: list[Any] = []

    def document() -> None:
        made.append(
            build_document(
                decided, merge_summaries([]), profile="p", precision="fp32", alpha=0.05, headline_share=0.5,
                correction="benjamini-hochberg", conclusions=conclude(decided), reference="", exit_status=0,
                not_applicable={},
            )
        )  # fmt: skip

    yield Cost(f"report.conclude.{where}", cpu(document) / n, "CPU s per gate", how)
    files = {
        "report.json": write_document,
        "index.html": write_page,
        "summary.md": write_summary,
        "results.parquet": write_results,
    }
    for name, write in files.items():
        path = folder / f"{where}-{name}"
        seconds = cpu(lambda write=write, path=path: write(made[0], path))
        yield Cost(f"report.seconds.{name}.{where}", seconds / n, "CPU s per gate", how)
        yield Cost(f"report.bytes.{name}.{where}", path.stat().st_size, "bytes", how)


def identities(folder: Path) -> Iterator[Cost]:
    """Measure what a data set costs per image before anything is encoded: digests, their file, and the job for Ray."""
    from pytest_clip_robust.datasets.images.digests import content_digests

    n, size = 20_000, 100_000
    image = np.random.default_rng(0).bytes(size)
    stamps = [f"/data/imagenet/train/n01440764/n01440764_{i}.JPEG|{size}|1700000000000000000" for i in range(n)]
    few = stamps[:500]
    seconds = cpu(lambda: content_digests(lambda _: image, few, few, memory=None)) / len(few)
    yield Cost("identity.hash", seconds, "CPU s per image", f"SHA-256 of {size:,} bytes in memory")
    memory = folder / "digests.json"
    content_digests(lambda row: str(row).encode(), stamps, stamps, memory=memory)
    how = f"{n:,} images whose digests are remembered"

    def again() -> None:
        content_digests(lambda row: str(row).encode(), stamps, stamps, memory=memory)

    yield Cost("identity.again", best(again) / n, "CPU s per image", how)
    yield Cost("identity.memory", peak(again) / n, "bytes per image", f"peak, {how}")
    yield Cost("identity.file", memory.stat().st_size / n, "bytes per image", how)
    positions = dict(zip(digests(n), range(n), strict=True))
    yield Cost("job.positions", len(pickle.dumps(positions)) / n, "bytes per image", "the part of a Ray job that grows")


def towers(_: Path) -> Iterator[Cost]:
    """Count the operations of image towers for one image, as torch counts them (two for a multiplication and addition).

    Attention is computed step by step here, since torch does not count fused attention on a CPU.
    """
    import torch
    from run import random_model
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    for name in ("ViT-B-32", "ViT-L-14"):
        model, pixels = random_model(name), torch.zeros(1, 3, 224, 224)
        model.visual.train()  # the fast path of inference is not counted either
        with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            model.visual(pixels)
        yield Cost(f"tower.operations.{name}", counter.get_total_flops(), "per image", "torch's FlopCounterMode")


def measured(
    *, shards: int, samples: tuple[int, ...], models: int, gates: int, sections: list[str] | None = None
) -> Iterator[Cost]:
    """Yield all costs, or those of some sections, as they are measured."""
    every: dict[str, Callable[[Path], Iterator[Cost]]] = {
        "rows": lambda folder: store_rows(folder, shards=min(shards, 8)),
        "requests": store_requests,
        "towers": towers,
        "logits": logits,
        "evidence": gate_records,
        "identities": identities,
        "gates": lambda folder: gate_tests(folder, samples=samples),
        "report": lambda folder: reports(folder, models=1, gates=gates),
        "panel": lambda folder: reports(folder, models=models, gates=gates),
        "shards": lambda folder: store_shards(folder, most=shards),
    }
    for name in sections or every:
        if name not in every:
            sys.exit(f"unknown section {name!r}; expected one of: {', '.join(every)}")
        with tempfile.TemporaryDirectory() as folder:
            yield from every[name](Path(folder))
