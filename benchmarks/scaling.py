"""Benchmark of scale: what 10 million images, 100 models and 1,000 gates would need, from measured unit costs.

    python benchmarks/scaling.py measure --costs benchmarks/scaling_costs.json    a few minutes; sections can be named
    python benchmarks/scaling.py simulate --gpus 8 64 --plot docs/images/scaling.svg
    python benchmarks/scaling.py validate                                          simulated against real runs

`measure` writes unit costs of this machine. `simulate` multiplies them, and adds what was not measured: the speed of
GPUs, a bucket, and prices. Those are options; their defaults are assumptions, and the output lists them.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, pairwise
from pathlib import Path

from plots import pyplot, save, tidy
from run import load_images, machine, run, silent, timed
from scaling_costs import measured
from scaling_simulation import Cluster, Costs, Outcome, Work, simulate

COSTS = Path(__file__).with_suffix(".json").with_stem("scaling_costs")

FLOPS = {"A100": 312e12, "H100": 989e12}
"""Dense bf16 operations per second in NVIDIA's data sheets (A100 SXM, H100 SXM)."""

PRICES = {"A100": 2.0, "H100": 3.0}
"""Dollars per GPU and hour: assumed, since they differ by provider and contract."""

WIDTHS = {"ViT-B-32": 512, "ViT-L-14": 768}
"""Dimensions of a feature of the models of open_clip."""

HOUR = 3600.0


@dataclass(frozen=True, kw_only=True)
class Money:
    """Prices in dollars: GPU and hour, GB of storage and month, a million requests to write."""

    gpu_hour: float
    gb_month: float
    million_puts: float


class MeasuredCosts(dict[str, float]):
    """Measured values by name; one that is missing ends the command with a line that says what to do."""

    def __missing__(self, name: str) -> float:
        sys.exit(f"no cost {name!r} in the file of unit costs; run `python benchmarks/scaling.py measure` first")


def main() -> None:
    """Measure, simulate or validate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    add_measure(commands.add_parser("measure", help="measure unit costs on this machine"))
    add_simulate(commands.add_parser("simulate", help="simulate large runs"))
    validate_parser = commands.add_parser("validate", help="compare the simulation with real runs of 1 and 2 workers")
    validate_parser.add_argument("--images", type=int, default=512, help="images in all (default: 512)")
    validate_parser.add_argument("--repeats", type=int, default=3, help="runs of each number (default: 3)")
    validate_parser.set_defaults(command=validate)
    options = parser.parse_args()
    options.command(options)


def add_measure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `measure`."""
    parser.add_argument("sections", nargs="*", help="some of the sections (default: all)")
    parser.add_argument(
        "--costs", type=Path, default=COSTS, help="file to write; what is measured replaces what it has"
    )
    parser.add_argument("--shards", type=int, default=5000, help="most shards in one key (default: 5000)")
    parser.add_argument(
        "--samples", type=int, nargs="+", default=[50_000, 200_000, 1_000_000], help="samples of a gate"
    )
    parser.add_argument("--models", type=int, default=100, help="models of a large report (default: 100)")
    parser.add_argument("--gates", type=int, default=1000, help="gates of each (default: 1000)")
    parser.set_defaults(command=measure)


def measure(options: argparse.Namespace) -> None:
    """Measure unit costs, print them, and write them to the file after every one."""
    old = json.loads(options.costs.read_text()) if options.costs.exists() else {"costs": {}}
    print(f"{processor()}; {machine('open_clip')}\n\n| cost | value | unit | how |\n|---|---|---|---|")
    found = old["costs"]
    for one in measured(
        shards=options.shards,
        samples=tuple(options.samples),
        models=options.models,
        gates=options.gates,
        sections=options.sections,
    ):
        load = round(os.getloadavg()[0], 1)
        found[one.name] = {"value": float(f"{one.value:.4g}"), "unit": one.unit, "how": one.how, "load": load}
        print(f"| {one.name} | {one.value:.4g} | {one.unit} | {one.how} |", flush=True)
        described = {"machine": f"{processor()}; {machine('open_clip')}", "costs": dict(sorted(found.items()))}
        options.costs.write_text(json.dumps(described, indent=1) + "\n")


