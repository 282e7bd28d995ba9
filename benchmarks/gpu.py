"""Benchmark of an accelerator: copies, batches, precisions, memory layout, compilation, and processes that decode.

    python benchmarks/gpu.py                              every table, in less than ten minutes, on the first GPU
    python benchmarks/gpu.py copies precision             some of the tables
    python benchmarks/gpu.py --device cpu --images 64     a trial of the script itself

Prints Markdown with the name of the card, for docs/performance.md. Models have random weights, which compute the same
operations as trained ones. Each time is the median of several, after a first one that does not count; the device is
waited for before the clock is read.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from run import load_images, load_model, machine, photographs, random_model, silent

VIT, CONVOLUTIONAL = "ViT-B-32", "RN50"
NAMES = ("copies", "batches", "precision", "layout", "compile", "workers")


def table(*columns: str) -> str:
    """Return the head of a Markdown table."""
    return f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}"


def main() -> None:
    """Print the tables that are named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"any of: {', '.join(NAMES)} (default: all)")
    parser.add_argument("--device", default="cuda", help="a torch device (default: cuda)")
    parser.add_argument("--images", type=int, default=4096, help="images for the workers (default: 4,096)")
    parser.add_argument("--batch", type=int, default=256, help="images per batch where it is not varied (default: 256)")
    parser.add_argument("--repeats", type=int, default=10, help="timings of each way (default: 10)")
    options = parser.parse_args()
    unknown = [name for name in options.tables if name not in NAMES]
    if unknown:
        parser.error(f"unknown table {unknown[0]!r}; expected one of: {', '.join(NAMES)}")
    import torch

    if options.device.startswith("cuda") and not torch.cuda.is_available():
        sys.exit("this machine has no CUDA GPU; --device cpu tries the script without one")
    print(machine(f"{VIT} and {CONVOLUTIONAL} with random weights"))
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options)
        for name in options.tables or NAMES:
            started = time.perf_counter()
            print(f"\n### {name}\n", flush=True)
            for row in getattr(bench, name)():
                print(row, flush=True)
            print(f"\n({time.perf_counter() - started:.0f} s)", flush=True)


