"""Benchmark of retrieval: recall in both directions over 5,000 images and 25,000 captions.

    python benchmarks/retrieval.py [--images 5000] [--captions 5] [--width 512] [--repeats 3]

Compares this package with implementations that compute the full score matrix. Each one runs in separate processes, so
that its peak memory can be measured, and they alternate, so that other load affects all equally. Features are random
with a signal. If CLIP_benchmark is installed (``pip install clip-benchmark``), its own functions are called. open_clip
evaluates one caption per image; its method, sorting every row of the full matrix, is extended here to several.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

RECALLS = (1, 5, 10)
SIGNAL = 0.13
TARGET_SECONDS, TARGET_BYTES = 5.0, 1e9

Recalls = dict[str, float]


def main() -> None:
    """Print one row per implementation, and whether all of them give the same recalls."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000, help="number of images (default: 5000)")
    parser.add_argument("--captions", type=int, default=5, help="captions per image (default: 5)")
    parser.add_argument("--width", type=int, default=512, help="dimensions of a feature (default: 512)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each implementation (default: 3)")
    parser.add_argument("--only", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measure(options.only, options)))
        return
    ways = [way for way in WAYS if way != "clip_benchmark" or importlib.util.find_spec("clip_benchmark")]
    found: dict[str, list[dict]] = {way: [] for way in ways}
    for _ in range(options.repeats):
        for way in ways:
            found[way].append(in_a_process(way, options))
    ours = found["pytest_clip_robust"]
    seconds = statistics.median(one["seconds"] for one in ours)
    print(f"{options.images} images x {options.images * options.captions} captions, {options.width} dimensions")
    print(f"{'':20} {'seconds':>8} {'cpu':>8} {'peak memory':>12} {'/ ours':>10}  recalls")
    for way, runs in found.items():
        median = statistics.median(one["seconds"] for one in runs)
        cpu = statistics.median(one["cpu"] for one in runs)
        peak = max(one["peak"] for one in runs)
        same = "equal" if all(one["recalls"] == ours[0]["recalls"] for one in runs) else "DIFFERENT"
        print(f"{way:20} {median:8.2f} {cpu:8.2f} {peak / 1e9:9.2f} GB {median / seconds:10.1f}  {same}")
    peak = max(one["peak"] for one in ours)
    print(f"targets: under {TARGET_SECONDS:g} s: {seconds < TARGET_SECONDS}; under 1 GB: {peak < TARGET_BYTES}")
    print(json.dumps(ours[0]["recalls"]))


def measure(way: str, options: argparse.Namespace) -> dict:
    """Compute the recalls in one way; generating the features and importing are not timed."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(options.images, options.width)).astype(np.float32)
    noise = rng.normal(size=(options.images * options.captions, options.width)).astype(np.float32)
    captions = SIGNAL * np.repeat(images, options.captions, axis=0) + noise
    owners = np.repeat(np.arange(options.images), options.captions)
    del noise
    compute = WAYS[way]()
    started, cpu = time.perf_counter(), time.process_time()
    recalls = compute(images, captions, owners)
    return {
        "seconds": time.perf_counter() - started,
        "cpu": time.process_time() - cpu,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "recalls": {name: round(value, 6) for name, value in recalls.items()},
    }


def in_a_process(way: str, options: argparse.Namespace) -> dict:
    """Run `measure` in a new process and return its result."""
    command = [sys.executable, __file__, "--only", way]
    for name in ("images", "captions", "width"):
        command += [f"--{name}", str(getattr(options, name))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{way} failed:\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def ours() -> Callable[..., Recalls]:
    """Return a function that ranks in blocks with this package."""
    from pytest_clip_robust.scoring.ranks import rank_both

    def compute(images: np.ndarray, captions: np.ndarray, owners: np.ndarray) -> Recalls:
        pairs = np.column_stack([owners, np.arange(len(captions))])
        by_image, by_caption = rank_both(images, captions, pairs)
        return named(by_image.ranks - 1, by_caption.ranks - 1)

    return compute


def full_sort() -> Callable[..., Recalls]:
    """Return a function that sorts every row of the full matrix, as open_clip's validation does."""
    import torch
    from torch.nn.functional import normalize

    def compute(images: np.ndarray, captions: np.ndarray, owners: np.ndarray) -> Recalls:
        scores = normalize(torch.from_numpy(images)) @ normalize(torch.from_numpy(captions)).T
        belongs = torch.from_numpy(owners)
        order = torch.argsort(scores, dim=1, descending=True)
        by_image = (belongs[order] == torch.arange(len(images))[:, None]).int().argmax(dim=1)
        order = torch.argsort(scores.T, dim=1, descending=True)
        by_caption = (order == belongs[:, None]).int().argmax(dim=1)
        return named(by_image.numpy(), by_caption.numpy())

    return compute


def clip_benchmark() -> Callable[..., Recalls]:
    """Return a function that calls CLIP_benchmark's functions in batches of 64, as its evaluation does."""
    import torch
    from clip_benchmark.metrics.zeroshot_retrieval import batchify, recall_at_k
    from torch.nn.functional import normalize

    def compute(images: np.ndarray, captions: np.ndarray, owners: np.ndarray) -> Recalls:
        scores = normalize(torch.from_numpy(captions)) @ normalize(torch.from_numpy(images)).T
        positive = torch.zeros_like(scores, dtype=torch.bool)
        positive[torch.arange(len(scores)), torch.from_numpy(owners)] = True
        recalls = {}
        for k in RECALLS:
            for way, one, other in (("text_to_image", scores, positive), ("image_to_text", scores.T, positive.T)):
                hit = batchify(recall_at_k, one, other, 64, "cpu", k=k) > 0
                recalls[f"{way}@{k}"] = float(hit.float().mean())
        return recalls

    return compute


def named(by_image: np.ndarray, by_caption: np.ndarray) -> Recalls:
    """Return the recalls of ranks; rank 0 is the best."""
    ways = {"text_to_image": by_caption, "image_to_text": by_image}
    return {f"{way}@{k}": float((ranks < k).mean()) for k in RECALLS for way, ranks in ways.items()}


WAYS: dict[str, Callable[[], Callable[..., Recalls]]] = {
    "pytest_clip_robust": ours,
    "open_clip's sort": full_sort,
    "clip_benchmark": clip_benchmark,
}

if __name__ == "__main__":
    main()