def processor() -> str:
    """Return the name of the processor, as Linux reports it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def add_simulate(parser: argparse.ArgumentParser) -> None:
    """Add the options of `simulate`: all that was not measured."""
    add = parser.add_argument
    add("--costs", type=Path, default=COSTS, help="file of `measure`")
    add("--images", type=float, default=10e6)
    add("--models", type=int, default=100)
    add("--gates", type=int, default=1000, help="of each model")
    add("--sets", type=int, default=200, help="data sets, with equal shares of the images (default: 200)")
    add("--gpus", type=int, nargs="+", default=[8, 64])
    add("--towers", nargs="+", default=list(WIDTHS), choices=WIDTHS)
    add("--card", default="H100", choices=FLOPS)
    add(
        "--utilisation",
        type=float,
        default=0.4,
        help="share of the card's bf16 FLOP/s that a model gets (default: 0.4)",
    )
    add("--cores", type=int, default=16, help="CPU cores for each GPU (default: 16)")
    add("--decode", type=float, default=0.005, help="CPU seconds to decode and resize an image (default: 0.005)")
    add("--load", type=float, default=20.0, help="seconds to load a model (default: 20)")
    add("--start", type=float, default=60.0, help="seconds until a process can begin (default: 60)")
    add("--slow-share", type=float, default=0.05, help="share of the GPUs that take twice as long (default: 0.05)")
    add("--losses", type=float, default=0.002, help="lost nodes per node and hour (default: 0.002, one in three weeks)")
    add("--latency", type=float, default=0.03, help="seconds per request (default: 0.03)")
    add("--connection", type=float, default=100e6, help="bytes per second of a connection (default: 1e8)")
    add("--bandwidth", type=float, default=5e9, help="bytes per second of the bucket (default: 5e9)")
    add("--requests", type=float, default=3500, help="requests per second of the bucket (default: 3500)")
    add("--gpu-hour", type=float, help=f"dollars (default: {PRICES})")
    add("--gb-month", type=float, default=0.023, help="dollars (default: 0.023)")
    add("--million-puts", type=float, default=5.0, help="dollars (default: 5)")
    add("--seed", type=int, default=0)
    add("--plot", type=Path, help="file for a plot of hours by GPUs, such as scaling.svg")
    parser.set_defaults(command=print_simulation)


def print_simulation(options: argparse.Namespace) -> None:
    """Print a row for each tower, way and number of GPUs; then what was assumed."""
    file = json.loads(options.costs.read_text())
    values = MeasuredCosts({name: one["value"] for name, one in file["costs"].items()})
    work = Work(images=int(options.images), models=options.models, gates=options.gates, sets=options.sets)
    money = Money(
        gpu_hour=options.gpu_hour or PRICES[options.card],
        gb_month=options.gb_month,
        million_puts=options.million_puts,
    )
    print(f"unit costs: {file['machine']}\n\n| {' | '.join(COLUMNS)} |\n|---|---{'|---' * (len(COLUMNS) - 2)}|")
    for tower in options.towers:
        costs = costs_of(values, tower, options)
        for way in ("workers", "ray"):
            for gpus in options.gpus:
                cluster = cluster_of(values, tower, gpus, options)
                found = simulate(work, cluster, costs, way=way, seed=options.seed)
                alone = costs.report * work.gates * work.models
                alone += costs.judged(work) * work.sets * work.models if way == "ray" else 0.0
                row = cells(cluster, found, alone=alone, money=money)
                print(f"| {tower} | {way} | {' | '.join(row)} |", flush=True)
    print(f"\n{work.images:,} images in {work.sets} sets, {work.models} models, {work.gates:,} gates for each model")
    print(f"assumed: {options.card}, {', '.join(assumed(options))}")
    if options.plot:
        draw(options, values, work)


COLUMNS = (
    "tower", "way", "GPUs", "hours", "GPUs encode (% of the time)", "$ GPUs", "store (TB)", "$ store and month",
    "PUTs (millions)", "$ requests", "images encoded twice", "hours that the driver is alone",
)  # fmt: skip


def cells(cluster: Cluster, found: Outcome, *, alone: float, money: Money) -> list[str]:
    """Return the cells of a row; `alone` are the seconds in which one process works and no GPU does."""
    hours = found.seconds / HOUR
    dollars = found.puts * money.million_puts / 1e6
    return [
        str(cluster.gpus),
        f"{hours:,.1f}",
        f"{100 * found.busy / (found.seconds * cluster.gpus):.0f}",
        f"{hours * cluster.gpus * money.gpu_hour:,.0f}",
        f"{found.stored / 1e12:.2f}",
        f"{found.stored / 1e9 * money.gb_month:,.0f}",
        f"{found.puts / 1e6:.2f}",
        f"{dollars:,.1f}",
        f"{found.repeated:,}",
        f"{alone / HOUR:.1f}",
    ]


def assumed(options: argparse.Namespace) -> list[str]:
    """Return what was not measured, with its values."""
    shown = ("utilisation", "cores", "decode", "load", "start", "slow_share", "losses", "latency", "connection")
    shown += ("bandwidth", "requests", "gb_month", "million_puts")
    price = options.gpu_hour or PRICES[options.card]
    return [f"gpu_hour {price:g}", *(f"{name} {getattr(options, name):g}" for name in shown)]


def costs_of(values: Mapping[str, float], tower: str, options: argparse.Namespace) -> Costs:
    """Return the unit costs of a tower from the measured ones; those of a report are of the largest one measured."""
    width = WIDTHS[tower]
    sizes = sorted(int(name.rpartition(".")[2]) for name in values if name.startswith("gate.seconds.mean."))
    reports = [name.rpartition(".")[2] for name in values if name.startswith("report.decide.")]
    if len(sizes) < 2 or not reports:
        sys.exit("the file of unit costs has no gates of two sizes, or no report; run `scaling.py measure` first")
    fixed, slope = line([(n, values[f"gate.seconds.mean.{n}"]) for n in sizes])
    large = max(reports, key=lambda size: math.prod(map(int, size.split("x"))))
    parts = ("decide", "conclude", *(f"seconds.{name}" for name in ("report.json", "index.html", "summary.md")))
    return Costs(
        row=values[f"store.bytes_per_row.{width}"],
        write=values[f"store.write_per_row.{width}"],
        logits=values["logits.seconds"],
        gate=max(fixed, 0.0),
        gate_sample=slope,
        report=sum(values[f"report.{part}.{large}"] for part in (*parts, "seconds.results.parquet")),
        load=options.load,
        start=options.start,
    )


def line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return intercept and slope through the smallest and the largest point."""
    (x, y), (far, end) = points[0], points[-1]
    slope = (end - y) / (far - x)
    return y - slope * x, slope


