"""Benchmark of whole runs: each row compares two alternating timings and prints their ratio as a Markdown row.

    python benchmarks/run.py               all rows, a few minutes on two cores
    python benchmarks/run.py main start    some of the rows

Absolute times depend on the machine and its other load; the ratio of two neighbouring timings depends on them far less.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

ARCHITECTURE = "ViT-B-32"
CLASSES = 40


def main() -> None:
    """Run the rows that are named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"any of: {', '.join(ROWS)} (default: all)")
    parser.add_argument("--images", type=int, default=256, help="number of synthetic photographs (default: 256)")
    parser.add_argument("--repeats", type=int, default=3, help="timings per side of a ratio (default: 3)")
    options = parser.parse_args()
    unknown = [row for row in options.rows if row not in ROWS]
    if unknown:
        parser.error(f"unknown row {unknown[0]!r}; expected one of: {', '.join(ROWS)}")
    print(f"{machine()}\n\n| what | ratio | measured |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for row in options.rows or ROWS:
            what, ratio, measured = ROWS[row](Path(folder), options)
            print(f"| {what} | {ratio} | {measured} |", flush=True)


def machine(model: str = f"{ARCHITECTURE} with random weights") -> str:
    """Return a description of the machine, the versions of Python and torch, and the model."""
    import torch

    accelerator = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {accelerator}; "
        f"Python {platform.python_version()}, torch {torch.__version__}, {model}"
    )


def main_job(folder: Path, options: argparse.Namespace) -> tuple[str, str, str]:
    """Compare the main job of the README, with nothing cached, to its models alone on as many inputs."""
    return _job(folder / "main", options, SHOWROOM, "the main job")


def large_job(folder: Path, options: argparse.Namespace) -> tuple[str, str, str]:
    """Compare the main job's CLIP suites in the same way with a model of a usual size."""
    spec = f"{ARCHITECTURE}@{random_checkpoint(folder)}?quick_gelu=false"
    return _job(folder / "large", options, (spec,), f"its suites for CLIP models with {ARCHITECTURE}")


def _job(cache: Path, options: argparse.Namespace, models: tuple[str, ...], what: str) -> tuple[str, str, str]:
    command, gates_fail = showroom_run(cache, models=models), models != SHOWROOM

    def job() -> None:
        run(command, cwd=cache.parent, gates_fail=gates_fail)

    cold = timed(job)
    passes, bare, ours = models_alone(cache, models, options.repeats)
    warm_seconds = statistics.median(timed(job) for _ in range(options.repeats))
    alone = "its models" if len(models) > 1 else "the model"
    return (
        f"{what}, nothing cached / {alone} alone, as open_clip and transformers run them",
        f"{cold / bare:.2f}",
        f"{cold:.0f} s, {bare:.0f} s for {passes}; as this package runs them {ours:.0f} s; cached {warm_seconds:.1f} s",
    )


def models_alone(cache: Path, models: tuple[str, ...], repeats: int) -> tuple[str, float, float]:
    """Return what a run stored, in words, and the seconds that forward passes over as much take, in batches of 16.

    The first number is that of plain loops with open_clip and transformers, and the second that of this package, which
    folds normalisation into convolutions and leaves out padding.

    models: a CLIP model, and a large multimodal model if the run had one. A pair of views or of pictures counts as two
    images. A question counts as one pass over question and image, without the candidates and tokens behind it.
    """
    from pytest_clip_robust.encoding.store.maintenance import survey

    rows: Counter[str] = Counter()
    for stored in survey(cache / "features"):
        rows[stored.kind] += stored.rows
    counts = {
        "images": rows["image"] + 2 * (rows["views"] + rows["places"] + rows["keypoints"]),
        "texts": rows["text"],
        "questions": rows["likelihoods"] + rows["answers"],
    }

    def seconds(*, plain: bool) -> float:
        costs = _batch_costs(models, repeats, plain=plain)
        return sum(count / 16 * cost for count, cost in zip(counts.values(), costs, strict=False))

    passes = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    return passes, seconds(plain=True), seconds(plain=False)


