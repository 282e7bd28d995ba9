"""Benchmark of zero-shot classification against CLIP_benchmark and mteb (MIEB), on the same images with the same model.

    pip install clip-benchmark mteb
    python benchmarks/peers.py [--images 256] [--repeats 5]

ViT-B-32 with random weights classifies JPEG files of 500 x 375 into 8 classes with one prompt each. Every way starts
from the files and ends with the accuracy, in this process, with everything imported and the model loaded. The ways run
one after the other, and all must find the same accuracy. CLIP_benchmark decodes in 4 worker processes, its default. The
second run of this project finds the features in its store; the peers encode again, unless they are told to keep them.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import statistics
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock

from run import ARCHITECTURE, load_images, load_model, machine, photographs, silent, timed

TEMPLATE = "a photo of a {}."
BATCH = 64


def main() -> None:
    """Print a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=256, help="number of images (default: 256)")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each way (default: 5)")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ways = ways_of(folder, photographs(folder, options.images))
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        accuracies: dict[str, float] = {}

        def classify(way: str) -> None:
            accuracies[way] = ways[way]()

        for _ in range(options.repeats):
            for way in ways:
                with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
                    seconds[way].append(timed(partial(classify, way)))
    if len({round(one, 6) for one in accuracies.values()}) > 1:
        raise SystemExit(f"the ways do not agree: {accuracies}")
    ours = statistics.median(seconds["this project"])
    print(f"{machine()}; load average {os.getloadavg()[0]:.1f}; accuracy {accuracies['this project']:.4f}\n")
    columns = ("seconds, median of " + str(options.repeats), "range", "relative to this project")
    print(f"| {options.images} images | {' | '.join(columns)} |\n|---|---|---|---|")
    for way, times in seconds.items():
        middle = statistics.median(times)
        print(f"| {way} | {middle:.2f} | {min(times):.2f} to {max(times):.2f} | {middle / ours:.2f} |")


def ways_of(folder: Path, photos: Path) -> dict[str, Callable[[], float]]:
    """Return the ways by name; each returns the accuracy at the first rank."""
    import numpy as np
    import torch
    from clip_benchmark.metrics import zeroshot_classification
    from torchvision.datasets import ImageFolder

    from pytest_clip_robust.encoding.encoder import Encoder
    from pytest_clip_robust.encoding.store.features import FeatureStore
    from pytest_clip_robust.scoring.zero_shot import zero_shot_weights

    model, images, number = load_model(folder), load_images(photos), count()
    clip, tokenizer, preprocess = model.encoder._clip, model.encoder._tokenizer, model.encoder.preprocess  # noqa: SLF001
    files = ImageFolder(str(photos), transform=preprocess)

    def this_project(store: str = "") -> float:
        encoder = Encoder(FeatureStore(folder / (store or f"store{next(number)}")), progress=silent)
        texts = encoder.texts(model, [TEMPLATE.format(name) for name in files.classes])
        weights = zero_shot_weights(texts, len(files.classes))
        guesses = (encoder.images(model, images) @ weights.T).argmax(axis=1)
        return float(np.mean([files.classes[guess] == label for guess, label in zip(guesses, labels, strict=True)]))

    zeroshot_classification.accuracy = accuracies

    def clip_benchmark() -> float:
        loader = torch.utils.data.DataLoader(files, batch_size=BATCH, num_workers=4)
        found = zeroshot_classification.evaluate(
            clip, loader, tokenizer, files.classes, [TEMPLATE.replace("{}", "{c}")], "cpu", amp=False
        )
        return float(found["acc1"])

    labels = [Path(sample).parent.name for sample in images.samples]
    return {
        "this project": this_project,
        "this project, everything stored": partial(this_project, "kept"),
        "CLIP_benchmark": clip_benchmark,
        "mteb": mteb_way(clip, tokenizer, preprocess, files),
    }


def accuracies(logits: Any, labels: Any, topk: tuple[int, ...] = (1,)) -> list[float]:
    """Do what CLIP_benchmark's function of this purpose does; 1.6.2 fails with NumPy 2.4 and newer."""
    ranked = logits.topk(max(topk), dim=1).indices == labels[:, None]
    return [float(ranked[:, :k].any(dim=1).float().mean()) for k in topk]


def mteb_way(clip: Any, tokenizer: Any, preprocess: Any, files: Any) -> Callable[[], float]:
    """Return mteb's way: a task of its zero-shot class on the files, with its own wrapper of open_clip."""
    import datasets
    import mteb
    import open_clip
    from mteb.abstasks.zeroshot_classification import AbsTaskZeroShotClassification
    from mteb.models.model_implementations.openclip_models import openclip_loader

    with mock.patch.multiple(
        open_clip,
        create_model_and_transforms=lambda *_, **__: (clip, None, preprocess),
        get_tokenizer=lambda *_, **__: tokenizer,
    ):
        wrapped = openclip_loader(ARCHITECTURE, revision="1", device="cpu")
    wrapped.mteb_model_meta = mteb.get_model_meta("laion/CLIP-ViT-B-32-laion2B-s34B-b79K")

    class Photographs(AbsTaskZeroShotClassification):
        """The files as a task."""

        metadata = mteb.TaskMetadata(
            name="Photographs",
            description="photographs",
            dataset={"path": "local", "revision": "1"},
            type="ZeroShotClassification",
            category="i2t",
            modalities=["image", "text"],
            eval_splits=["test"],
            eval_langs=["eng-Latn"],
            main_score="accuracy",
        )

        def load_data(self, **_: object) -> None:
            """Read the files lazily, as from a folder of images."""
            columns = {"image": [path for path, _ in files.samples], "label": files.targets}
            self.dataset = datasets.DatasetDict(
                test=datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())
            )
            self.data_loaded = True

        def get_candidate_labels(self) -> list[str]:
            """Return the prompts."""
            return [TEMPLATE.format(name) for name in files.classes]

    def run() -> float:
        settings = {"batch_size": BATCH, "show_progress_bar": False}
        found = mteb.evaluate(wrapped, Photographs(), cache=None, encode_kwargs=settings, co2_tracker=False)
        return float(found.task_results[0].scores["test"][0]["accuracy"])

    return run


if __name__ == "__main__":
    main()