def cluster_of(values: Mapping[str, float], tower: str, gpus: int, options: argparse.Namespace) -> Cluster:
    """Return a cluster of the chosen card; a GPU's speed follows from the operations of the tower."""
    return Cluster(
        gpus=gpus,
        rate=options.utilisation * FLOPS[options.card] / values[f"tower.operations.{tower}"],
        cores=options.cores,
        decode=options.decode,
        slow_share=options.slow_share,
        losses=options.losses,
        latency=options.latency,
        connection=options.connection,
        bandwidth=options.bandwidth,
        requests=options.requests,
    )


def draw(options: argparse.Namespace, values: Mapping[str, float], work: Work) -> None:
    """Write the plot: hours by GPUs, for 1, 10 and 100 models, in both ways."""
    plt = pyplot("scaling")
    tower, gpus = options.towers[-1], (1, 2, 4, 8, 16, 32, 64, 128)
    costs = costs_of(values, tower, options)
    figure, axis = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    ends: list[tuple[float, str, str]] = []
    for models, colour in ((1, "#93c5fd"), (10, "#3b82f6"), (100, "#1e3a8a")):
        for way, style in (("workers", "o-"), ("ray", "s--")):
            some, seed = replace(work, models=models), options.seed
            clusters = [cluster_of(values, tower, n, options) for n in gpus]
            hours = [simulate(some, one, costs, way=way, seed=seed).seconds / HOUR for one in clusters]
            axis.plot(gpus, hours, style, color=colour, markersize=4, linewidth=1.3)
            ends.append((hours[-1], f"{models} model{'s' * (models > 1)}, {WAY_NAMES[way]}", colour))
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    for place, (_, text, colour) in zip(apart([value for value, *_ in ends]), ends, strict=True):
        axis.text(gpus[-1] * 1.15, place, text, color=colour, fontsize=8, verticalalignment="center")
    axis.set_xticks(gpus, [str(n) for n in gpus])
    axis.set_xlim(right=gpus[-1] * 14)
    axis.set_xlabel(f"GPUs ({options.card}, assumed speed)")
    axis.set_ylabel("hours, simulated")
    axis.set_title(f"{tower}: {work.images / 1e6:g} million images, {work.gates:,} gates for each model", loc="left")
    tidy(axis)
    save(figure, options.plot)


