"""Builder of the showroom's data from the 3D models of Sweet Home 3D.

    python -m showroom.build --furniture DIR --out DIR [--only id,factors] [--workers 2]

The seed of a picture is derived from the names of the subset and the picture. So the number of workers does not change
any pixel, and a new subset does not change the others.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import platform
import shutil
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pyarrow as pa
import pyarrow.parquet as pq

from . import compositions, subsets

VERSION = 1
QUESTIONS = "questions"


def main() -> None:
    """Render the subsets named on the command line; write the manifest of all files in the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--furniture", type=Path, required=True, help="folder with Debian's *.sh3f libraries")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="", help="subsets to build, separated by commas (default: all)")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    everything = subsets.every_subset()
    chosen = options.only.split(",") if options.only else [*everything, QUESTIONS]
    unknown = [name for name in chosen if name not in {*everything, QUESTIONS}]
    if unknown:
        parser.error(f"unknown subset {unknown[0]!r}; expected one of: {', '.join([*everything, QUESTIONS])}")
    options.out.mkdir(parents=True, exist_ok=True)
    world = subsets.open_world(options.furniture)
    for name in chosen:
        started = time.monotonic()
        if name == QUESTIONS:
            rows = write_questions(options.out)
        else:
            rows = list(render(name, everything[name].plan(world), options))
            write(rows, options.out / f"{name}.parquet", everything[name].schema())
        print(f"{name}: {len(rows)} rows in {time.monotonic() - started:.0f} s", flush=True)
    shutil.copy(Path(__file__).with_name("data_card.md"), options.out / "README.md")
    write_manifest(options.out)
    write_credits(options.out, world)


def render(name: str, jobs: list[Any], options: argparse.Namespace) -> Iterable[dict[str, Any]]:
    """Yield the rows of all jobs, in the order of the jobs, rendered in `workers` processes."""
    work = partial(subsets.render_job, name, str(options.furniture))
    if options.workers <= 1:
        yield from (row for job in jobs for row in work(job))
        return
    # Spawned, because a render window does not survive a fork.
    with multiprocessing.get_context("spawn").Pool(options.workers) as pool:
        for rows in pool.imap(work, jobs, chunksize=4):
            yield from rows


def write_questions(folder: Path) -> list[dict[str, Any]]:
    """Write questions about the pictures that were built before, and return them."""
    sources = [pq.read_table(folder / f"{name}.parquet").to_pylist() for name in ("id", "factors")]
    rows = compositions.questions(*sources, np.random.default_rng(subsets.SEED))
    write(rows, folder / f"{QUESTIONS}.parquet", pa.schema(list(compositions.QUESTIONS.items())))
    return rows


def write(rows: list[dict[str, Any]], path: Path, schema: pa.Schema) -> None:
    """Write rows as Parquet that `datasets` opens with images decoded."""
    table = pa.Table.from_pylist(rows, schema=schema)
    # Images are compressed already; without statistics and dictionaries, the same rows give the same bytes.
    pq.write_table(table, path, compression="zstd", use_dictionary=False, write_statistics=False)


def write_manifest(folder: Path) -> None:
    """Write every file with its digest and size, and the versions that made it."""
    import scipy
    import vtk

    files = {
        path.name: {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size}
        for path in sorted(folder.glob("*.parquet"))
        if not path.name.startswith(subsets.UNSHIPPED)
    }
    manifest = {
        "version": VERSION,
        "seed": subsets.SEED,
        "made_with": {
            "python": platform.python_version(),
            "vtk": vtk.vtkVersion.GetVTKVersion(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "pillow": PIL.__version__,
        },
        "files": files,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def write_credits(folder: Path, world: subsets.World) -> None:
    """Write the author and licence of every 3D model that is shown in a picture."""
    lines = [
        "# Credits",
        "",
        "The showroom's pictures show 3D models of the furniture libraries of Sweet Home 3D (Debian's",
        "`sweethome3d-furniture`). Changes made to every model: scaled, turned, lit and rendered; in some pictures",
        "recoloured, resurfaced, stretched or drawn over, as the subset's columns say.",
        "",
        "| model | name | author | licence |",
        "|---|---|---|---|",
        *(f"| {m.key} | {m.name} | {m.creator} | {m.licence} |" for m in world.every_model()),
    ]
    (folder / "CREDITS.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
