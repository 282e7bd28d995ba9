"""Benchmark of the paired tests: speed, or false-alarm rate and power by simulation.

    python benchmarks/gates.py [--samples 50000] [--gates 60]
    python benchmarks/gates.py --simulate --samples 500 [--runs 2000]

Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from run import machine
from scipy.special import ndtr, ndtri

from pytest_clip_robust.core.evidence import mean_evidence
from pytest_clip_robust.core.measurement import Measurement
from pytest_clip_robust.properties import accuracy, calibration, ood, shape_bias, visual_factors
from pytest_clip_robust.scoring import cues, ood_scores
from pytest_clip_robust.scoring.confidence import Confidences
from pytest_clip_robust.scoring.decisions import Decisions
from pytest_clip_robust.stats import paired

ALPHAS = (0.05, 0.01, 0.001)


def main() -> None:
    """Measure the speed, or simulate false alarms and power."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=50_000, help="samples per gate (default: 50000)")
    parser.add_argument("--gates", type=int, default=60, help="number of gates (default: 60)")
    parser.add_argument("--simulate", action="store_true", help="estimate false-alarm rates and power instead of speed")
    parser.add_argument("--runs", type=int, default=2000, help="simulated pairs of models per metric (default: 2000)")
    options = parser.parse_args()
    print(f"{machine()}\n")
    if options.simulate:
        simulate(options.runs, options.samples)
    else:
        speed(options.samples, options.gates)


def speed(samples: int, gates: int) -> None:
    """Time the comparison of two models at `gates` gates with `samples` samples each, cycling through the metrics."""
    rng = np.random.default_rng(0)
    before, after = (Model.draw(rng, samples, shared_seed=1) for _ in range(2))
    pairs = [(measure(before), measure(after)) for measure in MEASURES.values()]
    memory = peak()
    taken = dict.fromkeys(MEASURES, 0.0)
    started, cpu = time.perf_counter(), time.process_time()
    for gate in range(gates):
        name = list(MEASURES)[gate % len(MEASURES)]
        one, other = pairs[gate % len(MEASURES)]
        begun = time.perf_counter()
        difference = other.value - one.value
        paired.compare(one.evidence, other.evidence, direction=other.direction, difference=difference)
        taken[name] = time.perf_counter() - begun
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    print("| test | metric | seconds |\n|---|---|---|")
    for (name, seconds), (one, other) in zip(taken.items(), pairs, strict=True):
        print(f"| {paired.compare(one.evidence, other.evidence, direction='higher').method} | {name} | {seconds:.3f} |")
    print(f"| **{gates} gates x {samples:,} samples** | | **{wall:.1f}** ({cpu:.1f} CPU seconds) |")
    print(f"\nmemory in addition to the evidence: {peak() - memory:.0f} MiB")