def _batch_costs(models: tuple[str, ...], repeats: int, *, plain: bool) -> list[float]:
    """Return the seconds of a batch of 16 images, of 16 texts, and of 16 questions if there is a multimodal model."""
    import torch

    from pytest_clip_robust.models.compilation import noise_image
    from pytest_clip_robust.models.loading import load_unchecked
    from pytest_clip_robust.models.spec import ModelSpec

    specs = map(ModelSpec.parse, models)
    loaded = [load_unchecked(one, device="cpu", precision="fp32", folded=not plain) for one in specs]
    clip, *lmms = (one.encoder for one in loaded)
    pixels = torch.stack([clip.preprocess(noise_image())] * 16)
    texts = [f"a photo of {i} things on a table" for i in range(16)]
    module, tokenizer = clip._clip, clip._tokenizer  # noqa: SLF001
    images, prompts = (
        (lambda: module.encode_image(pixels), lambda: module.encode_text(tokenizer(texts)))
        if plain
        else (lambda: clip.encode_image(pixels), lambda: clip.encode_text(texts))
    )
    works = [images, prompts]
    for lmm in lmms:
        borders = [lmm._wording.ask("What is in this photo?").border] * 16  # noqa: SLF001
        tensors = lmm._tensors(borders, [noise_image()] * 16)  # noqa: SLF001
        works.append(lambda lmm=lmm, tensors=tensors: lmm._passes.prefix(tensors))  # noqa: SLF001
    costs = []
    with torch.inference_mode():
        for work in works:
            work()
            costs.append(statistics.median(timed(work) for _ in range(10 * repeats)))
    return costs


def start_up(folder: Path, options: argparse.Namespace) -> tuple[str, str, str]:
    """Compare the shortest run, one test of the showroom with everything cached, to importing torch and open_clip."""
    command = [*showroom_run(folder / "start", models=SHOWROOM[:1]), "-k", "test_zero_shot and top1"]
    run(command, cwd=folder)
    imports = [sys.executable, "-c", "import torch, open_clip"]
    bare, seconds = alternate(lambda: run(imports), lambda: run(command, cwd=folder), repeats=options.repeats)
    return (
        "start-up: one test with everything cached / importing torch and open_clip",
        f"{seconds / bare:.2f}",
        f"{seconds:.1f} s, {bare:.1f} s",
    )


SHOWROOM = ("showroom-clip", "lmm:showroom-lmm")


def showroom_run(cache: Path, *, models: tuple[str, ...] = SHOWROOM) -> list[str]:
    """Return the command of the README's main job with a cache of its own."""
    named = [f"--model={name}" for name in models]
    return [
        sys.executable,
        "-m",
        "pytest",
        "--pyargs",
        suites(),
        *named,
        f"--clip-cache={cache}",
        "-q",
        "-p",
        "no:cacheprovider",
    ]


def warm(folder: Path, options: argparse.Namespace) -> tuple[str, str, str]:
    """Compare a whole ``pytest --model`` run with everything cached to the first run."""
    data, checkpoint = photographs(folder, options.images), random_checkpoint(folder)
    command = [
        sys.executable, "-m", "pytest", "--pyargs", suites(), f"--model={ARCHITECTURE}@{checkpoint}?quick_gelu=false",
        f"--clip-data=photos={data}", f"--clip-cache={folder / 'cache'}", "-q", "-p", "no:cacheprovider",
    ]  # fmt: skip
    cold_seconds = timed(lambda: run(command))
    warm_seconds = statistics.median(timed(lambda: run(command)) for _ in range(options.repeats))
    return (
        "whole `pytest --model` run: everything cached / first run",
        f"1/{cold_seconds / warm_seconds:.1f}",
        f"{warm_seconds:.1f} s, {cold_seconds:.1f} s for {options.images} images",
    )


def classifier(folder: Path, options: argparse.Namespace) -> tuple[str, str, str]:
    """Compare prompts batched across classes with one class at a time, as in open_clip's legacy builder."""
    import open_clip
    import torch

    from pytest_clip_robust.encoding.encoder import Encoder
    from pytest_clip_robust.encoding.store.features import FeatureStore
    from pytest_clip_robust.prompts.templates import prompt_set
    from pytest_clip_robust.scoring.zero_shot import zero_shot_weights

    model = load_model(folder)
    names = open_clip.IMAGENET_CLASSNAMES[:CLASSES]
    texts = prompt_set("simple-7").texts(names)
    stores = (FeatureStore(folder / f"text{i}") for i in range(options.repeats))
    found = []

    def batched() -> None:
        features = Encoder(next(stores), progress=silent).texts(model, texts)
        found[:] = [torch.from_numpy(zero_shot_weights(features, len(names)).T)]

    def one_at_a_time() -> None:
        weights = open_clip.build_zero_shot_classifier_legacy(
            model.encoder._clip,  # noqa: SLF001 - the very same weights
            model.encoder._tokenizer,  # noqa: SLF001
            names,
            open_clip.SIMPLE_IMAGENET_TEMPLATES,
        )
        torch.testing.assert_close(weights, found[0], atol=1e-5, rtol=0)

    ours, theirs = alternate(batched, one_at_a_time, repeats=options.repeats)
    return (
        f"zero-shot classifier of {CLASSES} classes x 7 templates, equal results: one class at a time / batched",
        f"{theirs / ours:.2f}",
        f"{theirs:.2f} s, {ours:.2f} s",
    )


