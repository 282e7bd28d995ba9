"""Time and memory of the metrics on scores of ImageNet's size, and the same metrics of other libraries in turns.

    python benchmarks/metrics.py [--samples 50000] [--classes 1000]

Prints lines of Markdown tables. torchmetrics, netcal and scikit-learn are compared where they are installed.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from run import alternate, machine

from pytest_clip_robust.measurement import Predictions
from pytest_clip_robust.properties import calibration, ood, ood_scores
from pytest_clip_robust.properties.reliability import assess, fit_temperature, halves
from pytest_clip_robust.stats import roc

SCALE = 100.0
OOD_SHARE = 5


def main() -> None:
    """Time every part once, then compare with peers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=50_000)
    parser.add_argument("--classes", type=int, default=1_000)
    options = parser.parse_args()
    print(f"{machine()}\n\n| part | seconds | peak memory so far |\n|---|---|---|")
    before = peak()
    inside = predictions(options.samples, options.classes, skill=0.12, seed=0)
    outside = predictions(options.samples // OOD_SHARE, options.classes, skill=0.05, seed=1)
    size = inside.logits.nbytes / 2**20
    print(f"| {options.samples:,} x {options.classes:,} logits, {size:.0f} MiB | | {peak() - before:.0f} MiB |")
    started = time.perf_counter()
    measure_calibration(inside)
    measure_detection(inside, outside)
    print(f"| **all metrics** | {time.perf_counter() - started:.1f} | {peak() - before:.0f} MiB |\n")
    print("| what, equal results | theirs over ours | ours, theirs |\n|---|---|---|")
    compare(inside, outside)


def measure_calibration(inside: Predictions) -> None:
    """Every calibration metric, before and after temperature scaling."""
    with part("probabilities, once"):
        found = assess(inside)
    with part(f"{len(calibration.METRICS)} calibration metrics with intervals"):
        for metric in calibration.METRICS:
            calibration.measure(found, metric)
    with part("temperature on one half"):
        fit = halves(inside)
        temperature = fit_temperature(inside.rows(fit))
    with part("the same metrics on the other half, scaled"):
        scaled = assess(inside.rows(~fit), temperature=temperature)
        for metric in calibration.METRICS:
            calibration.measure(scaled, metric)


def measure_detection(inside: Predictions, outside: Predictions) -> None:
    """Every score of logits with every metric."""
    with part(f"{len(ood_scores.OF_LOGITS)} OOD scores, 2 sets"):
        scored = {
            name: [score(found.logits, SCALE) for found in (inside, outside)]
            for name, score in ood_scores.OF_LOGITS.items()
        }
    with part(f"{len(scored) * len(ood.METRICS)} OOD metrics with intervals"):
        for name, values in scored.items():
            sets = [
                ood.Scores(dataset=side, score=name, values=one)
                for side, one in zip(("id", "ood"), values, strict=True)
            ]
            for metric in ood.METRICS:
                ood.measure(*sets, metric)


def compare(inside: Predictions, outside: Predictions) -> None:
    """Time single metrics against their peers, on results that agree."""
    found = assess(inside)
    scores = [ood_scores.maximum_logit(one.logits) for one in (inside, outside)]
    truth = np.r_[np.ones(len(inside)), np.zeros(len(outside))]
    peers: dict[str, Callable[[], tuple[Callable[[], float], Callable[[], float]]]] = {
        "ECE from logits (torchmetrics)": lambda: (
            lambda: calibration.expected_error(assess(inside)).value,
            torchmetrics_ece(inside),
        ),
        "ECE and its interval from confidences (netcal, no interval)": lambda: (
            lambda: calibration.expected_error(found).value,
            netcal_ece(found.confidence, found.correct),
        ),
        "AUROC without an interval (scikit-learn)": lambda: (
            lambda: float(roc.auroc(*_counts(scores))),
            sklearn_auroc(truth, np.concatenate(scores)),
        ),
    }
    for what, build in peers.items():
        try:
            ours, theirs = build()
        except ImportError as error:
            print(f"| {what} | not installed: {error.name} | |")
            continue
        if abs(ours() - theirs()) > 1e-5:
            print(f"| {what} | differs: {ours():.6f}, {theirs():.6f} | |")
            continue
        times = alternate(lambda ours=ours: drop(ours()), lambda theirs=theirs: drop(theirs()), repeats=3)
        print(f"| {what} | {times[1] / times[0]:.1f} | {times[0]:.3f} s, {times[1]:.3f} s |")


def torchmetrics_ece(inside: Predictions) -> Callable[[], float]:
    """Return torchmetrics' ECE, softmax included."""
    import torch
    from torchmetrics.functional.classification import multiclass_calibration_error

    logits, labels = torch.from_numpy(inside.logits), torch.from_numpy(inside.labels)
    classes = inside.logits.shape[1]
    return lambda: float(multiclass_calibration_error(logits.softmax(dim=1), labels, num_classes=classes, n_bins=15))


def netcal_ece(confidence: np.ndarray, correct: np.ndarray) -> Callable[[], float]:
    """Return netcal's ECE of binary confidences."""
    from netcal.metrics import ECE

    metric = ECE(15)
    return lambda: float(metric.measure(confidence, correct.astype(int)))


def sklearn_auroc(truth: np.ndarray, scores: np.ndarray) -> Callable[[], float]:
    """Return scikit-learn's AUROC."""
    from sklearn.metrics import roc_auc_score

    return lambda: float(roc_auc_score(truth, scores))


def predictions(n: int, classes: int, *, skill: float, seed: int) -> Predictions:
    """Make logits as CLIP has them: cosines around 0.2, the truth a little higher, times 100."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    logits = rng.standard_normal((n, classes), dtype=np.float32)
    logits *= np.float32(0.03 * SCALE)
    logits += np.float32(0.2 * SCALE)
    logits[np.arange(n), labels] += np.float32(skill * SCALE)
    names = tuple(str(i) for i in range(classes))
    return Predictions(
        dataset="synthetic",
        logits=logits,
        labels=labels,
        class_names=names,
        class_ids=names,
        samples=[str(i) for i in range(n)],
        scale=SCALE,
    )


def peak() -> float:
    """Return the most memory this process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextmanager
def part(what: str) -> Iterator[None]:
    """Time a part and print its row."""
    started = time.perf_counter()
    yield
    print(f"| {what} | {time.perf_counter() - started:.2f} | {peak():.0f} MiB |", flush=True)


def drop(_: float) -> None:
    """Use a result and forget it."""


def _counts(scores: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    counted = roc.tally(*scores)
    return counted.positives, counted.negatives


if __name__ == "__main__":
    main()
