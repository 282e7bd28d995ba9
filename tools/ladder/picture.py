"""Picture of correspondences: matches between pairs of views by several models, correct ones green, wrong ones red.

    python tools/ladder/picture.py docs/images/correspondence.webp --model py:tools/ladder/towers.py:random_tower \
        --model py:tools/ladder/towers.py:raw_colour --model showroom-clip \
        --pair showroom-views:0:2 --pair lego=/data/nerf_lego:0:1

A pair is a set and the positions of two of its views.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from pytest_clip_robust.datasets.catalog import catalog
from pytest_clip_robust.datasets.correspondence.view_set import ViewSet
from pytest_clip_robust.datasets.correspondence.views import load_view_set
from pytest_clip_robust.datasets.entry import parse_data_option
from pytest_clip_robust.datasets.images.decoding import read_image
from pytest_clip_robust.encoding.dense.pairs import DenseReader, view_of
from pytest_clip_robust.encoding.dense.resize import STRIDE, Resize
from pytest_clip_robust.encoding.dense.views import Matches, match_views
from pytest_clip_robust.models.loading import load_model
from pytest_clip_robust.models.protocols import LoadedModel
from pytest_clip_robust.models.spec import ModelSpec

SIDE, GAP, TITLE = 256, 6, 18
DRAWN = 120
"""Matches drawn per image, evenly spaced among the kept ones: more lines would hide the image."""

CORRECT_PIXELS = 20
GREEN, RED = (60, 200, 90, 210), (230, 60, 60, 110)


def main() -> None:
    """Write an image with one row per model and one column per pair."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", action="append", required=True)
    parser.add_argument("--pair", action="append", required=True)
    parser.add_argument("--size", type=int, default=512, help="pixels of the longer side for the model (default: 512)")
    options = parser.parse_args()
    models = [load_model(ModelSpec.parse(spec), device="cpu", precision="fp32") for spec in options.model]
    columns = [_views(pair) for pair in options.pair]
    rows = [[draw(model, views, pair, options.size) for views, pair in columns] for model in models]
    sheet(rows, [model.spec.label.rpartition(":")[2].replace("_", " ") for model in models]).save(
        options.out, quality=85, method=6
    )


def _views(pair: str) -> tuple[ViewSet, tuple[int, int]]:
    source, first, second = pair.rsplit(":", 2)
    entry = parse_data_option(source) if "=" in source else catalog()[source]
    return load_view_set(entry), (int(first), int(second))


def draw(model: LoadedModel, views: ViewSet, pair: tuple[int, int], longer_side: int) -> Image.Image:
    """Draw two views next to each other, with lines between the points that `model` matches."""
    dense = DenseReader(model, views.images, longer_side, boxes=views.boxes)(pair)
    found = match_views(*(view_of(views, position, *dense[position]) for position in pair))
    sizes = [dense[position][0] for position in pair]
    pictures = [
        Image.fromarray(size.apply(read_image(views.images, position)))
        for size, position in zip(sizes, pair, strict=True)
    ]
    height = round(SIDE * sizes[0].height / sizes[0].width)
    canvas = Image.new("RGB", (2 * SIDE + GAP, height), "white")
    for place, picture in enumerate(pictures):
        canvas.paste(picture.resize((SIDE, height), Image.Resampling.LANCZOS), (place * (SIDE + GAP), 0))
    _draw_matches(canvas, found, sizes)
    return canvas


def _draw_matches(canvas: Image.Image, found: Matches, sizes: list[Resize]) -> None:
    pen = ImageDraw.Draw(canvas, "RGBA")
    chosen = np.linspace(0, len(found.source) - 1, min(DRAWN, len(found.source))).astype(int)
    correct = found.pixels < CORRECT_PIXELS
    for match in sorted(chosen, key=lambda one: correct[one]):  # green over red
        ends = []
        for place, (size, points) in enumerate(zip(sizes, (found.source, found.target), strict=True)):
            row, column = divmod(int(points[match]), size.grid[1])
            x, y = (column + 0.5) * STRIDE * SIDE / size.width, (row + 0.5) * STRIDE * SIDE / size.width
            ends.append((x + place * (SIDE + GAP), y))
        colour = GREEN if correct[match] else RED
        pen.line(ends, fill=colour, width=1)
        for x, y in ends:
            pen.ellipse((x - 1.5, y - 1.5, x + 1.5, y + 1.5), fill=colour[:3])


def sheet(rows: list[list[Image.Image]], names: list[str]) -> Image.Image:
    """Arrange images in a grid, each row below its name."""
    heights = [max(one.height for one in row) + TITLE + GAP for row in rows]
    whole = Image.new("RGB", (sum(one.width for one in rows[0]) + 3 * GAP * (len(rows[0]) - 1), sum(heights)), "white")
    pen = ImageDraw.Draw(whole)
    y = 0
    for row, name, height in zip(rows, names, heights, strict=True):
        pen.text((2, y + 3), name, fill="black")
        x = 0
        for picture in row:
            whole.paste(picture, (x, y + TITLE))
            x += picture.width + 3 * GAP
        y += height
    return whole


if __name__ == "__main__":
    main()