class Bench:
    """The tables, each a generator of Markdown lines."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder, self.device, self.options = folder, options.device, options

    def copies(self) -> Iterator[str]:
        """Compare the ways to get pixels to the device, alone and while the model computes."""
        import torch

        from pytest_clip_robust.encoding.engines.overlap import DeviceTransfer, one_ahead
        from pytest_clip_robust.encoding.pixels.reading import PixelBatch

        model = self.model(VIT)
        pageable = torch.randint(0, 256, (self.options.batch, 224, 224, 3), dtype=torch.uint8)
        pinned = pageable.pin_memory() if self.cuda else pageable
        gigabytes = pageable.numel() / 1e9
        yield table("copy of 8-bit pixels", "GB/s")
        for name, pixels in (("from pageable memory", pageable), ("from pinned memory", pinned)):
            seconds = self.timed(partial(pixels.to, self.device, non_blocking=True))
            yield f"| {name} | {gigabytes / seconds:.1f} |"
        transfer, encode, rounds = DeviceTransfer(model), model.image_encoder.encode_image, 8

        def in_turn(pixels: torch.Tensor) -> None:
            for _ in range(rounds):
                encode(model.steps.normalise(pixels.to(self.device))).cpu()

        def overlapping() -> None:
            batches = iter([PixelBatch([], pinned, [], [])] * rounds)
            copied = one_ahead(batches, transfer.start, transfer.finish)
            for features in one_ahead(copied, lambda one: encode(one.inputs), lambda one: one):
                features.cpu()

        yield ""
        ready = model.steps.normalise(pinned.to(self.device))
        alone = self.timed(lambda: [encode(ready) for _ in range(rounds)]) / rounds
        yield table(
            f"{rounds} batches of {self.options.batch} images through {VIT}", "images/s", "relative to the model alone"
        )
        yield self.rate("the model alone, pixels on the device", alone, alone)
        for name, work in (
            ("copied from pageable memory, in turn", lambda: in_turn(pageable)),
            ("copied from pinned memory ahead of the model, as in a run", overlapping),
        ):
            yield self.rate(name, self.timed(work) / rounds, alone)

    def batches(self) -> Iterator[str]:
        """Compare batch sizes, up to the one that a run chooses by the free memory."""
        from pytest_clip_robust.encoding.engines.batch_size import CudaMemory, largest_batch
        from pytest_clip_robust.encoding.engines.local import _encode_black
        from pytest_clip_robust.encoding.engines.overlap import DeviceTransfer

        for name in (VIT, CONVOLUTIONAL):
            model = self.model(name)
            encode, most = model.image_encoder.encode_image, 64
            if self.cuda:
                memory, run = CudaMemory(self.device), partial(_encode_black, model, DeviceTransfer(model))
                most = largest_batch(memory, run)
                share = memory.peak(partial(run, most)) / memory.free()
                yield f"{name}: a run takes batches of {most}, which need {share:.1%} of the free memory\n"
            yield table(f"{name}: images per batch", "images/s")
            size = 16
            while size <= most:
                yield f"| {size} | {size / self.timed(encode, self.noise(size)):,.0f} |"
                size *= 2
            yield ""

    def precision(self) -> Iterator[str]:
        """Compare fp32, bf16 and fp16: speed, and the distance of features from those of fp32."""
        import torch

        yield table("tower", "precision", "images/s", "texts/s", "largest cosine distance from fp32: images, texts")
        texts = [
            f"a photo of a {word} number {i}" for i, word in zip(range(self.options.batch), WORDS * 999, strict=False)
        ]
        for name in (VIT, CONVOLUTIONAL):
            exact: tuple[torch.Tensor, ...] = ()
            for precision in ("fp32", "bf16", "fp16") if self.cuda else ("fp32", "bf16"):
                model = self.model(name, precision)
                pixels = self.noise(self.options.batch)
                works = ((model.image_encoder.encode_image, pixels), (model.text_encoder.encode_text, texts))
                with torch.inference_mode():
                    features = tuple(encode(inputs).double() for encode, inputs in works)
                exact = exact or features
                far = ", ".join(
                    f"{max(0.0, float((1 - torch.cosine_similarity(one, other)).max())):.1g}"
                    for one, other in zip(features, exact, strict=True)
                )
                speeds = " | ".join(f"{self.options.batch / self.timed(*work):,.0f}" for work in works)
                yield f"| {name} | {precision} | {speeds} | {far} |"

    def layout(self) -> Iterator[str]:
        """Compare a convolutional tower as open_clip builds it to channels-last memory and folded normalisation."""
        import torch

        from pytest_clip_robust.models.arithmetic import arithmetic
        from pytest_clip_robust.models.convolutions import speed_up_convolutions

        pixels = self.noise(self.options.batch).contiguous()
        yield table(f"{CONVOLUTIONAL}", "precision", "images/s", "relative")
        for precision in ("fp32", "bf16"):
            clip, first = random_model(CONVOLUTIONAL).to(self.device), 0.0

            def encode(inputs: torch.Tensor, clip: Any = clip, precision: str = precision) -> torch.Tensor:
                with arithmetic(torch.device(self.device), precision):
                    return clip.encode_image(inputs)

            steps: tuple[tuple[str, Callable[[], Any]], ...] = (
                ("as it is built", lambda: None),
                ("channels-last", lambda clip=clip: clip.to(memory_format=torch.channels_last)),
                (
                    "and batch normalisation folded into convolutions",
                    lambda clip=clip, encode=encode, precision=precision: speed_up_convolutions(
                        clip, lambda: encode(pixels[:2]), precision=precision
                    ),
                ),
            )
            for name, change in steps:
                change()
                inputs = pixels if name == steps[0][0] else pixels.to(memory_format=torch.channels_last)
                speed = self.options.batch / self.timed(encode, inputs)
                first = first or speed
                yield f"| {name} | {precision} | {speed:,.0f} | {speed / first:.2f} |"

    def compile(self) -> Iterator[str]:
        """Compare compiled towers to plain ones."""
        yield table("tower", "precision", "seconds until the first batch", "images/s", "relative")
        for name in (VIT, CONVOLUTIONAL):
            for precision in ("fp32", "bf16"):
                plain = 0.0
                for compiled in (False, True):
                    started = time.perf_counter()
                    model = self.model(name, precision, compiled=compiled)
                    pixels = self.noise(self.options.batch)
                    encode = model.image_encoder.encode_image
                    self.wait(encode(pixels))
                    first = time.perf_counter() - started
                    speed = self.options.batch / self.timed(encode, pixels)
                    plain = plain or speed
                    failed = "; ".join(model.notes) if compiled else ""
                    label = f"{name}, compiled" if compiled else name
                    yield f"| {label} | {precision} | {first:.0f} | {speed:,.0f} | {speed / plain:.2f} |{failed}"

    def workers(self) -> Iterator[str]:
        """Compare numbers of processes that decode, from JPEG files to stored features, with the model alone."""
        from pytest_clip_robust.encoding.encoder import Encoder
        from pytest_clip_robust.encoding.engines.local import LocalEngine, default_workers
        from pytest_clip_robust.encoding.store.features import FeatureStore

        images, number = load_images(photographs(self.folder, self.options.images)), count()
        yield f"a run takes {default_workers(self.device)} processes\n"
        yield table(
            f"{self.options.images:,} JPEG files of 500 x 375", "precision", "images/s", "relative to the model alone"
        )
        for precision in ("fp32", "bf16"):
            model = self.model(VIT, precision)
            alone = self.options.batch / self.timed(model.image_encoder.encode_image, self.noise(self.options.batch))
            yield f"| the model alone | {precision} | {alone:,.0f} | 1 |"
            for workers in (0, 2, 4, 8, 16):
                store = FeatureStore(self.folder / f"store{next(number)}")
                encoder = Encoder(store, LocalEngine(workers=workers), progress=silent)
                started = time.perf_counter()
                encoder.images(model, images)
                speed = len(images) / (time.perf_counter() - started)
                yield f"| {workers} processes decode | {precision} | {speed:,.0f} | {speed / alone:.2f} |"

    @property
    def cuda(self) -> bool:
        """Whether the device is a CUDA GPU."""
        return bool(self.device.startswith("cuda"))

    def model(self, name: str, precision: str = "fp32", *, compiled: bool = False) -> Any:
        """Load a model with random weights in the same way as a run."""
        return load_model(self.folder, name, device=self.device, precision=precision, compiled=compiled)

    def noise(self, size: int) -> Any:
        """Return (size, 3, 224, 224) pixels on the device."""
        import torch

        random = torch.Generator().manual_seed(0)
        noise = torch.randn((size, 3, 224, 224), generator=random)
        return noise.to(self.device, memory_format=torch.channels_last)

    def rate(self, name: str, seconds: float, alone: float) -> str:
        """Return a row with the images per second of a batch."""
        return f"| {name} | {self.options.batch / seconds:,.0f} | {alone / seconds:.2f} |"

    def timed(self, work: Callable[..., Any], *inputs: Any) -> float:
        """Return the median seconds of ``work(*inputs)``, until the device has finished."""
        import torch

        times = []
        with torch.inference_mode():
            for _ in range(self.options.repeats + 1):
                started = time.perf_counter()
                self.wait(work(*inputs))
                times.append(time.perf_counter() - started)
        return statistics.median(times[1:])

    def wait(self, _: Any) -> None:
        """Wait until the device has finished."""
        import torch

        if self.cuda:
            torch.cuda.synchronize(self.device)


WORDS = ["dog", "small boat", "very old wooden house by a lake", "cup"]

if __name__ == "__main__":
    main()
