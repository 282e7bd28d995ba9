"""Classifiers with their own heads, saved predictions and feature packs in whole runs on the colour world."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from pytest_clip_robust.cli import main

SUITES = Path(__file__).resolve().parents[2] / "suites"
PAINT = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 210)}

PROFILE = """
name = "colours"
[roles]
id = "photos"
shift = "dim"
ood = "greys"
cue_conflict = "cues"
captions = "words"
corruptions = "photos"
views = []
[data.photos]
location = "photos"
[data.dim]
location = "dim"
[data.greys]
location = "greys"
[data.cues]
location = "cues"
[data.words]
location = "words"
[prompts]
templates = ["a photo of a {}."]
compare = ["name", "simple-7"]
[corruptions]
kinds = ["low_light"]
severities = [1, 5]
also = ["ood", "calibration"]
"""

CLASSIFIER = '''
"""A classifier with a linear head on the mean colour."""
import numpy as np
from colour_clip import ColourClip, load as load_clip


class ColourHead:
    identity = "colour-head 1"
    classes = ["green", "red", "blue", "mauve"]
    head = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1], [1, 0, 1]], dtype=np.float32) * 8

    def preprocess(self, image):
        return ColourClip().preprocess(image)

    def encode_image(self, pixels):
        return pixels.mean(dim=(2, 3))

    def classify(self, features):
        return features @ self.head.T


def load():
    return ColourHead()


class Curved(ColourHead):
    identity = "curved 1"

    def classify(self, features):
        return (features @ self.head.T) ** 2


def load_curved():
    return Curved()


def load_other_classes():
    other = ColourHead()
    other.identity, other.classes = "other", ["n01440764", "n01443537", "n01484850", "n01491361"]
    return other


def load_two():
    both = ColourHead()
    both.encode_text = load_clip().encode_text
    return both


def load_half():
    class Half(ColourHead):
        classify = property()
    return Half()


def load_wrong_number():
    other = ColourHead()
    other.identity, other.classes = "fewer", ["green", "red", "blue"]
    return other
'''


def write(path, rgb, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.array(rgb) + np.random.default_rng(seed).normal(0, 25, (16, 16, 3))
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)


@pytest.fixture
def world(colours):
    """Photographs, a shift, an OOD set, cue conflicts and captions; a run returns its result and its report.

    It is a run of all suites, or of those named by `suites`.
    """
    folder = colours.path
    shutil.rmtree(folder / "photos")
    shutil.rmtree(folder / "dim")
    captions = {}
    for i, (name, rgb) in enumerate(PAINT.items()):
        for j in range(20):
            write(folder / "photos" / name / f"{name}_{j}.png", rgb, 100 * i + j)
            write(folder / "dim" / name / f"{name}_dim_{j}.png", np.array(rgb) * 0.6, 400 + 100 * i + j)
        write(folder / "cues" / f"{name}1-{list(PAINT)[i - 1]}2.png", PAINT[list(PAINT)[i - 1]], 800 + i)
        write(folder / "words" / f"{name}.png", rgb, 900 + i)
        captions[f"{name}.png"] = [f"a {name} thing"]
    for j in range(20):
        write(folder / "greys" / "grey" / f"grey_{j}.png", (120, 120, 120), 950 + j)
    (folder / "words" / "captions.json").write_text(json.dumps(captions))
    (folder / "roles.toml").write_text(PROFILE)
    colours.makepyfile(classifiers=CLASSIFIER)

    def run(model, *options, suites=()):
        result = colours.runpytest(
            *([str(SUITES / f"test_{name}.py") for name in suites] or [str(SUITES)]),
            f"--model={model}",
            "--clip-profile=roles.toml",
            "--clip-report=out",
            "--clip-cache=cache",
            "--clip-workers=0",
            "-rs",
            *options,
        )
        report = folder / "out" / "report.json"
        return result, json.loads(report.read_text()) if report.exists() else {}

    run.folder = folder
    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder in which `direct` keeps what it measured, and the results of its runs."""
    return tmp_path_factory.mktemp("finished"), {}


@pytest.fixture
def direct(world, finished):
    """Return the result, the report and the cache of a run of all suites on a model, made once for all tests."""
    folder, results = finished

    def run(model):
        kept = folder / model.replace(":", "_")
        if model not in results:
            results[model], _ = world(model)
            shutil.copytree(world.folder / "out", kept / "out")
            shutil.copytree(world.folder / "cache", kept / "cache")
        shutil.copytree(kept / "cache", world.folder / "cache", dirs_exist_ok=True)
        return results[model], json.loads((kept / "out" / "report.json").read_text())

    return run


def values(report):
    return {gate["measurement"]: gate.get("value") for gate in report["gates"]}


def errors(report):
    return [gate for gate in report["gates"] if gate["verdict"] == "error"]


