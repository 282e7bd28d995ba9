"""Benchmark of zero-shot tasks on one set of images, compared with CLIP_benchmark and mteb (MIEB).

    pip install clip-benchmark mteb   (or in another environment: --theirs /path/to/its/python)
    python benchmarks/zero_shot.py [--repeats 5]

A task is the accuracy of the showroom's model on the showroom's ID images with one prompt set. The first row has five
prompt sets of up to 80 templates; mteb has one text per class, so that the others have five single templates, and one.
Each way is a whole command with the same files and weights in fp32, and the ways alternate. CLIP_benchmark gets as many
loader processes as this package. The benchmark fails unless all accuracies are equal.
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
from collections.abc import Callable
from functools import partial
from pathlib import Path

from run import machine, run, timed

from pytest_clip_robust.prompts.templates import PromptSet, prompt_set

MODEL = "showroom-clip"
LOADERS = 2
SINGLE = {
    "photo": "a photo of a {}.",
    "name": "{}",
    "picture": "a picture of a {}.",
    "good": "a good photo of a {}.",
    "one": "a photo of one {}.",
}
ROWS: dict[str, tuple[PromptSet, ...]] = {
    "five prompt sets": tuple(map(prompt_set, ("photo", "name", "simple-7", "showroom", "openai-80"))),
    "five templates": tuple(PromptSet(name, (template,)) for name, template in SINGLE.items()),
    "one template": (PromptSet("photo", (SINGLE["photo"],)),),
}

SUITE = """
import pytest
from pytest_clip_robust.properties import accuracy
from pytest_clip_robust.prompts.templates import PromptSet

@pytest.mark.clip_role("id")
@pytest.mark.parametrize("prompts", {prompts}, ids=lambda prompts: prompts.name)
def test_accuracy(model, dataset, prompts, gate):
    gate(accuracy.top_k(model.zero_shot(dataset, prompts=prompts), k=1))
"""

MTEB = """
import json, sys
from pathlib import Path
from unittest import mock
import datasets, mteb, open_clip
from mteb.abstasks.zeroshot_classification import AbsTaskZeroShotClassification
from mteb.models.model_implementations.openclip_models import openclip_loader

model, images, tasks, out = sys.argv[1:]
create, tokenizer = open_clip.create_model_and_transforms, open_clip.get_tokenizer
with mock.patch.multiple(  # its loader puts "hf-hub:" before every name
    open_clip,
    create_model_and_transforms=lambda _, device: create(model, device=device),
    get_tokenizer=lambda _: tokenizer(model),
):
    wrapped = openclip_loader(model, revision="1", device="cpu")
wrapped.mteb_model_meta = mteb.get_model_meta("laion/CLIP-ViT-B-32-laion2B-s34B-b79K")


def metadata_of(name):
    return mteb.TaskMetadata(
        name=name, description=name, dataset={"path": "local", "revision": "1"}, type="ZeroShotClassification",
        category="i2t", modalities=["image", "text"], eval_splits=["test"], eval_langs=["eng-Latn"],
        main_score="accuracy",
    )


class Photographs(AbsTaskZeroShotClassification):
    def load_data(self, **_):
        files = sorted(Path(images).glob("*/*"))
        names = sorted({file.parent.name for file in files})
        columns = {"image": list(map(str, files)), "label": [names.index(file.parent.name) for file in files]}
        self.dataset = datasets.DatasetDict(
            test=datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())
        )
        self.data_loaded = True

    def get_candidate_labels(self):
        return self.texts


options = {"batch_size": 64, "show_progress_bar": False}
found = {}
for name, texts in json.loads(tasks).items():
    task = type(name, (Photographs,), {"metadata": metadata_of(name), "texts": texts})()
    result = mteb.evaluate(wrapped, task, cache=None, encode_kwargs=options, co2_tracker=False)
    found[name] = result.task_results[0].scores["test"][0]["accuracy"]
