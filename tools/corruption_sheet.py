"""Contact sheet of corruptions: every kind at every severity, on a render of the showroom with true depth.

    python tools/corruption_sheet.py docs/images/corruptions.webp

The render is small; it is enlarged before it is corrupted, so that the sheet shows the effect on a 224-pixel image.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image, ImageDraw

from pytest_clip_robust import showroom
from pytest_clip_robust.corruptions.canvas import Canvas
from pytest_clip_robust.corruptions.registry import corrupt
from pytest_clip_robust.names import CORRUPTION_KINDS, SEVERITIES

SIDE, SHOWN, TITLE = 224, 160, 14


def main() -> None:
    """Write the sheet, one row per kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--subset", default="views", help="a subset with depth (default: views)")
    parser.add_argument("--row", type=int, default=123, help="position of the image in the subset (default: 123)")
    options = parser.parse_args()
    table = pq.read_table(showroom.data_file(options.subset)).slice(options.row, 1)
    draw_sheet(enlarged(table.to_pylist()[0])).save(options.out, quality=85, method=6)


def enlarged(row: dict) -> Canvas:
    """Return image, depth and camera of a render, enlarged to 224 x 224 pixels."""
    image = Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB")
    larger = image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    depth = np.asarray(Image.open(io.BytesIO(row["depth"]["bytes"]))).astype(np.float32)
    place = ((np.arange(SIDE) + 0.5) * image.width / SIDE).astype(int)
    intrinsics = np.array(row["intrinsics"], np.float32).reshape(3, 3)
    intrinsics[:2] *= SIDE / image.width
    return Canvas(
        torch.from_numpy(np.array(larger)).permute(2, 0, 1)[None],
        torch.from_numpy(depth[place][:, place])[None],
        torch.from_numpy(intrinsics)[None],
    )


def draw_sheet(canvas: Canvas) -> Image.Image:
    """Draw one row per kind: the clean image and its five corrupted versions."""
    height = SHOWN + TITLE
    sheet = Image.new("RGB", (SHOWN * (1 + len(SEVERITIES)), height * len(CORRUPTION_KINDS)), "white")
    pen = ImageDraw.Draw(sheet)
    for row, kind in enumerate(CORRUPTION_KINDS):
        for column, severity in enumerate((0, *SEVERITIES)):
            found = canvas.rgb
            if severity:
                found = corrupt(canvas.rgb, kind, severity, seeds=[1], depth=canvas.depth, intrinsics=canvas.intrinsics)
            tile = Image.fromarray(found[0].permute(1, 2, 0).contiguous().numpy())
            sheet.paste(tile.resize((SHOWN, SHOWN), Image.Resampling.LANCZOS), (column * SHOWN, row * height + TITLE))
            title = f"{kind} {severity}" if severity else "clean"
            pen.text((column * SHOWN + 2, row * height + 1), title, fill="black")
    return sheet


if __name__ == "__main__":
    main()