def test_the_head_of_a_classifier_answers_and_texts_are_not_applicable(direct):
    result, report = direct("py:classifiers:load")
    assert result.ret == 0, result.stdout
    assert errors(report) == []
    found = values(report)
    assert found["zero_shot.top1[photos]"] == 1
    assert found["shift.top1[dim]"] == 1
    assert found["ood.auroc_msp[greys]"] == 1
    assert found["shape_bias.texture_accuracy_direct[cues]"] == 1
    assert found["corruption.top1[photos/low_light/1]"] == 1
    assert 0 < found["calibration.ece_15_equal_width[photos]"] < 0.2
    assert not any(name.startswith(("retrieval", "modality", "prompt")) for name in found)
    assert not {"ood.auroc_mcm[greys]", "ood.auroc_neglabel[greys]"} & set(found)
    assert "ood.auroc_knn10[greys]" in found
    gate = next(one for one in report["gates"] if one["measurement"] == "zero_shot.top1[photos]")
    assert gate["provenance"]["prompts"] == ""
    result.stdout.fnmatch_lines(
        ["*not applicable: py:classifiers:load has no text encoder, which every property of captions needs*"],
    )
    reason = "py:classifiers:load has no text encoder, which every property of captions needs"
    result.stdout.fnmatch_lines([f"not applicable (16 tests): {reason}"])
    assert {"reason": reason, "tests": 16} in report["not_applicable"]


def test_probabilities_are_the_softmax_of_the_head_among_the_sets_classes(world):
    _, report = world("py:classifiers:load", "-k", "photos and nll", suites=["calibration"])
    logits, labels = [], []
    for i, name in enumerate(sorted(PAINT)):
        for path in sorted((world.folder / "photos" / name).glob("*.png")):
            colour = (np.asarray(Image.open(path).resize((4, 4)), np.float32) / 255).mean(axis=(0, 1))
            logits.append(8 * colour[[2, 1, 0]])  # blue, green, red
            labels.append(i)
    logits = np.array(logits, np.float64)
    nll = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]
    assert values(report)["calibration.nll[photos]"] == pytest.approx(nll.mean(), abs=1e-5)


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("load_other_classes", "*answers among the 4 classes of *, without 3 of the 3 classes of 'photos', such as*"),
        (
            "load_wrong_number",
            "*the head of py:classifiers:load_wrong_number returns logits of shape (60, 4); expected 3*",
        ),
        ("load_two", "*has both encode_text and a head (classify, classes)*"),
        (
            "load_half",
            "*its Half has no classify; a classifier has preprocess, encode_image, identity, classify, classes*",
        ),
    ],
)
def test_a_head_that_does_not_fit_is_an_error_in_one_line(world, factory, message):
    result, report = world(f"py:classifiers:{factory}", "-k", "top1", suites=["zero_shot"])
    assert result.ret == 1
    result.stdout.fnmatch_lines([message])
    result.stdout.no_fnmatch_line("*Traceback*")
    assert errors(report)


def test_a_run_of_nothing_but_what_is_not_applicable_is_not_judged(world):
    result, _ = world("py:classifiers:load", suites=["retrieval"])
    result.stdout.fnmatch_lines(["no gate was judged; * were skipped (-rs shows why)"])
    strict, _ = world("py:classifiers:load", "--clip-strict", suites=["retrieval"])
    assert strict.ret == 1


# --- feature packs ---------------------------------------------------------------------------------------------------


def export(world, model, folder="pack", monkeypatch=None):
    assert main(["features", "export", "--model", model, "--clip-cache", "cache", folder]) == 0
    return world.folder / folder


@pytest.mark.parametrize("model", ["py:colour_clip:load", "py:classifiers:load"])
def test_a_pack_gives_the_numbers_of_its_model(world, direct, model, capsys):
    _, report = direct(model)
    export(world, model)
    assert "use it as --model features:pack" in capsys.readouterr().out
    shutil.rmtree(world.folder / "cache")
    result, packed = world("features:pack")
    assert result.ret == 0, result.stdout
    assert len(report["gates"]) == len(packed["gates"]) > 20
    assert values(packed) == values(report)
    assert packed["encoded"] == {"images": 0, "texts": 0, "answers": 0}
    assert packed["models"]["features:pack"]["card"] == report["models"][model]["card"]
    result.stdout.fnmatch_lines(["model features:pack: *", f"features:pack: the stored features of {model} at fp32: *"])


def test_a_pack_that_lacks_samples_is_an_error(world):
    world("py:colour_clip:load", "-k", "photos", suites=["zero_shot"])
    export(world, "py:colour_clip:load")
    result, _ = world("features:pack", "-k", "test_accuracy_under_shift", suites=["zero_shot"])
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["*features:pack has no features of 60 of 60 images of 'dim': run py:colour_clip:load with this profile*"]
    )


