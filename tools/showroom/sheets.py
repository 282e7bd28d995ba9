"""Contact sheets: an overview image of each subset.

python -m showroom.sheets DATA_FOLDER OUT_FOLDER
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import pyarrow.parquet as pq
from PIL import Image, ImageDraw

TILE, COLUMNS, ROWS = 128, 12, 6
TEXT_HEIGHT = 14


def main() -> None:
    """Write one sheet per subset in the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for path in sorted(options.data.glob("*.parquet")):
        rows = pq.read_table(path).to_pylist()
        if "image" in rows[0]:
            sheet(path.stem, rows).save(options.out / f"{path.stem}.webp", quality=82, method=6)


def sheet(name: str, rows: list[dict]) -> Image.Image:
    """Draw a subset: factors scene by scene, other subsets as rows taken at equal steps."""
    if name == "factors":
        columns = len({row["factor"] for row in rows})
        scenes = len(rows) // columns
        chosen = [row for scene in range(0, scenes, max(1, scenes // 10)) for row in rows[scene * columns :][:columns]]
        return _tiles(chosen, columns, lambda row: row["factor"] or "base")
    step = max(1, len(rows) // (COLUMNS * ROWS))
    return _tiles(rows[::step][: COLUMNS * ROWS], COLUMNS, _title)


def _title(row: dict) -> str:
    if row.get("texture"):
        return f"{row['shape']} < {row['texture']}"
    return row.get("label") or row.get("image", {}).get("path", "")


def _tiles(rows: list[dict], columns: int, title) -> Image.Image:  # noqa: ANN001 - row -> str
    height = TILE + TEXT_HEIGHT
    found = Image.new("RGB", (columns * TILE, -(-len(rows) // columns) * height), "white")
    draw = ImageDraw.Draw(found)
    for i, row in enumerate(rows):
        x, y = i % columns * TILE, i // columns * height
        draw.text((x + 2, y + 1), title(row)[:21], fill="black")
        found.paste(Image.open(io.BytesIO(row["image"]["bytes"])), (x, y + TEXT_HEIGHT))
    return found


if __name__ == "__main__":
    main()
