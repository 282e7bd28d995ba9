"""Benchmark of the metrics: time and memory on logits of ImageNet's size, compared with other libraries.

    python benchmarks/metrics.py [--samples 50000] [--classes 1000]

Prints Markdown tables. torchmetrics, netcal and scikit-learn are compared if they are installed.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import numpy as np
from run import alternate, machine

from pytest_clip_robust.core.predictions import Predictions
from pytest_clip_robust.properties import calibration, ood, prompts
from pytest_clip_robust.scoring import ood_scores
from pytest_clip_robust.scoring.confidence import fit_temperature, halves, softmax_confidences
from pytest_clip_robust.scoring.cues import sixteen_way
from pytest_clip_robust.scoring.decisions import decide
from pytest_clip_robust.scoring.prompted import ByPrompts
from pytest_clip_robust.stats import roc

SCALE = 100.0
IMAGENET = 1000
ID_PER_OOD = 5
"""ID samples per OOD sample."""

PROMPT_SETS = 5
DIMENSIONS = 512


def main() -> None:
    """Time every part once, then compare with other libraries."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=50_000, help="ID samples (default: 50000)")
    parser.add_argument("--classes", type=int, default=IMAGENET, help="classes (default: 1000)")
    options = parser.parse_args()
    print(f"{machine()}\n\n| part | seconds | CPU seconds | memory beyond imports |\n|---|---|---|---|")
    before = peak()
    inside = predictions(options.samples, options.classes, skill=0.12, seed=0)
    outside = predictions(options.samples // ID_PER_OOD, options.classes, skill=0.05, seed=1)
    matrix = inside.logits.nbytes / 2**20
    print(f"| {options.samples:,} x {options.classes:,} logits: {matrix:.0f} MiB | | | {peak() - before:.0f} MiB |")
    with part("**all metrics**", before):
        measure_calibration(inside, before)
        measure_detection(inside, outside, before)
        measure_prompts(inside, outside, before)
        if options.classes == IMAGENET:
            with part("decisions among 16 classes from 1,000 logits", before):
                sixteen_way(inside.logits)
    measure_features(options.samples, before)
    print("\n| metric, equal results | theirs / ours | ours, theirs |\n|---|---|---|")
    compare(inside, outside)


def measure_calibration(inside: Predictions, before: float) -> None:
    """Time every calibration metric, before and after temperature scaling."""
    with part("probabilities, once", before):
        found = softmax_confidences(inside)
    with part(f"{len(calibration.METRICS)} calibration metrics with intervals", before):
        for metric in calibration.METRICS:
            calibration.measure(found, metric)
    with part("temperature on one half", before):
        fit = halves(inside)
        temperature = fit_temperature(inside.rows(fit))
    with part("the same metrics on the other half at this temperature", before):
        scaled = softmax_confidences(inside.rows(~fit), temperature=temperature)
        for metric in calibration.METRICS:
            calibration.measure(scaled, metric)


def measure_detection(inside: Predictions, outside: Predictions, before: float) -> None:
    """Time every OOD score that needs only logits, with every metric."""
    with part(f"{len(ood_scores.OF_LOGITS)} OOD scores, 2 sets", before):
        scored = {
            name: [score(found.logits, SCALE) for found in (inside, outside)]
            for name, score in ood_scores.OF_LOGITS.items()
        }
    with part(f"{len(scored) * len(ood.METRICS)} OOD metrics with intervals", before):
        for name, values in scored.items():
            sets = [_scores(side, name, one) for side, one in zip(("id", "ood"), values, strict=True)]
            for metric in ood.METRICS:
                ood.measure(*sets, metric)


def measure_prompts(inside: Predictions, outside: Predictions, before: float) -> None:
    """Time the spread of accuracy, ECE and AUROC over prompt sets; the sets differ by random noise here."""
    rng = np.random.default_rng(0)
    found, scores = softmax_confidences(inside), [ood_scores.maximum_logit(one.logits) for one in (inside, outside)]
    shaken = {
        str(i): replace(found, confidence=found.confidence ** rng.uniform(0.9, 1.1, len(found)))
        for i in range(PROMPT_SETS)
    }
    by_prompts = partial(ByPrompts, dataset="synthetic", templates=tuple(range(1, PROMPT_SETS + 1)))
    decided = decide(inside)
    with part(f"spread and fewer templates: 3 quantities, {PROMPT_SETS} prompt sets", before):
        for compared in (
            prompts.top1(by_prompts(answers=dict.fromkeys(shaken, decided))),
            prompts.ece(by_prompts(answers=shaken)),
            prompts.auroc(
                by_prompts(
                    answers={
                        name: tuple(
                            _scores(side, "x", one + rng.normal(0, 0.1, len(one)))
                            for side, one in zip(("id", "ood"), scores, strict=True)
                        )
                        for name in shaken
                    }
                )
            ),
        ):
            prompts.spread(compared)
            prompts.fewer_templates(compared)


def measure_features(samples: int, before: float) -> None:
    """Time the OOD scores that compare features with the ID set's; they are bound by matrix products."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((samples // 2 + samples // ID_PER_OOD, DIMENSIONS), dtype=np.float32)
    bank = rng.standard_normal((samples // 2, DIMENSIONS), dtype=np.float32)
    labels = rng.integers(0, 1000, len(bank))
    shape = f"{len(features):,} x {DIMENSIONS} features to {len(bank):,}"
    with part(f"Mahalanobis, {shape}", before):
        ood_scores.mahalanobis(features, bank, labels)
    with part(f"10th nearest neighbour, {shape}", before):
        ood_scores.nearest_neighbours(features, bank)


def compare(inside: Predictions, outside: Predictions) -> None:
    """Compare the time of single metrics with other libraries, where the results agree."""
    found = softmax_confidences(inside)
    scores = [ood_scores.maximum_logit(one.logits) for one in (inside, outside)]
    truth = np.r_[np.ones(len(inside)), np.zeros(len(outside))]
    peers: dict[str, Callable[[], tuple[Callable[[], float], Callable[[], float]]]] = {
        "ECE from logits (torchmetrics); ours includes NLL, Brier, classwise ECE and an interval": lambda: (
            lambda: calibration.expected_error(softmax_confidences(inside)).value,
            torchmetrics_ece(inside),
        ),
        "ECE with an interval from confidences (netcal: no interval)": lambda: (
            lambda: calibration.expected_error(found).value,
            netcal_ece(found.confidence, found.correct),
        ),
        "AUROC (torchmetrics)": lambda: (
            lambda: float(roc.auroc(*_counts(scores))),
            torchmetrics_auroc(truth, np.concatenate(scores)),
        ),
        "AUROC (scikit-learn)": lambda: (
            lambda: float(roc.auroc(*_counts(scores))),
            sklearn_auroc(truth, np.concatenate(scores)),
        ),
        "NLL from logits (scikit-learn's log_loss of probabilities); ours includes the others": lambda: (
            lambda: calibration.negative_log_likelihood(softmax_confidences(inside)).value,
            sklearn_nll(inside),
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
        times = alternate(ours, theirs, repeats=3)
        print(f"| {what} | {times[1] / times[0]:.1f} | {times[0]:.3f} s, {times[1]:.3f} s |")


def torchmetrics_ece(inside: Predictions) -> Callable[[], float]:
    """Return a function that computes torchmetrics' ECE, softmax included."""
    import torch
    from torchmetrics.functional.classification import multiclass_calibration_error

    logits, labels = torch.from_numpy(inside.logits), torch.from_numpy(inside.labels)
    classes = inside.logits.shape[1]
    return lambda: float(multiclass_calibration_error(logits.softmax(dim=1), labels, num_classes=classes, n_bins=15))


def netcal_ece(confidence: np.ndarray, correct: np.ndarray) -> Callable[[], float]:
    """Return a function that computes netcal's ECE from the confidence in the predicted class."""
    from netcal.metrics import ECE

    metric = ECE(15)
    return lambda: float(metric.measure(confidence, correct.astype(int)))


def torchmetrics_auroc(truth: np.ndarray, scores: np.ndarray) -> Callable[[], float]:
    """Return a function that computes torchmetrics' AUROC.

    Scores are rescaled to 0..1: to scores outside this range torchmetrics would apply a sigmoid.
    """
    import torch
    from torchmetrics.functional.classification import binary_auroc

    unit = torch.from_numpy((scores - scores.min()) / np.ptp(scores))
    target = torch.from_numpy(truth.astype(int))
    return lambda: float(binary_auroc(unit, target))


def sklearn_nll(inside: Predictions) -> Callable[[], float]:
    """Return a function that computes scikit-learn's log loss, SciPy's softmax included."""
    from scipy.special import softmax
    from sklearn.metrics import log_loss

    classes = range(inside.logits.shape[1])
    return lambda: float(log_loss(inside.labels, softmax(inside.logits, axis=1), labels=classes))


def sklearn_auroc(truth: np.ndarray, scores: np.ndarray) -> Callable[[], float]:
    """Return a function that computes scikit-learn's AUROC."""
    from sklearn.metrics import roc_auc_score

    return lambda: float(roc_auc_score(truth, scores))


def predictions(n: int, classes: int, *, skill: float, seed: int) -> Predictions:
    """Return logits like CLIP's: 100 times cosines around 0.2, higher by `skill` for the true class."""
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
    """Return the peak memory of this process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextmanager
def part(what: str, before: float) -> Iterator[None]:
    """Time a part and print its row; `before` is the peak memory at the start in MiB."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"| {what} | {wall:.2f} | {cpu:.2f} | {peak() - before:.0f} MiB |", flush=True)


def _scores(side: str, name: str, values: np.ndarray) -> ood_scores.Scores:
    return ood_scores.Scores(dataset=side, score=name, values=values)


def _counts(scores: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    counted = roc.tally(*scores)
    return counted.positives, counted.negatives


if __name__ == "__main__":
    main()