def test_damage_of_a_pack_is_an_error_before_anything_is_measured(world):
    world("py:colour_clip:load", "-k", "photos", suites=["zero_shot"])
    shard = next((export(world, "py:colour_clip:load") / "features").rglob("*.parquet"))
    whole = shard.read_bytes()
    for content, message in (
        (whole[:-1] + b"!", "is not the file that was exported: copy the pack again"),
        (None, "is missing: copy the pack again"),
    ):
        shard.unlink()
        if content is not None:
            shard.write_bytes(content)
        result, _ = world("features:pack", "-k", "photos", suites=["zero_shot"])
        assert result.ret == 1
        result.stdout.fnmatch_lines([f"*model features:pack: features/*.parquet {message}*"])
        shard.write_bytes(whole)
    shard.with_name(f"2{shard.name}").write_bytes(whole)
    result, _ = world("features:pack", "-k", "photos", suites=["zero_shot"])
    result.stdout.fnmatch_lines(["*does not belong to the pack: remove it, or export again*"])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("py:colour_clip:load_other", "has no features of py:colour_clip:load_other at fp32; run the suites with this"),
        ("py:classifiers:load_curved", "the head of py:classifiers:load_curved is not linear in its features"),
        ("features:pack", "features:pack is a feature pack already; copy its folder"),
    ],
)
def test_what_cannot_be_exported_is_said_in_one_line(world, model, message, capsys):
    encoded = "py:classifiers:load_curved" if "curved" in model else "py:colour_clip:load"
    world(encoded, "-k", "photos and top1", suites=["zero_shot"])
    if model == "features:pack":
        export(world, encoded)
    capsys.readouterr()
    assert main(["features", "export", "--model", model, "--clip-cache", "cache", "other"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not [path for path in world.folder.iterdir() if path.name.startswith((".other", "other"))]


def test_an_existing_folder_is_never_overwritten(world, capsys):
    world("py:colour_clip:load", "-k", "photos", suites=["zero_shot"])
    before = {path: path.read_bytes() for path in export(world, "py:colour_clip:load").rglob("*") if path.is_file()}
    assert main(["features", "export", "--model", "py:colour_clip:load", "--clip-cache", "cache", "pack"]) == 2
    assert "pack exists; give a new folder" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in before} == before


# --- saved predictions -----------------------------------------------------------------------------------------------


def logits_of(world, *sets):
    """Return the names and the logits of the classifier's images, computed apart from this package."""
    names, rows = [], []
    head = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1], [1, 0, 1]], np.float32) * 8
    for one in sets:
        for path in sorted((world.folder / one).rglob("*.png")):
            pixels = np.asarray(Image.open(path).resize((4, 4)), np.float32).transpose(2, 0, 1) / 255
            names.append(path.relative_to(world.folder / one).as_posix())
            rows.append(head @ pixels.mean(axis=(1, 2)))
    return names, np.array(rows, np.float32)


CLASSES = ["green", "red", "blue", "mauve"]
SETS = ("photos", "dim", "greys", "cues")


def save_npz(path, names, logits):
    np.savez(path, samples=np.array(names), logits=logits, classes=np.array(CLASSES))
    return path


def save_parquet(path, names, logits):
    columns = {"file_name": names, **{name: logits[:, i] for i, name in enumerate(CLASSES)}}
    parquet.write_table(pa.table(columns), path)
    return path


def save_parquet_lists(path, names, logits):
    table = pa.table({"file_name": names, "logits": list(logits)})
    parquet.write_table(table, path)
    Path("classes.txt").write_text("\n".join(CLASSES))
    return f"{path}?classes=classes.txt"


def save_csv(path, names, logits):
    lines = [",".join(["sample", *(f"logit_{name}" for name in CLASSES)])]
    lines += [",".join([name, *map(repr, map(float, row))]) for name, row in zip(names, logits, strict=True)]
    Path(path).write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    ("save", "path"),
    [(save_npz, "a.npz"), (save_parquet, "a.parquet"), (save_parquet_lists, "b.parquet"), (save_csv, "a.csv")],
)
def test_saved_logits_give_the_numbers_of_the_model(world, direct, save, path):
    """Formats differ in how the logits are read: for all but one, the suites that measure something are enough."""
    _, report = direct("py:classifiers:load")
    names, logits = logits_of(world, *SETS)
    suites = () if save is save_npz else ("zero_shot", "calibration", "ood_detection", "shape_bias", "corruption")
    result, saved = world(f"predictions:{save(path, names, logits)}", suites=suites)
    assert result.ret == 0, result.stdout
    assert errors(saved) == []
    found, expected = values(saved), values(report)
    without_features = {
        name for name in expected if not any(part in name for part in ("knn10", "mahalanobis", "corruption"))
    }
    assert set(found) == without_features
    for name in found:
        assert found[name] == pytest.approx(expected[name], abs=2e-5), name
    result.stdout.fnmatch_lines(["*not applicable: corruptions of 'photos' are made by the run*"])


