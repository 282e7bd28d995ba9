"""Benchmark of zero-shot tasks: several prompt sets on one set of images, compared with CLIP_benchmark.

    pip install clip-benchmark        (or in another environment: --theirs /path/to/its/python)
    python benchmarks/zero_shot.py

A task is the accuracy on the showroom's ID images with one prompt set; first five tasks are timed, then one. Ours is a
run of pytest that starts with an empty store, theirs is a run of `clip_benchmark eval` on the same files and weights.
Both are whole commands in fp32 with the same number of loader processes and threads, and they alternate. The benchmark
fails unless both give the same accuracies.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from run import machine, run, timed

PROMPTS = ("photo", "name", "simple-7", "showroom", "openai-80")
MODEL = "showroom-clip"
LOADERS = 2
TARGET = 5.0

SUITE = """
import pytest
from pytest_clip_robust.properties import accuracy
from pytest_clip_robust.prompts.templates import prompt_set

@pytest.mark.clip_role("id")
@pytest.mark.parametrize("prompts", {prompts})
def test_accuracy(model, dataset, prompts, gate):
    gate(accuracy.top_k(model.zero_shot(dataset, prompts=prompt_set(prompts)), k=1))
"""


def main() -> None:
    """Print one row for five tasks and one row for a single task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="runs of each of the two (default: 3)")
    parser.add_argument("--theirs", default=sys.executable, help="Python with CLIP_benchmark (default: this Python)")
    options = parser.parse_args()
    version = their_version(options.theirs)
    print(f"{machine(MODEL)}; CLIP_benchmark {version}\n")
    print("| tasks | target | theirs / ours | theirs | ours | accuracies |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = write_images(folder)
        for prompts in (PROMPTS, ("simple-7",)):
            write_tasks(folder, prompts)
            times = []
            for _ in range(options.repeats):
                ours = timed(lambda: run(our_command(folder), cwd=folder))
                theirs = timed(lambda: run(their_command(options.theirs, folder, prompts), cwd=folder))  # noqa: B023
                times.append((theirs / ours, theirs, ours))
                accuracies = compare(folder, prompts)
            ratio, theirs, ours = (statistics.median(column) for column in zip(*times, strict=True))
            target = f">= {TARGET:g}" if len(prompts) == len(PROMPTS) else ""
            what, shown = f"{len(prompts)} on {images} images", ", ".join(f"{value:.4f}" for value in accuracies)
            print(f"| {what} | {target} | {ratio:.1f} | {theirs:.1f} s | {ours:.1f} s | {shown} |", flush=True)


def their_version(python: str) -> str:
    """Return the version of CLIP_benchmark in an environment; exit if it is not installed."""
    command = [python, "-c", "import importlib.metadata as m; print(m.version('clip-benchmark'))"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{python} has no CLIP_benchmark: pip install clip-benchmark, or name a Python that has it (--theirs)")
    return done.stdout.strip()


def write_images(folder: Path) -> int:
    """Write the ID images as class folders, and the same bytes as webdataset shards, one per loader process."""
    import pyarrow.parquet as pq

    from pytest_clip_robust.showroom import data_file

    table = pq.read_table(data_file("id"), columns=["image", "label"]).to_pylist()
    names = sorted({row["label"] for row in table})
    (folder / "classnames.txt").write_text("\n".join(names))
    (folder / "shards").mkdir()
    (folder / "shards" / "nshards.txt").write_text(str(LOADERS))
    shards = [tarfile.open(folder / "shards" / f"{number}.tar", "w") for number in range(LOADERS)]  # noqa: SIM115
    for number, row in enumerate(table):
        content = row["image"]["bytes"]
        suffix = "png" if content.startswith(b"\x89PNG") else "webp" if content[8:12] == b"WEBP" else "jpg"
        path = folder / "images" / row["label"] / f"{number:04}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        for extension, data in ((suffix, content), ("cls", str(names.index(row["label"])).encode())):
            entry = tarfile.TarInfo(f"{number:04}.{extension}")
            entry.size = len(data)
            shards[number % LOADERS].addfile(entry, io.BytesIO(data))
    for shard in shards:
        shard.close()
    return len(table)


def write_tasks(folder: Path, prompts: tuple[str, ...]) -> None:
    """Write the suite for pytest and the task folders for CLIP_benchmark."""
    from pytest_clip_robust.prompts.templates import prompt_set

    (folder / "test_tasks.py").write_text(SUITE.format(prompts=list(prompts)))
    (folder / "pytest.ini").write_text("[pytest]\n")
    for name in prompts:
        task = folder / "wds" / name
        task.mkdir(parents=True, exist_ok=True)
        if not (task / "test").exists():
            (task / "test").symlink_to(folder / "shards")
        (task / "classnames.txt").write_text((folder / "classnames.txt").read_text())
        templates = [template.replace("{}", "{c}") for template in prompt_set(name).templates]
        (task / "zeroshot_classification_templates.txt").write_text("\n".join(templates))


def our_command(folder: Path) -> list[str]:
    """Return the pytest command, with an empty feature store."""
    store = tempfile.mkdtemp(dir=folder, prefix="store-")
    return [
        sys.executable, "-m", "pytest", "test_tasks.py", f"--model={MODEL}", "--clip-data=photos=images",
        f"--clip-cache={store}", f"--clip-workers={LOADERS}", "--clip-report=ours", "-q", "-p", "no:cacheprovider",
        "-p", "no:syrupy",
    ]  # fmt: skip


def their_command(python: str, folder: Path, prompts: tuple[str, ...]) -> list[str]:
    """Return the CLIP_benchmark command that evaluates the same tasks in one process."""
    from pytest_clip_robust.showroom import model_folder

    model = f"local-dir:{model_folder(MODEL)}"
    return [
        python, "-c", "from clip_benchmark.cli import main; main()", "eval", "--model", model, "--pretrained", "",
        "--no_amp", "--num_workers", str(LOADERS), "--quiet", "--output", "theirs_{dataset}.json",
        "--dataset_root", f"{folder}/wds/{{dataset}}", "--task", "zeroshot_classification",
        "--dataset", *(f"wds/{name}" for name in prompts),
    ]  # fmt: skip


def compare(folder: Path, prompts: tuple[str, ...]) -> list[float]:
    """Return the accuracies of the last runs; exit if ours and theirs differ."""
    gates = json.loads((folder / "ours" / "report.json").read_text())["gates"]
    ours = {name: next(gate["value"] for gate in gates if gate["test"].endswith(f"-{name}]")) for name in prompts}
    theirs = {name: json.loads((folder / f"theirs_{name}.json").read_text())["metrics"]["acc1"] for name in prompts}
    for name in prompts:
        if abs(ours[name] - theirs[name]) > 1e-9:
            sys.exit(f"accuracy with the prompts {name!r}: {ours[name]} here, {theirs[name]} in CLIP_benchmark")
    return [ours[name] for name in prompts]


if __name__ == "__main__":
    main()
