"""Build the shipped panels of published accuracies from the public tables of timm, open_clip and imagenet-testbed.

    python tools/reference_panels.py FOLDER_OF_TABLES

The folder holds timm's ``results-*.csv`` as ``timm_results-*.csv``, open_clip's ``openclip_classification_results.csv``
and imagenet-testbed's ``testbed_robustness_top1s.csv``. A column ``SET`` of a panel has accuracies on a set (0-1), and
``SET.id`` those on ImageNet's validation images of the set's classes, with logits sliced to them.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

OUTPUT = Path(__file__).parents[1] / "pytest_clip_robust" / "properties" / "reference_panels"

# Trained, or trained before, on images that are not in ImageNet-1k. SSLD adds images of ImageNet-22k without labels. A
# teacher of a distilled model may have seen more.
TIMM_EXTRA_DATA = r"in(12k|21k|22k)|clip|laion|openai|webli|jft|ig1b|yfcc|swag|seer|m30m|m38m|ssld|dinov"

# Extra data, as above; training against perturbations or corruptions; snapshots of one training, parts of ImageNet, and
# classifiers that are no networks: what the authors of the testbed call models other than standard ones.
TESTBED_NOT_STANDARD = (
    r"noisystudent|instagram|FixResNeXt101_32x48d|BiT-M|swsl|_ssl$|jft|tencent|imagenet(11|21)k|^vit_|clip"
    r"|advprop|adv[_-]train|robust|smoothing|rotation-(standard|worst|random|nocrop)|_aws$|augmix|deepaugment|SIN|_lpf"
    r"|_epochs$|subsample|100percent|lstsq|forests|one_nn"
)

TIMM_SETS = {
    "imagenet-1k": "imagenet",
    "imagenet-v2": "imagenetv2-matched-frequency",
    "imagenet-sketch": "sketch",
    "imagenet-r": "imagenet-r",
    "imagenet-r.id": "imagenet-r-clean",
    "imagenet-a": "imagenet-a",
    "imagenet-a.id": "imagenet-a-clean",
}
OPEN_CLIP_SETS = {
    "imagenet-1k": "ImageNet 1k",
    "imagenet-v2": "ImageNet v2",
    "imagenet-sketch": "ImageNet Sketch",
    "imagenet-r": "ImageNet-R",
    "imagenet-a": "ImageNet-A",
    "objectnet": "ObjectNet",
}
TESTBED_SETS = {
    "imagenet-1k": "val",
    "imagenet-v2": "imagenetv2-matched-frequency-format-val",
    "imagenet-sketch": "imagenet-sketch",
    "imagenet-r": "imagenet-r",
    "imagenet-r.id": "val-on-imagenet-r-classes",
    "imagenet-a": "imagenet-a",
    "imagenet-a.id": "val-on-imagenet-a-classes",
    "objectnet": "objectnet-1.0-beta",
}

Row = dict[str, str]


def rows(path: Path) -> list[Row]:
    """Return the rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def timm(folder: Path) -> list[Row]:
    """Return the models of timm that were trained on ImageNet-1k alone, one row for each image size of a model."""
    tables: dict[str, Mapping[tuple[str, str], str]] = {
        name: {(row["model"], row["img_size"]): row["top1"] for row in rows(folder / f"timm_results-{file}.csv")}
        for name, file in TIMM_SETS.items()
    }
    kept = [key for key in sorted(tables["imagenet-1k"]) if not re.search(TIMM_EXTRA_DATA, key[0])]
    return [
        {"model": key[0], "image_size": key[1]}
        | {name: share(table.get(key, ""), percent=True) for name, table in tables.items()}
        for key in kept
    ]


def open_clip(folder: Path) -> list[Row]:
    """Return the zero-shot models of open_clip. Their accuracy on ImageNet is over all 1,000 classes."""
    table = rows(folder / "openclip_classification_results.csv")
    return _sorted(
        {"model": f"{row['name']}@{row['pretrained']}"}
        | {name: share(row[column], percent=False) for name, column in OPEN_CLIP_SETS.items()}
        for row in table
    )


def testbed(folder: Path) -> list[Row]:
    """Return the models of the testbed that were trained on ImageNet-1k in the usual way."""
    table = rows(folder / "testbed_robustness_top1s.csv")
    return _sorted(
        {"model": row["model"]} | {name: share(row[column], percent=True) for name, column in TESTBED_SETS.items()}
        for row in table
        if not re.search(TESTBED_NOT_STANDARD, row["model"])
    )


def share(text: str, *, percent: bool) -> str:
    """Return an accuracy as a share with five decimals; ``""`` where there is no value."""
    return f"{float(text) / (100 if percent else 1):.5f}" if text else ""


def _sorted(found: Iterable[Row]) -> list[Row]:
    return sorted(found, key=lambda row: row["model"])


PANELS: dict[str, Callable[[Path], list[Row]]] = {"timm": timm, "open_clip": open_clip, "testbed": testbed}


def write(folder: Path, output: Path = OUTPUT) -> None:
    """Write every panel."""
    for name, build in PANELS.items():
        found = build(folder)
        with (output / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(found[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(found)
        print(f"{name}: {len(found)} models")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