Path(out).write_text(json.dumps(found))
"""


def main() -> None:
    """Print a table of the three rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="runs of each way in each row (default: 3)")
    parser.add_argument(
        "--theirs", default=sys.executable, help="Python with the other packages (default: this Python)"
    )
    options = parser.parse_args()
    versions = ", ".join(f"{name} {their_version(options.theirs, name)}" for name in ("clip-benchmark", "mteb"))
    print(f"{machine(MODEL)}; {versions}; medians of {options.repeats}\n")
    print("| tasks | this package | CLIP_benchmark | mteb | accuracies |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        count = write_images(folder)
        for what, prompts in ROWS.items():
            write_tasks(folder, prompts)
            print(f"| {what}, {count} images | {row(folder, options, prompts)} |", flush=True)


def row(folder: Path, options: argparse.Namespace, prompts: tuple[PromptSet, ...]) -> str:
    """Run each way several times in turn, and return the cells; exit unless the accuracies agree."""
    ways: dict[str, Callable[[], list[str]]] = {
        "ours": partial(our_command, folder),
        "CLIP_benchmark": partial(clip_benchmark_command, options.theirs, folder, prompts),
    }
    if all(len(one.templates) == 1 for one in prompts):
        ways["mteb"] = partial(mteb_command, options.theirs, folder, prompts)
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(options.repeats):
        for way, command in ways.items():
            seconds[way].append(timed(partial(run, command(), cwd=folder)))
        accuracies = compare(folder, prompts)
    ours = statistics.median(seconds["ours"])
    cells = [f"{ours:.1f} s"]
    for way in ("CLIP_benchmark", "mteb"):
        middle = statistics.median(seconds.get(way, [0.0]))
        cells.append(f"{middle:.1f} s ({middle / ours:.1f})" if middle else "has one text per class")
    return " | ".join([*cells, ", ".join(f"{value:.4f}" for value in accuracies)])


def their_version(python: str, name: str) -> str:
    """Return the version of a package in an environment; exit if it is not installed."""
    command = [python, "-c", f"import importlib.metadata as m; print(m.version({name!r}))"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{python} has no {name}: pip install {name}, or name a Python that has it (--theirs)")
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


def write_tasks(folder: Path, prompts: tuple[PromptSet, ...]) -> None:
    """Write the suite for pytest and the task folders for CLIP_benchmark."""
    (folder / "test_tasks.py").write_text(SUITE.format(prompts=list(prompts)))
    (folder / "pytest.ini").write_text("[pytest]\n")
    for one in prompts:
        task = folder / "wds" / one.name
        task.mkdir(parents=True, exist_ok=True)
        if not (task / "test").exists():
            (task / "test").symlink_to(folder / "shards")
        (task / "classnames.txt").write_text((folder / "classnames.txt").read_text())
        templates = [template.replace("{}", "{c}") for template in one.templates]
        (task / "zeroshot_classification_templates.txt").write_text("\n".join(templates))


def our_command(folder: Path) -> list[str]:
    """Return the pytest command, with an empty feature store."""
    store = tempfile.mkdtemp(dir=folder, prefix="store-")
    return [
        sys.executable, "-m", "pytest", "test_tasks.py", f"--model={MODEL}", "--clip-data=photos=images",
        f"--clip-cache={store}", f"--clip-workers={LOADERS}", "--clip-report=ours", "-q", "-p", "no:cacheprovider",
        "-p", "no:syrupy",
    ]  # fmt: skip


def their_model() -> str:
    """Return the name of the showroom's model in open_clip."""
    from pytest_clip_robust.showroom import model_folder

    return f"local-dir:{model_folder(MODEL)}"


def clip_benchmark_command(python: str, folder: Path, prompts: tuple[PromptSet, ...]) -> list[str]:
    """Return the CLIP_benchmark command that evaluates the same tasks in one process."""
    return [
        python, "-c", "from clip_benchmark.cli import main; main()", "eval", "--model", their_model(),
        "--pretrained", "", "--no_amp", "--num_workers", str(LOADERS), "--quiet", "--output", "theirs_{dataset}.json",
        "--dataset_root", f"{folder}/wds/{{dataset}}", "--task", "zeroshot_classification",
        "--dataset", *(f"wds/{one.name}" for one in prompts),
    ]  # fmt: skip


def mteb_command(python: str, folder: Path, prompts: tuple[PromptSet, ...]) -> list[str]:
    """Return the command of a program that evaluates the same tasks with mteb's own model and task classes."""
    names = (folder / "classnames.txt").read_text().splitlines()
    tasks = json.dumps({one.name: one.texts(names) for one in prompts})
    return [python, "-W", "ignore", "-c", MTEB, their_model(), str(folder / "images"), tasks, "mteb.json"]


def compare(folder: Path, prompts: tuple[PromptSet, ...]) -> list[float]:
    """Return the accuracies of the last runs; exit if ours and theirs differ."""
    gates = json.loads((folder / "ours" / "report.json").read_text())["gates"]
    ours = {
        one.name: next(gate["value"] for gate in gates if gate["test"].endswith(f"-{one.name}]")) for one in prompts
    }
    theirs = {
        "CLIP_benchmark": {
            name: json.loads((folder / f"theirs_{name}.json").read_text())["metrics"]["acc1"] for name in ours
        }
    }
    if (folder / "mteb.json").exists():
        theirs["mteb"] = json.loads((folder / "mteb.json").read_text())
        (folder / "mteb.json").unlink()
    for way, found in theirs.items():
        for name, value in ours.items():
            if abs(value - found[name]) > 1e-9:
                sys.exit(f"accuracy with the prompts {name!r}: {value} here, {found[name]} in {way}")
    return list(ours.values())


if __name__ == "__main__":
    main()
