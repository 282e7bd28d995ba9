"""Benchmark of encoding: throughput relative to the bare model, and the effect of the pixel cache.

    python benchmarks/encoding.py                                    1,000 synthetic photographs
    python benchmarks/encoding.py --photographs FOLDER               the JPEG files of a folder
    python benchmarks/encoding.py pipeline decoding --images 200     some of the tables, fewer images

The model is a ViT-B-32 with random weights, which computes the same operations as a trained one. In each repeat, the
compared ways run one after the other and give one ratio; the table shows the median ratio with the lowest and the
highest. One repeat takes about five minutes on two cores.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import json
import multiprocessing
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from run import load_images, load_model, machine, photographs, pictures, random_checkpoint, run, silent, suites

MIB = 2**20
LIMIT = 2**34


def main() -> None:
    """Print the tables that are named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"any of: {', '.join(TABLES)} (default: all)")
    parser.add_argument("--photographs", type=Path, help="a folder of JPEG files (default: synthetic images)")
    parser.add_argument(
        "--images", type=int, default=1000, help="number of images, at least 60 for the table `once` (default: 1000)"
    )
    parser.add_argument("--repeats", type=int, default=3, help="runs of each way (default: 3)")
    options = parser.parse_args()
    unknown = [table for table in options.tables if table not in TABLES]
    if unknown:
        parser.error(f"unknown table {unknown[0]!r}; expected one of: {', '.join(TABLES)}")
    print(f"{machine()}; load average {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        data = _photographs(Path(folder), options)
        for table in options.tables or TABLES:
            print(flush=True)
            for row in TABLES[table](Path(folder), data, options):
                print(row, flush=True)


@dataclass(frozen=True)
class Cost:
    """Wall-clock seconds, and CPU seconds of this process and of its finished child processes."""

    seconds: float
    cpu: float


def cost(work: Callable[[], object]) -> Cost:
    """Run `work` and return its cost."""
    gc.collect()
    cpu, started = _cpu_seconds(), time.perf_counter()
    work()
    return Cost(time.perf_counter() - started, _cpu_seconds() - cpu)


def pipeline(folder: Path, data: Path, options: argparse.Namespace) -> Iterator[str]:
    """Compare encoding from files to stored features with the bare model on preprocessed tensors."""
    import torch

    from pytest_clip_robust.encoding.encoder import Encoder
    from pytest_clip_robust.encoding.engines.local import LocalEngine
    from pytest_clip_robust.encoding.pixels.cache import PixelCache
    from pytest_clip_robust.encoding.store.features import FeatureStore

    model, images = load_model(folder), load_images(data)
    size = 16 if model.device == "cpu" else 256
    ready = torch.stack([model.encoder.preprocess(picture) for picture in pictures(images)]).to(model.device)
    batches = ready.split(size)

    def bare() -> None:
        with torch.inference_mode():
            for batch in batches:
                features = model.encoder.encode_image(batch)
            features.cpu()

    def encode(store: str, cache: Path | None) -> Callable[[], object]:
        pixels = None if cache is None else PixelCache(cache, limit=LIMIT)
        engine = LocalEngine(batch_size=size, pixels=pixels)
        return lambda: Encoder(FeatureStore(folder / store), engine, progress=silent).images(model, images)

    bare()
    found: dict[str, list[Cost]] = {}
    for turn in range(options.repeats):
        cache = folder / f"pixels{turn}"
        ways = {
            "bare `encode_image` on preprocessed tensors": bare,
            "cold, no pixel cache": encode(f"off{turn}", None),
            "cold, pixel cache empty": encode(f"cold{turn}", cache),
            "cold, pixel cache full (the next checkpoint)": encode(f"full{turn}", cache),
            "warm: all features stored": encode(f"full{turn}", cache),
        }
        for name, work in ways.items():
            found.setdefault(name, []).append(cost(work))
            if turn == 0:
                print(f"  {name}: {found[name][0]}", file=sys.stderr, flush=True)
        shutil.rmtree(cache)
    yield f"{len(images)} images, batches of {size}, {options.repeats} repeats"
    yield "| way | images/s | relative to bare | upper bound | CPU seconds per image, all processes |"
    yield "|---|---|---|---|---|"
    bare_costs = next(iter(found.values()))
    for name, costs in found.items():
        rates = [base.seconds / ours.seconds for base, ours in zip(bare_costs, costs, strict=True)]
        # Where decoding and the model share the same cores, no schedule is faster than the sum of both.
        bounds = [base.cpu / ours.cpu for base, ours in zip(bare_costs, costs, strict=True)]
        each = statistics.median(one.cpu for one in costs) / len(images)
        rate = len(images) / statistics.median(one.seconds for one in costs)
        bound = f"{statistics.median(bounds):.3f}" if model.device == "cpu" and not name.startswith("warm") else ""
        yield f"| {name} | {rate:.1f} | {_spread(rates)} | {bound} | {each:.4f} |"


def transformers(folder: Path, data: Path, options: argparse.Namespace) -> Iterator[str]:
    """Compare a CLIP through ``hf:`` with a plain loop of the library's own processor and `get_image_features`.

    Both read and decode the same files, in batches of the same size, with the same number of threads. The loop runs in
    one process, as its documentation writes it; ours decodes in worker processes and stores the features.
    """
    import numpy as np
    import torch
    from PIL import Image
    from transformers import AutoModel, AutoProcessor

    from pytest_clip_robust.encoding.encoder import Encoder
    from pytest_clip_robust.encoding.engines.local import LocalEngine
    from pytest_clip_robust.encoding.store.features import FeatureStore
    from pytest_clip_robust.models.loading import load_model
    from pytest_clip_robust.models.spec import ModelSpec

    saved, images, size = _random_clip(folder), load_images(data), 16
    files = [io.BytesIO(images.read(i)) for i in range(len(images))]
    ours = load_model(ModelSpec.parse(f"hf:{saved}"), device="cpu", precision="fp32")
    theirs = AutoModel.from_pretrained(saved, dtype=torch.float32).eval()
    processor = AutoProcessor.from_pretrained(saved).image_processor
    ready: list[torch.Tensor] = []
    found: dict[str, np.ndarray] = {}

    def batches() -> Iterator[torch.Tensor]:
        for start in range(0, len(files), size):
            opened = [Image.open(file).convert("RGB") for file in files[start : start + size]]
            yield processor(opened, return_tensors="pt").pixel_values

    @torch.inference_mode()
    def features(pixels: Iterator[torch.Tensor]) -> None:
        parts = [theirs.get_image_features(pixel_values=batch).pooler_output for batch in pixels]
        found["theirs"] = torch.cat(parts).numpy()

    def plain_loop() -> None:
        features(batches())

    def bare() -> None:
        features(iter(ready))

    def encode(turn: int) -> None:
        encoder = Encoder(FeatureStore(folder / f"hf{turn}"), LocalEngine(batch_size=size), progress=silent)
        found["ours"] = encoder.images(ours, images)

    ready.extend(batches())
    bare()
    encode(-1)
    theirs_unit = found["theirs"] / np.linalg.norm(found["theirs"], axis=1, keepdims=True)
    ours_unit = found["ours"] / np.linalg.norm(found["ours"], axis=1, keepdims=True)
    distance = float(1 - (theirs_unit * ours_unit).sum(1).min())
    costs: dict[str, list[Cost]] = {}
    for turn in range(options.repeats):
        ways = {
            "bare `get_image_features` on ready pixels": bare,
            "loop: open, processor, `get_image_features`": plain_loop,
            "`hf:` cold: read, decode, processor, encode, store": lambda turn=turn: encode(turn),
        }
        for name, work in ways.items():
            costs.setdefault(name, []).append(cost(work))
    yield (
        f"{len(images)} images, batches of {size}, {torch.get_num_threads()} threads, {options.repeats} repeats; "
        f"largest cosine distance of the features {distance:.1e}"
    )
    yield "| way | images/s | relative to bare | relative to the loop | CPU time of bare / CPU time of all processes |"
    yield "|---|---|---|---|---|"
    bare_costs, loop_costs, _ = costs.values()
    for name, own in costs.items():
        to_bare, to_loop = (
            _spread([base.seconds / one.seconds for base, one in zip(bases, own, strict=True)])
            for bases in (bare_costs, loop_costs)
        )
        cpu = _spread([base.cpu / one.cpu for base, one in zip(bare_costs, own, strict=True)])
        rate = len(images) / statistics.median(one.seconds for one in own)
        yield f"| {name} | {rate:.1f} | {to_bare} | {to_loop} | {cpu} |"


def _random_clip(folder: Path) -> Path:
    """Write a CLIP of the size of ViT-B-32 with random weights and a small vocabulary, as transformers stores it."""
    import transformers as hf
    from tokenizers.pre_tokenizers import ByteLevel

    letters = sorted(ByteLevel.alphabet())
    names = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    words = hf.CLIPTokenizer(vocab={name: i for i, name in enumerate(names)}, merges=[], model_max_length=77)
    ids = {"bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id}
    text = {"vocab_size": len(words), "num_hidden_layers": 1, **ids}
    with contextlib.redirect_stderr(io.StringIO()):
        for part in (hf.CLIPModel(hf.CLIPConfig(text_config=text)), words, hf.CLIPImageProcessor()):
            part.save_pretrained(folder / "clip")
    return folder / "clip"


def decoding(_: Path, data: Path, options: argparse.Namespace) -> Iterator[str]:
    """Measure what the pixel cache costs and saves when the model takes no time, as with a fast GPU."""
    from open_clip.transform import PreprocessCfg, image_transform_v2

    from pytest_clip_robust.encoding.pixels.cache import PixelCache
    from pytest_clip_robust.encoding.pixels.reading import read_pixels
    from pytest_clip_robust.models.splitting import split

    images, steps = load_images(data), split(image_transform_v2(PreprocessCfg(), is_train=False))
    positions = list(range(len(images)))

    def read(cache: PixelCache | None, workers: int) -> Callable[[], object]:
        def work() -> None:
            shelf = None if cache is None else cache.shelf(steps.identity, images.digests)
            for _ in read_pixels(
                images, positions, steps.resize, batch_size=64, workers=workers, dtype=_uint8(), shelf=shelf
            ):
                pass

        return work

    yield "| pixels of every image, no model | images/s | relative to decoding | CPU ms per image |"
    yield "|---|---|---|---|"
    for workers in (0, 2):
        found: dict[str, list[Cost]] = {}
        for _ in range(options.repeats):
            with tempfile.TemporaryDirectory() as root:
                cache = PixelCache(Path(root), limit=LIMIT)
                ways = {"decoded": None, "decoded and kept": cache, "from the pixel cache": cache}
                for name, where in ways.items():
                    found.setdefault(f"{name}, {workers} workers", []).append(cost(read(where, workers)))
        base = next(iter(found.values()))
        for name, costs in found.items():
            ratios = [one.seconds / ours.seconds for one, ours in zip(base, costs, strict=True)]
            rate = len(images) / statistics.median(one.seconds for one in costs)
            each = 1000 * statistics.median(one.cpu for one in costs) / len(images)
            yield f"| {name} | {rate:.0f} | {_spread(ratios)} | {each:.2f} |"


def once(folder: Path, data: Path, _: argparse.Namespace) -> Iterator[str]:
    """Count how often each image is encoded when all suites run with two workers and then again with one."""
    checkpoint, report = random_checkpoint(folder), folder / "report"
    profile = folder / "once.toml"
    profile.write_text(
        'name = "once"\n[roles]\nid = "photos"\nshift = ["photos"]\n'
        f"[data.photos]\nlocation = {json.dumps(str(data))}\n[prompts]\ntemplates = ['a photo of a {{}}.']\n"
    )
    command = [
        sys.executable, "-m", "pytest", "--pyargs", suites(), f"--model=ViT-B-32@{checkpoint}?quick_gelu=false",
        f"--clip-profile={profile}", f"--clip-cache={folder / 'cache'}", f"--clip-report={report}", "-q",
        "-p", "no:cacheprovider",
    ]  # fmt: skip
    encoded = []
    seconds = []
    for more in (["-n", "2"], []):
        seconds.append(cost(lambda more=more: run([*command, *more])).seconds)
        found = json.loads((report / "report.json").read_text())
        encoded.append(found["encoded"]["images"])
    distinct = len(set(load_images(data).digests))
    yield "| all suites on one set | encodes per distinct image | seconds |"
    yield "|---|---|---|"
    yield f"| first run, `-n 2` | {encoded[0] / distinct:g} | {seconds[0]:.1f} |"
    yield f"| second run | {encoded[1] / distinct:g} | {seconds[1]:.1f} |"


def memory(_: Path, data: Path, options: argparse.Namespace) -> Iterator[str]:
    """Measure the peak memory of a process that encodes 1, 2, 4 and 8 times as many images."""
    yield "| images | peak memory without imports and returned features | largest worker process |"
    yield "|---|---|---|"
    context = multiprocessing.get_context("spawn")
    for times in (1, 2, 4, 8):
        number = times * options.images
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            own, worker = pool.submit(_peak_memory, data, number).result()
        yield f"| {number:,} | {own / MIB:.0f} MiB | {worker / MIB:.0f} MiB |"


def _peak_memory(data: Path, number: int) -> tuple[int, int]:
    """Encode `number` distinct images with a cheap model; return the peak memory of process and worker in bytes."""
    import hashlib

    import numpy as np
    import torch
    from open_clip.transform import PreprocessCfg, image_transform_v2

    from pytest_clip_robust.encoding.encoder import Encoder
    from pytest_clip_robust.encoding.engines.local import LocalEngine
    from pytest_clip_robust.encoding.pixels.cache import PixelCache
    from pytest_clip_robust.encoding.store.features import FeatureStore
    from pytest_clip_robust.models.protocols import LoadedModel
    from pytest_clip_robust.models.splitting import split

    class ColourMeans:
        scale, bias, identity = 1.0, 0.0, "means"
        preprocess = staticmethod(image_transform_v2(PreprocessCfg(), is_train=False))
        preprocess_steps = split(preprocess)

        def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.adaptive_avg_pool2d(pixels, 13).flatten(1)

    images = load_images(data)
    files = len(images)

    def read(index: int) -> bytes:
        """Return a file's bytes with a new digest: JPEG decoders ignore what follows the end of the image."""
        return images.read(index % files) + (index // files).to_bytes(4, "big")

    many = replace(
        images,
        read=read,
        digests=[hashlib.sha256(read(index)).hexdigest() for index in range(number)],
        samples=[str(index) for index in range(number)],
    )
    model = LoadedModel(
        spec="means", encoder=ColourMeans(), weights="", preprocess="", text="", precision="fp32", device="cpu"
    )
    with tempfile.TemporaryDirectory() as folder:

        def encode(images: object, store: str) -> int:
            engine = LocalEngine(pixels=PixelCache(Path(folder, "pixels"), limit=LIMIT))
            return Encoder(FeatureStore(Path(folder, store)), engine, progress=silent).images(model, images).nbytes

        encode(many.take(np.arange(64)), "first")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        features = encode(many, "all")
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before - features
    return own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


TABLES = {"pipeline": pipeline, "transformers": transformers, "decoding": decoding, "once": once, "memory": memory}


def _photographs(folder: Path, options: argparse.Namespace) -> Path:
    if options.photographs is None:
        return photographs(folder, options.images)
    files = sorted(options.photographs.rglob("*.jpg"))[: options.images]
    if not files:
        sys.exit(f"no JPEG files in {options.photographs}")
    for number, file in enumerate(files):
        target = folder / "photographs" / f"thing {number % 8}" / f"{number}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    return folder / "photographs"


def _cpu_seconds() -> float:
    found = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in found)


def _spread(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"


def _uint8():  # noqa: ANN202 - its type is imported late
    import torch

    return torch.uint8


if __name__ == "__main__":
    main()