def apart(values: Sequence[float], *, factor: float = 1.35) -> list[float]:
    """Return the places of labels for `values` on a logarithmic axis: in their order, each `factor` from the next.

    >>> apart([1.0, 1.05, 8.0], factor=2.0)
    [1.0, 2.0, 8.0]
    """
    places = list(values)
    order = sorted(range(len(values)), key=lambda i: values[i])
    for below, above in pairwise(order):
        places[above] = max(places[above], places[below] * factor)
    return places


WAY_NAMES = {"workers": "one process per GPU", "ray": "one driver (Ray)"}


def validate(options: argparse.Namespace) -> None:
    """Print the ratio of simulated to real seconds, for four models and 1 and 2 workers of pytest-xdist."""
    from curves import MODELS
    from workers import SETS, write_sets

    with tempfile.TemporaryDirectory() as name:
        folder, number = Path(name), count()
        each = options.images // len(SETS)
        write_sets(folder, each)

        def seconds(models: Sequence[str], workers: int, *, small: bool = False) -> float:
            suite = "test_small.py" if small else "test_sets.py"
            return timed(lambda: whole_run(folder, next(number), models, workers, suite))

        write_small_suite(folder)
        print(
            f"{machine(', '.join(MODELS))}; {options.images} images in {len(SETS)} sets, one thread for each worker\n"
        )
        print("| workers | simulated | real | simulated / real | load average |\n|---|---|---|---|---|")
        for workers in (1, 2):
            rows = []
            for _ in range(options.repeats):
                one, four = seconds(MODELS[:1], workers, small=True), seconds(MODELS, workers, small=True)
                rate = encoding_rate(folder / SETS[0])
                costs = Costs(start=one, load=max(0.0, (four - one) * workers / (len(MODELS) - 1)))
                work = Work(images=each * len(SETS), models=len(MODELS), gates=len(SETS), sets=len(SETS))
                expected = simulate(work, Cluster(gpus=workers, rate=rate), costs, way="workers").seconds
                rows.append((expected, seconds(MODELS, workers)))
            simulated, real = (statistics.median(column) for column in zip(*rows, strict=True))
            ratio = statistics.median(a / b for a, b in rows)
            print(
                f"| {workers} | {simulated:.1f} s | {real:.1f} s | {ratio:.2f} | {os.getloadavg()[0]:.1f} |", flush=True
            )


def write_small_suite(folder: Path) -> None:
    """Write a suite that loads a model and encodes a text: the part of a run that does not grow with images."""
    (folder / "test_small.py").write_text(
        "def test_load(model, gate):\n"
        "    from pytest_clip_robust.core.measurement import Interval, Measurement\n"
        "    size = float(len(model.text_features(['a photo'])))\n"
        "    gate(Measurement(metric='own.size', value=size, n=1, interval=Interval(size, size, 0.95, 'none'),\n"
        "                     direction='higher', tolerance=0.1, headline=False, dataset='none'))\n"
    )


def whole_run(folder: Path, number: int, models: Sequence[str], workers: int, suite: str) -> None:
    """Run pytest with an empty store."""
    named = [f"--model={name}" for name in models]
    cache = f"--clip-cache={folder / f'cache-{number}'}"
    run(
        [
            sys.executable, "-m", "pytest", suite, *named, "--clip-profile=profile.toml", cache, "--clip-workers=0",
            "--clip-pixel-cache=off", "-n", str(workers), "-q", "-p", "no:cacheprovider",
        ],
        cwd=folder, OMP_NUM_THREADS="1",
    )  # fmt: skip


def encoding_rate(photos: Path) -> float:
    """Return the images per second of one thread: read, decoded, encoded and stored."""
    import torch

    from pytest_clip_robust.encoding.encoder import Encoder
    from pytest_clip_robust.encoding.engines.local import LocalEngine
    from pytest_clip_robust.encoding.store.features import FeatureStore
    from pytest_clip_robust.models.loading import load_model
    from pytest_clip_robust.models.spec import ModelSpec

    torch.set_num_threads(1)
    model, images = load_model(ModelSpec.parse("showroom-clip"), device="cpu", precision="fp32"), load_images(photos)
    with tempfile.TemporaryDirectory() as store:
        encoder = Encoder(FeatureStore(store), LocalEngine(workers=0), progress=silent)
        return len(images) / timed(lambda: encoder.images(model, images))


if __name__ == "__main__":
    main()
