"""Training sets of the panel: chosen renders of the showroom's training set, as Parquet files of their own."""

from __future__ import annotations

import io
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from . import styles

BASE, INSTANCES, STYLES, VALIDATION = "base", "instances", "styles", "validation"
WORDS = {BASE: "", INSTANCES: " (half of the instances)", STYLES: " (half of it stylised)"}
COLUMNS = ["image", "label", "caption"]
QUALITY = 90
"""Of WebP, as in the showroom's own files."""


def write(kind: str, data: Path, out: Path) -> Path:
    """Write the renders of a kind below `out`, unless they are there, and return the file.

    base: the first quarter of each class's renders. instances: as many, all of every second instance of each class.
    styles: the base, with the first half of each class painted or as a mosaic. validation: the validation set.

    The renders of a class take its instances in turn, so the first ones show all of them equally often.
    """
    path = out / "renders" / kind / "renders.parquet"
    if path.exists():
        return path
    split = "validation" if kind == VALIDATION else "train"
    table = pq.read_table(data / f"{split}.parquet", columns=[*COLUMNS, "instance"])
    labels = table.column("label").to_pylist()
    chosen = np.arange(len(labels))
    if kind == INSTANCES:
        chosen = of_every_second_instance(labels, table.column("instance").to_pylist())
    if kind != VALIDATION:
        quarter = {label: count // 4 for label, count in Counter(labels).items()}
        kept = [labels[i] for i in chosen]
        chosen = chosen[ranks(kept) < np.array([quarter[label] for label in kept])]
    table = table.take(pa.array(chosen)).select(COLUMNS)
    if kind == STYLES:
        table = table.set_column(0, table.schema.field("image"), [stylised(table)])
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


def ranks(labels: Sequence[str]) -> NDArray[np.int64]:
    """Return for each of N renders how many of its class come before it.

    >>> ranks(["cup", "car", "cup", "cup", "car"]).tolist()
    [0, 0, 1, 2, 1]
    """
    seen: dict[str, int] = defaultdict(int)
    found = np.empty(len(labels), np.int64)
    for place, label in enumerate(labels):
        found[place] = seen[label]
        seen[label] += 1
    return found


def of_every_second_instance(labels: Sequence[str], instances: Sequence[str]) -> NDArray[np.int64]:
    """Return the positions of the renders of every second instance of each class, instances sorted by name.

    >>> of_every_second_instance(["cup"] * 4 + ["car"], ["b", "a", "c", "b", "z"]).tolist()
    [1, 2, 4]
    """
    by_class: dict[str, set[str]] = defaultdict(set)
    for label, instance in zip(labels, instances, strict=True):
        by_class[label].add(instance)
    kept = {(label, one) for label, names in by_class.items() for one in sorted(names)[::2]}
    return np.array([i for i, pair in enumerate(zip(labels, instances, strict=True)) if pair in kept], np.int64)


def stylised(table: pa.Table) -> pa.Array:
    """Return the images of a table; of each class, the first quarter is painted, and the second quarter a mosaic."""
    labels = table.column("label").to_pylist()
    sizes = Counter(labels)
    images = table.column("image").to_pylist()
    for place, rank in enumerate(ranks(labels).tolist()):
        quarter = 4 * rank // sizes[labels[place]]
        if quarter > 1:
            continue
        rng = np.random.default_rng([place])
        picture = SimpleNamespace(rgb=np.asarray(Image.open(io.BytesIO(images[place]["bytes"])).convert("RGB")))
        rgb = styles.painting(picture, rng) if quarter == 0 else styles.mosaic(picture)
        buffer = io.BytesIO()
        Image.fromarray(rgb).save(buffer, "WEBP", quality=QUALITY)
        images[place] = {"bytes": buffer.getvalue(), "path": images[place]["path"]}
    return pa.array(images, table.schema.field("image").type)
