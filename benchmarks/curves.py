"""Benchmark of costs: how seconds grow with images, classes, prompts, gates, models, and workers of both kinds.

    pip install matplotlib
    python benchmarks/curves.py --plot docs/images/cost.svg          about half an hour on two idle cores
    python benchmarks/curves.py images gates                         some of the curves

The model is `showroom-clip`, the data are synthetic. Each point is the median of several timings; the points of a curve
are timed in turn, so that other load affects all of them equally. Below a plot is the cost of one more (least squares).
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from plots import pyplot, save, tidy
from run import load_images, machine, photographs, run, silent, suites, timed

MODELS = (
    "showroom-clip",
    "showroom-clip-ft",
    "showroom-clip-flyp",
    "interpolate:showroom-clip,showroom-clip-ft?alpha=0.5",
)
IMAGES = (64, 128, 256, 512)


@dataclass(frozen=True)
class Curve:
    """Seconds by number: `work` does the work for one of the `numbers`; `what` they count, `how` it is measured."""

    what: str
    how: str
    numbers: tuple[int, ...]
    work: Callable[[int], object]


def main() -> None:
    """Print a row for each point, and draw the plots."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("curves", nargs="*", metavar="CURVE", help="names of curves (default: all)")
    parser.add_argument("--repeats", type=int, default=3, help="timings of each point (default: 3)")
    parser.add_argument("--plot", type=Path, help="file for the plots, such as cost.svg")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        curves = Bench(Path(folder)).curves()
        unknown = [name for name in options.curves if name not in curves]
        if unknown:
            parser.error(f"unknown curve {unknown[0]!r}; expected one of: {', '.join(curves)}")
        print(f"{machine(MODELS[0])}; load average {os.getloadavg()[0]:.1f}\n")
        print("| curve | number | seconds |\n|---|---|---|")
        measured = {}
        for name in options.curves or curves:
            seconds = measured[name] = points(curves[name], options.repeats)
            for number, value in zip(curves[name].numbers, seconds, strict=True):
                print(f"| {name} | {number:,} | {value:.2f} |", flush=True)
        if options.plot:
            draw({name: (curves[name], seconds) for name, seconds in measured.items()}, options.plot)


def points(curve: Curve, repeats: int) -> list[float]:
    """Return the median seconds of each point."""
    curve.work(curve.numbers[0])
    rounds = [[timed(partial(curve.work, number)) for number in curve.numbers] for _ in range(repeats)]
    return [statistics.median(times) for times in zip(*rounds, strict=True)]