def test_saved_probabilities_have_no_energy(world):
    names, logits = logits_of(world, *SETS)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.savez("p.npz", samples=np.array(names), probabilities=probabilities, classes=np.array(CLASSES))
    save_npz("l.npz", names, logits)
    suites = ("zero_shot", "calibration", "ood_detection")
    _, of_logits = world("predictions:l.npz", suites=suites)
    result, report = world("predictions:p.npz", suites=suites)
    found, expected = values(report), values(of_logits)
    gone = {name for name in expected if "energy" in name or "max_logit" in name}
    assert gone
    assert set(found) == set(expected) - gone
    for name in found:
        assert found[name] == pytest.approx(expected[name], abs=1e-4), name
    result.stdout.fnmatch_lines(
        ["*not applicable: the OOD score 'energy' needs logits, and only probabilities are saved*"]
    )


def test_saved_answers_with_confidences_give_what_they_can(world, direct):
    names, logits = logits_of(world, *SETS)
    probabilities = np.exp(logits[:, :3]) / np.exp(logits[:, :3]).sum(axis=1, keepdims=True)
    lines = ["file_name,predicted_class,predicted_probability"]
    for name, row in zip(names, probabilities, strict=True):
        lines.append(f"{Path(name).name},{CLASSES[row.argmax()]},{row.max():.9f}")
    Path("a.csv").write_text("\n".join(lines))
    _, of_model = direct("py:classifiers:load")
    result, report = world("predictions:a.csv")
    assert result.ret == 0, result.stdout
    found, expected = values(report), values(of_model)
    for name in (
        "zero_shot.top1[photos]",
        "calibration.ece_15_equal_width[photos]",
        "ood.auroc_msp[greys]",
        "shift.top1[dim]",
    ):
        assert found[name] == pytest.approx(expected[name], abs=1e-5), name
    assert not any("nll" in name or "brier" in name or "scaled" in name or "energy" in name for name in found)
    result.stdout.fnmatch_lines(["*not applicable: temperature scaling needs the logits of all classes*"])


def test_saved_answers_alone_give_accuracies(world):
    names, logits = logits_of(world, *SETS)
    lines = ["imagename,object_response", *(f"{n},{CLASSES[r.argmax()]}" for n, r in zip(names, logits, strict=True))]
    Path("a.csv").write_text("\n".join(lines))
    result, report = world("predictions:a.csv")
    assert result.ret == 0, result.stdout
    assert {name.partition(".")[0] for name in values(report)} == {"zero_shot", "shift", "shape_bias"}


def test_missing_and_contradicting_rows_are_errors(world):
    names, logits = logits_of(world, "photos")
    save_npz("few.npz", names[:-2], logits[:-2])
    save_npz("twice.npz", [*names, names[0]], np.vstack([logits, logits[:1] + 1]))
    save_npz("same.npz", [*names, names[0]], np.vstack([logits, logits[:1]]))
    for file, message in (
        ("few.npz", "*predictions:few.npz has no answer to 2 of the 60 images of 'photos', such as*"),
        ("twice.npz", "*predictions:twice.npz has 2 different answers to 'blue/blue_0.png' of 'photos'*"),
    ):
        result, _ = world(f"predictions:{file}", "-k", "top1", suites=["zero_shot"])
        assert result.ret == 1
        result.stdout.fnmatch_lines([message])
    result, _ = world("predictions:same.npz", "-k", "top1", suites=["zero_shot"])
    assert result.ret == 0


def test_a_row_never_answers_to_two_images(world):
    """Copies of a set, such as corrupted ones, have the same file names."""
    for path in (world.folder / "dim").rglob("*.png"):
        path.rename(path.with_name(path.name.replace("_dim", "")))
    names, logits = logits_of(world, "photos")
    save_npz("a.npz", names, logits)
    result, _ = world("predictions:a.npz", suites=["zero_shot"])
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*'photos' and 'dim' have different images of that name: add a column dataset*"])
    both, all_logits = logits_of(world, "photos", "dim")
    datasets = np.repeat(["photos", "dim"], 60)
    np.savez("b.npz", samples=np.array(both), logits=all_logits, classes=np.array(CLASSES), dataset=datasets)
    result, _ = world("predictions:b.npz", suites=["zero_shot"])
    assert result.ret == 0, result.stdout


def test_answers_are_not_exported_as_features(tmp_path, capsys):
    folder = tmp_path / "pack"
    cache = str(tmp_path / "cache")
    assert main(["features", "export", "--model", "lmm:showroom-lmm", "--clip-cache", cache, str(folder)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "lmm:showroom-lmm has stored answers and no features" in line
    assert not folder.exists()
