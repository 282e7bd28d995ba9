"""Benchmark of pytest-xdist: the speed of two workers relative to one, where the CPU is the limit.

    python benchmarks/workers.py

ViT-B-32 with random weights encodes four sets of photographs. Whole commands are timed, from an empty store to the last
verdict, imports and loading included; the variants alternate. Each worker has one thread (OMP_NUM_THREADS=1) and
decodes in its own process (--clip-workers 0), so that it uses one core. For comparison, a single worker that can use
all cores is timed as well. All variants must report the same measurements and encode every image once.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from itertools import count
from pathlib import Path

from run import ARCHITECTURE, machine, photographs, random_checkpoint, run, timed

SETS = ("a", "b", "c", "d")
TARGET = 1.7

PROFILE = """
name = "photographs"
[roles]
id = "a"
shift = ["b", "c", "d"]
[prompts]
templates = ["a photo of a {}."]
"""

SUITE = """
import pytest
from pytest_clip_robust.properties import accuracy

@pytest.mark.clip_role("id", "shift")
def test_accuracy(model, dataset, gate):
    gate(accuracy.top_k(model.zero_shot(dataset), k=1))
"""


def main() -> None:
    """Print one row per comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=160, help="photographs per set (default: 160)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each variant (default: 3)")
    options = parser.parse_args()
    print(f"{machine()}\n\n| what | target | ratio | measured |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_sets(folder, options.images)
        number = count()
        times = []
        for _ in range(options.repeats):
            one, two, free = (
                timed(lambda n=workers, one=env: measure(folder, next(number), n, **one))
                for workers, env in ((1, {"OMP_NUM_THREADS": "1"}), (2, {"OMP_NUM_THREADS": "1"}), (1, {}))
            )
            times.append((one / two, one, two, free / two, free))
    ratio, one, two, ratio_free, free = (statistics.median(column) for column in zip(*times, strict=True))
    images = len(SETS) * options.images
    print(
        f"| speed of 2 workers / 1 worker, one thread each, {images} images | >= {TARGET} | {ratio:.2f} "
        f"| {two:.1f} s, {one:.1f} s |\n"
        f"| speed of 2 workers / 1 worker with {os.cpu_count()} threads | | {ratio_free:.2f} "
        f"| {two:.1f} s, {free:.1f} s |"
    )


def write_sets(folder: Path, images: int) -> None:
    """Write disjoint sets of photographs, a profile and a suite."""
    photos = sorted(photographs(folder, len(SETS) * images).rglob("*.jpg"), key=lambda path: int(path.stem))
    profile = PROFILE
    for place, name in enumerate(SETS):
        for path in photos[place * images : (place + 1) * images]:
            target = folder / name / path.parent.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
        profile += f'[data.{name}]\nlocation = "{name}"\n'
    (folder / "profile.toml").write_text(profile)
    (folder / "test_sets.py").write_text(SUITE)
    (folder / "pytest.ini").write_text("[pytest]\n")
    random_checkpoint(folder)


def measure(folder: Path, number: int, workers: int, **environment: str) -> None:
    """Run from an empty store; exit unless every image was encoded once and the first run's values were measured."""
    model = f"--model={ARCHITECTURE}@{random_checkpoint(folder)}?quick_gelu=false"
    run(
        [
            sys.executable, "-m", "pytest", model, "--clip-profile=profile.toml", f"--clip-cache=cache-{number}",
            f"--clip-report=report-{number}", "--clip-workers=0", "--clip-pixel-cache=off", "-n", str(workers), "-q",
        ],
        cwd=folder, **environment,
    )  # fmt: skip
    report, first = (json.loads((folder / f"report-{one}" / "report.json").read_text()) for one in (number, 0))
    if report["encoded"] != first["encoded"] or values(report) != values(first):
        sys.exit(f"run {number} with {workers} workers measured {values(report)}, the first run {values(first)}")


def values(report: dict) -> dict[str, float]:
    """Return the values of a report by measurement name."""
    return {gate["measurement"]: gate["value"] for gate in report["gates"]}


if __name__ == "__main__":
    main()