class Bench:
    """The work of each curve."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.number = folder, count()
        self.photographs = {number: photographs(folder / str(number), number) for number in IMAGES}

    def curves(self) -> dict[str, Curve]:
        """Return all curves by name."""
        cores = os.cpu_count() or 1
        workers = tuple(dict.fromkeys((1, 2, min(4, max(2, cores)))))
        return {
            "images": Curve("images", "read, decoded, encoded and stored", IMAGES, self.images),
            "classes": Curve("classes", "one prompt each, encoded and stored", (50, 200, 800, 1600), self.classes),
            "prompts": Curve("prompts", "40 classes, encoded and stored", (1, 5, 20, 80), self.prompts),
            "gates": Curve("gates", "two models with 1,000 samples, compared", (10, 20, 40, 80), self.gates),
            "models": Curve("models", "a whole run of test_zero_shot, nothing cached", (1, 2, 3, 4), self.models),
            "workers": Curve("pytest -n", "a whole run on 4 models, nothing cached", workers, self.workers),
            "ray": Curve("Ray actors", "512 images, with the start of a local cluster", workers, self.ray),
        }

    def images(self, number: int) -> None:
        """Encode images."""
        self.encoder().images(self.model(), load_images(self.photographs[number]))

    def classes(self, number: int) -> None:
        """Encode one prompt for each class."""
        self.encoder().texts(self.model(), [f"a photo of a thing called {i}" for i in range(number)])

    def prompts(self, number: int) -> None:
        """Encode prompts of 40 classes."""
        self.encoder().texts(
            self.model(), [f"view {i} of a thing called {name}" for i in range(number) for name in range(40)]
        )

    def gates(self, number: int) -> None:
        """Compare two models at gates."""
        from gates import MEASURES, Model

        from pytest_clip_robust.stats import paired

        rng = np.random.default_rng(0)
        before, after = (Model.draw(rng, 1000, shared_seed=1) for _ in range(2))
        measures = list(MEASURES.values())
        for gate in range(number):
            one, other = (measures[gate % len(measures)](model) for model in (before, after))
            paired.compare(one.evidence, other.evidence, direction=other.direction, difference=other.value - one.value)

    def models(self, number: int) -> None:
        """Run pytest on models, one after the other."""
        self.pytest(number)

    def workers(self, number: int) -> None:
        """Run pytest on four models with xdist."""
        self.pytest(len(MODELS), f"-n{number}", OMP_NUM_THREADS="1")

    def ray(self, number: int) -> None:
        """Encode images with Ray actors of one core each."""
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # otherwise Ray leaves a token in the home folder
        import ray

        from pytest_clip_robust.encoding.cluster.engine import RayEngine
        from pytest_clip_robust.encoding.encoder import Encoder

        if ray.is_initialized():
            ray.shutdown()
        ray.init(num_cpus=number, include_dashboard=False, log_to_driver=False)
        images = load_images(self.photographs[IMAGES[-1]])
        engine = RayEngine(device="cpu")
        Encoder(self.store(), engine, progress=silent).images(self.model(), images)
        ray.shutdown()

    def pytest(self, models: int, *options: str, **environment: str) -> None:
        """Run a suite on the first so many models with an empty cache."""
        named = [f"--model={name}" for name in MODELS[:models]]
        cache = f"--clip-cache={self.folder / str(next(self.number))}"
        suite = f"{suites()}/test_zero_shot.py" if suites().startswith("/") else f"{suites()}.test_zero_shot"
        run(
            [
                sys.executable,
                "-m",
                "pytest",
                "--pyargs",
                suite,
                *named,
                cache,
                "-q",
                "-p",
                "no:cacheprovider",
                *options,
            ],
            cwd=self.folder,
            **environment,
        )

    def model(self) -> Any:
        """Return the showroom's model."""
        from pytest_clip_robust.models.loading import load_model
        from pytest_clip_robust.models.spec import ModelSpec

        if not hasattr(self, "_model"):
            self._model = load_model(ModelSpec.parse(MODELS[0]), device="cpu", precision="fp32")
        return self._model

    def store(self) -> Any:
        """Return an empty store."""
        from pytest_clip_robust.encoding.store.features import FeatureStore

        return FeatureStore(self.folder / f"store{next(self.number)}")

    def encoder(self) -> Any:
        """Return an encoder with an empty store."""
        from pytest_clip_robust.encoding.encoder import Encoder

        return Encoder(self.store(), progress=silent)


def draw(curves: dict[str, tuple[Curve, list[float]]], path: Path) -> None:
    """Write one plot for each curve to an image file."""
    plt = pyplot("cost")
    from matplotlib.ticker import MaxNLocator

    columns = min(4, len(curves))
    rows = -(-len(curves) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3 * columns, 2.6 * rows), squeeze=False, layout="constrained")
    for axis in axes.flat[len(curves) :]:
        axis.set_visible(False)
    for axis, (curve, seconds) in zip(axes.flat, curves.values(), strict=False):
        slope = np.polyfit(curve.numbers, seconds, 1)[0]
        axis.plot(curve.numbers, seconds, "o-", color="#2563eb", markersize=4)
        axis.set_ylim(0, 1.1 * max(seconds))
        axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axis.set_xlim(left=0)
        axis.set_title(curve.what, loc="left", fontweight="bold")
        axis.set_ylabel("seconds")
        each = f"{duration(slope)} for one more" if slope > 0 and len(curve.numbers) > 3 else ""
        axis.set_xlabel(f"{curve.how}\n{each}", fontsize=7.5)
        tidy(axis)
    save(figure, path)


def duration(seconds: float) -> str:
    """Return seconds, or milliseconds below one second.

    >>> duration(11.687), duration(0.0123)
    ('11.7 s', '12.3 ms')
    """
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


if __name__ == "__main__":
    main()