def help_overhead(_: Path, options: argparse.Namespace) -> tuple[str, str, str]:
    """Compare ``pytest --help`` with and without the plugin."""
    command = [sys.executable, "-m", "pytest", "--help"]
    run(command)
    without, with_plugin = alternate(
        lambda: run([*command, "-p", "no:clip_robust"]), lambda: run(command), repeats=5 * options.repeats
    )
    return (
        "`pytest --help`: with the plugin / without",
        f"{with_plugin / without:.2f}",
        f"{1000 * (with_plugin - without):+.0f} ms",
    )


ROWS = {
    "main": main_job,
    "large": large_job,
    "start": start_up,
    "warm": warm,
    "classifier": classifier,
    "help": help_overhead,
}


def alternate(first: Callable[[], object], second: Callable[[], object], *, repeats: int) -> tuple[float, float]:
    """Return the median seconds of both, timed alternately so that other load affects both equally."""
    times = [(timed(first), timed(second)) for _ in range(repeats)]
    return statistics.median(a for a, _ in times), statistics.median(b for _, b in times)


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that `work` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def run(command: list[str], *, cwd: Path | None = None, gates_fail: bool = False, **environment: str) -> None:
    """Run a command with additional environment variables; exit with its output if it fails.

    gates_fail: tests may fail, as those of a model with random weights do.
    """
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=cwd, env={**os.environ, **environment}
    )
    if done.returncode and not (gates_fail and done.returncode == 1):
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def suites() -> str:
    """Return the suites of the checkout if there is one, else those of the installed package."""
    checkout = Path(__file__).resolve().parents[1] / "suites"
    return str(checkout) if checkout.is_dir() else "pytest_clip_robust.suites"


def photographs(folder: Path, number: int) -> Path:
    """Write JPEG files with the size and compressibility of photographs: smooth colours with noise."""
    import numpy as np
    from PIL import Image

    root = folder / "photos"
    for i in range(0 if root.is_dir() else number):
        rng = np.random.default_rng(i)
        smooth = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((500, 375), Image.BICUBIC)
        noisy = np.asarray(smooth, dtype=np.int16) + rng.integers(-12, 13, (375, 500, 3))
        path = root / f"thing {i % 8}" / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return root


def random_model(architecture: str):  # noqa: ANN201 - its type is imported late
    """Return open_clip's own model with random weights, which computes the same operations as a trained one."""
    import open_clip
    import torch

    torch.manual_seed(0)
    with contextlib.redirect_stderr(io.StringIO()):
        return open_clip.create_model(architecture).eval()


def random_checkpoint(folder: Path, architecture: str = ARCHITECTURE) -> Path:
    """Write a checkpoint with random weights."""
    from safetensors.torch import save_model

    path = folder / f"{architecture}.safetensors"
    if not path.exists():
        save_model(random_model(architecture), str(path))
    return path


def load_model(  # noqa: ANN201 - its type is imported late
    folder: Path,
    architecture: str = ARCHITECTURE,
    *,
    device: str = "auto",
    precision: str = "fp32",
    compiled: bool = False,
):
    """Load a model with random weights in the same way as a run."""
    from pytest_clip_robust.models.loading import load_model
    from pytest_clip_robust.models.spec import ModelSpec
    from pytest_clip_robust.system.device import resolve_device

    spec = ModelSpec.parse(f"{architecture}@{random_checkpoint(folder, architecture)}?quick_gelu=false")
    return load_model(spec, device=resolve_device(device), precision=precision, compiled=compiled)


def load_images(root: Path):  # noqa: ANN201 - its type is imported late
    """Load the photographs in the same way as a run."""
    from pytest_clip_robust.datasets.entry import parse_data_option
    from pytest_clip_robust.datasets.images.loading import load_image_set

    return load_image_set(parse_data_option(f"photos={root}"))


def pictures(images) -> Iterator:  # noqa: ANN001 - as above
    """Decode every image."""
    from pytest_clip_robust.datasets.images.decoding import decode

    return (decode(images.read(i)) for i in range(len(images)))


@contextlib.contextmanager
def silent(*_: object) -> Iterator[Callable[[int], None]]:
    """Show no progress."""
    yield lambda _: None


if __name__ == "__main__":
    main()