def simulate(runs: int, samples: int) -> None:
    """Estimate how often the tests reject: for equally good models, and for models of which the second is worse."""
    print(f"{samples} samples\n")
    alarm_columns = " | ".join(f"false alarms at {alpha:g}" for alpha in ALPHAS)
    print(f"| metric | test | {alarm_columns} | power: expected | observed |")
    print("|---|---|" + "---|" * (len(ALPHAS) + 2))
    for name, measure in MEASURES.items():
        alarms = [found.p_worse for _, found in compared(measure, samples, runs, drop=0.0)]
        lost = list(compared(measure, samples, runs // 4, drop=DROP))
        effect = np.mean([loss for loss, _ in lost]) / np.mean([found.error for _, found in lost])
        cells = [
            name,
            lost[0][1].method,
            *(f"{np.mean(np.array(alarms) <= alpha):.4f}" for alpha in ALPHAS),
            f"{ndtr(effect - ndtri(1 - ALPHAS[0])):.2f}",
            f"{np.mean([found.p_worse <= ALPHAS[0] for _, found in lost]):.2f}",
        ]
        print(f"| {' | '.join(cells)} |", flush=True)


DROP = 0.12
"""How much smaller the margins of the worse model are."""


def compared(
    measure: Callable[[Model], Measurement], samples: int, runs: int, *, drop: float
) -> Iterator[tuple[float, paired.Comparison]]:
    """Yield the loss and the comparison for `runs` pairs of models; the second model's margins are lower by `drop`."""
    rng = np.random.default_rng(samples)
    for run in range(runs):
        one, other = (measure(Model.draw(rng, samples, shared_seed=run, drop=by)) for by in (0.0, drop))
        change = other.value - one.value
        found = paired.compare(one.evidence, other.evidence, direction=other.direction, difference=change)
        yield -change if other.direction == "higher" else change, found


@dataclass(frozen=True, slots=True)
class Model:
    """Answers of a simulated model to N samples.

    All models share the difficulty of each sample, so that two models agree on most; each model adds its own noise.
    """

    margin: np.ndarray
    shifted: np.ndarray
    scores: np.ndarray
    outside: np.ndarray
    carries: np.ndarray
    textured: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator, n: int, *, shared_seed: int, drop: float = 0.0) -> Model:
        """Draw a model; models with the same `shared_seed` answer the same samples."""
        shared = np.random.default_rng(shared_seed)
        difficulty, ood_likeness = shared.normal(0.8, 1.0, n), shared.normal(0.0, 1.0, n // 2)
        noise = rng.normal(0.0, 0.5, (4, n))
        return cls(
            margin=difficulty + noise[0] - drop,
            shifted=difficulty - 0.5 + noise[1] - drop,
            scores=1.2 + difficulty + noise[2] - 4 * drop,
            outside=ood_likeness + rng.normal(0.0, 0.5, n // 2),
            carries=shared.random(n) < 0.2,
            textured=shared.normal(-0.2, 1.0, n) + noise[3] + drop,
        )


def confidences(model: Model) -> Confidences:
    """Return confidences that are calibrated for a model without a drop."""
    confidence = 0.3 + 0.7 * ndtr(model.margin)
    return Confidences(dataset="photos", confidence=confidence, correct=model.margin > 0, n_classes=10)


def decided(correct: np.ndarray, name: str, **annotations: np.ndarray) -> Decisions:
    """Return decisions of which only the correctness is known."""
    return Decisions(dataset=name, correct=correct, labels=np.zeros(len(correct), np.int64), annotations=annotations)


def scored(model: Model) -> tuple[ood_scores.Scores, ood_scores.Scores]:
    """Return ID and OOD scores."""
    return tuple(
        ood_scores.Scores(dataset=name, score="energy", values=values)
        for name, values in (("photos", model.scores), ("other", model.outside))
    )


def loss(model: Model) -> Measurement:
    """Measure the mean of values with the skewed distribution of negative log-likelihoods."""
    values = np.log1p(np.exp(-2 * model.margin))
    found = accuracy.top_k(decided(model.margin > 0, "photos"))
    evidence = mean_evidence("photos", values)
    return replace(found, metric="simulated.nll", value=float(values.mean()), direction="lower", evidence=evidence)


def cued(model: Model) -> cues.CueAnswers:
    """Answer with the shape, the texture or another class: the one with the largest margin."""
    n = len(model.margin)
    answers = np.stack([model.margin, model.textured, np.full(n, 0.1)]).argmax(axis=0)
    return cues.CueAnswers(
        dataset="cues",
        answers=answers,
        shapes=np.zeros(n, np.int64),
        textures=np.ones(n, np.int64),
        class_names=("shape", "texture", "other"),
        samples=[""] * n,
    )


MEASURES: dict[str, Callable[[Model], Measurement]] = {
    "top-1": lambda m: accuracy.top_k(decided(m.margin > 0, "photos")),
    "NLL": loss,
    "AUROC": lambda m: ood.measure(*scored(m), "auroc"),
    "FPR95": lambda m: ood.measure(*scored(m), "fpr95_id"),
    "AUPR": lambda m: ood.measure(*scored(m), "aupr_in"),
    "ECE": lambda m: calibration.expected_error(confidences(m)),
    "MCE": lambda m: calibration.maximum_error(confidences(m)),
    "AURC": lambda m: calibration.area_under_risk_coverage(confidences(m)),
    "shape bias": lambda m: shape_bias.shape_bias(cued(m)),
    "error ratio": lambda m: visual_factors.error_ratio(decided(m.margin > 0, "photos", pose=m.carries), "pose"),
    "worst factor": lambda m: visual_factors.worst_factor(
        decided(m.margin > 0, "photos", pose=m.carries, smaller=~m.carries)
    ),
}


def peak() -> float:
    """Return the peak memory of this process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
