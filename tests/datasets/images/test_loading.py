from __future__ import annotations

import gzip
import hashlib
import json
import pickle

import numpy as np
import pytest
from stored import write_files, write_parquet, write_table, write_tar

from pytest_clip_robust.datasets.entry import entry_from_table
from pytest_clip_robust.datasets.images import digests as digests_module
from pytest_clip_robust.datasets.images.loading import load_image_set
from pytest_clip_robust.datasets.sources import rows as rows_module
from pytest_clip_robust.errors import DataError


def test_a_folder_of_class_folders(load, folder, png):
    images = load(f"photos={folder}")
    assert images.samples == ["cat/a.png", "cat/b.PNG", "hot_dog/c.png"]
    assert images.labels.tolist() == [0, 0, 1]
    assert images.class_names == ("cat", "hot dog")
    assert images.class_ids == ("cat", "hot_dog")
    assert images.read(2) == png(2)
    assert images.digests[2] == hashlib.sha256(png(2)).hexdigest()


def test_a_reader_survives_a_pickle(load, folder, png):
    assert pickle.loads(pickle.dumps(load(f"photos={folder}").read))(1) == png(1)


def test_class_folders_may_have_the_names_of_splits(load, tmp_path, png):
    for name in ("train", "test", "validation"):
        (tmp_path / "toys" / name).mkdir(parents=True)
        (tmp_path / "toys" / name / f"{name}_1.png").write_bytes(png(len(name)))
    assert load(f"toys={tmp_path}/toys").class_ids == ("test", "train", "validation")


def test_a_folder_may_have_odd_characters(load, tmp_path, folder):
    odd = folder.rename(tmp_path / "pho[to]s *")
    assert len(load(f"photos={odd}")) == 3


def test_a_split_is_a_folder_in_a_folder(load, tmp_path, folder):
    (tmp_path / "whole").mkdir()
    folder.rename(tmp_path / "whole" / "val")
    assert load(f"photos={tmp_path}/whole?split=val").samples[0] == "cat/a.png"


def test_files_that_are_no_images_are_passed_over(load, folder):
    (folder / "cat" / "notes.txt").write_text("nice cats")
    (folder / "cat" / ".DS_Store").write_bytes(b"\0")
    assert len(load(f"photos={folder}")) == 3


@pytest.mark.parametrize("names", [("n02123045", "n07697537"), ("281", "934"), ("tabby cat", "hot dog")])
def test_labels_are_ids_indices_or_names_of_a_class_list(load, folder, names):
    for old, new in zip(("cat", "hot_dog"), names, strict=True):
        (folder / old).rename(folder / new)
    images = load(f"photos={folder}?classes=imagenet-1k")
    assert sorted(images.labels.tolist()) == [281, 281, 934]
    assert len(images.class_names) == 1000
    present = load(f"photos={folder}?classes=imagenet-1k&subset=present")
    assert present.class_ids == ("n02123045", "n07697537")
    assert sorted(present.labels.tolist()) == [0, 0, 1]


def test_class_names_may_stand_in_the_profile(folder):
    entry = entry_from_table("photos", {"location": str(folder), "classes": ["bird", "cat", "hot_dog"]})
    assert load_image_set(entry).labels.tolist() == [1, 1, 2]


def test_a_table_beside_images(load, folder):
    write_table(folder, [["file", "kind", "pose"], ["cat/a.png", "007", 1], ["hot_dog/c.png", "9", 0]])
    (folder / "classes.txt").write_text("007\tspy\n9\tnine\n")
    images = load(f"photos={folder}?table=labels.csv&label=kind&classes={folder}/classes.txt")
    assert images.samples == ["cat/a.png", "hot_dog/c.png"]
    assert images.class_names == ("spy", "nine")
    assert images.annotations["pose"].tolist() == [True, False]


def test_columns_called_like_factors_need_not_be_factors(load, folder):
    write_table(folder, [["file", "shape", "texture"], ["cat/a.png", "cat", "elephant"]])
    assert load(f"cues={folder}?table=labels.csv&label=shape").annotations == {}
    with pytest.raises(DataError, match="row 0: texture='elephant'; expected 0 or 1"):
        load(f"cues={folder}?table=labels.csv&label=shape&factors=texture")


def test_parquet_files(load, tmp_path, png):
    write_parquet(
        tmp_path / "set" / "a.parquet",
        {"image": [{"bytes": png(0), "path": "x.png"}, {"bytes": png(1), "path": None}], "label": ["cat", "dog"]},
    )
    write_parquet(tmp_path / "set" / "b.parquet", {"image": [{"bytes": png(2), "path": "z.png"}], "label": ["cat"]})
    for location in (f"{tmp_path}/set", f"{tmp_path}/set/*.parquet"):
        images = load(f"pets={location}")
        assert images.samples == ["row 0: x.png", "row 1", "row 2: z.png"]
        assert images.labels.tolist() == [0, 1, 0]
        assert [images.read(row) for row in range(3)] == [png(0), png(1), png(2)]


def test_parquet_with_bytes_and_class_labels(load, tmp_path, png):
    import datasets

    found = datasets.Dataset.from_dict({"picture": [png(0), png(1)], "kind": [1, 0]})
    found = found.cast_column("kind", datasets.ClassLabel(names=["cat", "hot_dog"]))
    found.to_parquet(tmp_path / "set.parquet")
    images = load(f"pets={tmp_path}/set.parquet?image=picture&label=kind")
    assert images.class_names == ("cat", "hot dog")
    assert images.labels.tolist() == [1, 0]
    assert pickle.loads(pickle.dumps(images.read))(1) == png(1)


def test_webdataset_tars_with_their_class_names(load, tmp_path, png):
    for shard in range(2):
        members = {}
        for i in range(2):
            members |= {f"s{shard}{i}.webp": png(shard * 2 + i), f"s{shard}{i}.cls": str(i).encode()}
        write_tar(tmp_path / "wds" / f"{shard}.tar", members)
    with pytest.raises(DataError, match=r"its labels are numbers without names; name them with \?classes=FILE"):
        load(f"wds={tmp_path}/wds")
    (tmp_path / "wds" / "classnames.txt").write_text("cat\nhot dog\n")
    images = load(f"wds={tmp_path}/wds")
    assert images.samples == ["s00", "s01", "s10", "s11"]
    assert images.class_names == ("cat", "hot dog")
    assert images.labels.tolist() == [0, 1, 0, 1]
    assert images.read(3) == png(3)


def test_the_order_of_another_imagenet_list_is_proved_by_its_names(load, tmp_path, png):
    import datasets

    from pytest_clip_robust.datasets.images.labels import class_list

    names = [f"{name}, synonym {i}" for i, name in enumerate(class_list("imagenet-1k").names)]
    names[8], names[330] = "hen", "cottontail rabbit"
    found = datasets.Dataset.from_dict({"image": [png(0)], "label": [330]})
    found.cast_column("label", datasets.ClassLabel(names=names)).to_parquet(tmp_path / "right.parquet")
    assert load(f"set={tmp_path}/right.parquet?classes=imagenet-1k").labels.tolist() == [330]
    names[8], names[330] = names[330], names[8]
    found.cast_column("label", datasets.ClassLabel(names=names)).to_parquet(tmp_path / "other.parquet")
    assert load(f"set={tmp_path}/other.parquet?classes=imagenet-1k").labels.tolist() == [8]
    names[330] = "chicken run"
    found.cast_column("label", datasets.ClassLabel(names=names)).to_parquet(tmp_path / "wrong.parquet")
    with pytest.raises(DataError, match="image 'row 0': class 'chicken run' is not among the 1000"):
        load(f"set={tmp_path}/wrong.parquet?classes=imagenet-1k")


@pytest.mark.parametrize("form", ["folder", "ClassLabel"])
def test_a_class_that_the_list_lacks_does_not_take_the_place_of_another(load, tmp_path, png, form):
    names = ["bed", "cup", "vase"]
    if form == "folder":
        write_files(tmp_path / "set", {f"{name}/{name}.png": png(i) for i, name in enumerate(names)})
        option = f"set={tmp_path}/set"
    else:
        import datasets

        columns = {"image": [png(i) for i in range(3)], "label": [0, 1, 2]}
        write_parquet(tmp_path / "set.parquet", columns, features={"label": datasets.ClassLabel(names=names)})
        option = f"set={tmp_path}/set.parquet"
    (tmp_path / "classes.txt").write_text("bed\nbottle\nvase\n")
    with pytest.raises(DataError, match="class 'cup' is not among the 3 of"):
        load(f"{option}?classes={tmp_path}/classes.txt")
    (tmp_path / "classes.txt").write_text("vase\ncup\nbed\n")
    assert load(f"{option}?classes={tmp_path}/classes.txt").labels.tolist() == [2, 1, 0]


def test_labels_that_count_from_1_are_named(load, tmp_path, png):
    columns = {"image": [png(i) for i in range(3)], "label": [1, 2, 3]}
    write_parquet(tmp_path / "set.parquet", columns)
    (tmp_path / "classes.txt").write_text("bed\ncup\nvase\n")
    with pytest.raises(DataError, match=r"label 3 is not in 0\.\.2"):
        load(f"set={tmp_path}/set.parquet?classes={tmp_path}/classes.txt")
    (tmp_path / "classes.txt").write_text("bed\ncup\nvase\nbottle\n")
    found = load(f"set={tmp_path}/set.parquet?classes={tmp_path}/classes.txt")
    assert found.remarks == (
        "data set 'set': its labels are the numbers 1 to 3, and 0 means 'bed': if they count from 1, all are wrong",
    )


@pytest.mark.parametrize("names", [("caf\u00e9", "cafe\u0301"), ("hot_dog", "hot dog")])
def test_class_folders_that_look_equal_are_one_class_or_refused(load, tmp_path, png, names):
    write_files(tmp_path / "set", {f"{name}/{i}.png": png(i) for i, name in enumerate(names)})
    if names[0] == "hot_dog":
        with pytest.raises(DataError, match="no model can tell them apart: rename one, or merge them"):
            load(f"set={tmp_path}/set")
    else:
        (tmp_path / "classes.txt").write_text("caf\u00e9\n")
        assert load(f"set={tmp_path}/set?classes={tmp_path}/classes.txt").labels.tolist() == [0, 0]
        assert load(f"set={tmp_path}/set").class_names == ("caf\u00e9",)


def test_file_names_in_a_table_may_have_another_form_of_unicode(load, tmp_path, png):
    write_files(tmp_path / "set", {"cafe\u0301.png": png(0), "labels.csv": "file,label\ncaf\u00e9.png,bar\n"})
    assert load(f"set={tmp_path}/set?table=labels.csv").read(0) == png(0)


def test_excluded_classes_are_no_candidates(load, tmp_path, png):
    columns = {"image": [png(i) for i in range(3)], "label": ["cat", "dog", "noise"], "pose": [0, 1, 1]}
    write_parquet(tmp_path / "set.parquet", columns)
    found = load(f"set={tmp_path}/set.parquet?exclude=noise")
    assert found.class_names == ("cat", "dog")
    assert found.annotations["pose"].tolist() == [False, True]
    assert found.read(1) == png(1)
    with pytest.raises(DataError, match=r"exclude has 'nois', but it has no such class \(did you mean 'noise'\?\)"):
        load(f"set={tmp_path}/set.parquet?exclude=nois")
    with pytest.raises(DataError, match="exclude leaves out all of its images"):
        load(f"set={tmp_path}/set.parquet?exclude=cat,dog,noise")
    write_parquet(tmp_path / "cues.parquet", columns | {"texture": ["dog", "noise", "cat"]})
    cues = load(f"set={tmp_path}/cues.parquet?exclude=noise")
    assert (cues.labels.tolist(), cues.textures.tolist()) == ([0], [1])


@pytest.mark.parametrize(
    ("prepare", "option", "message"),
    [
        (lambda f: (f / "stray.png").write_bytes(b"x"), "photos={f}", r"stray\.png is not in a class folder"),
        (lambda f: (f / "empty").mkdir(), "photos={f}/empty", "no images in"),
        (lambda f: None, "photos={f}/nowhere", "no file or folder .*nowhere"),
        (lambda f: None, "photos={f}/cat/a.png", "neither a folder nor a"),
        (lambda f: None, "photos={f}?classes=imagenet-1k", r"image 'cat/a\.png': class 'cat' is not among the 1000"),
        (lambda f: (f / "cat").rename(f / "7"), "photos={f}?classes=imagenet-1k", r"class 'hot_dog' is not among"),
        (
            lambda f: write_table(f, [["a", "b"]]),
            "p={f}?table=labels.csv",
            r"no column looks like the image; it has a, b",
        ),
        (
            lambda f: write_table(f, [["file", "b"]]),
            "p={f}?table=labels.csv&label=kind",
            "no column 'kind'; it has file, b",
        ),
        (lambda f: write_table(f, [["file", "label"]]), "p={f}?table=labels.csv", "no images in"),
        (
            lambda f: write_table(f, [["file", "label"], ["cat/a.png", "x"], ["cat/q.png", "y"]]),
            "p={f}?table=labels.csv",
            r"line 3: no file .*cat/q\.png",
        ),
        (
            lambda f: write_table(f, [["file", "label"], ["cat/a.png", ""]]),
            "p={f}?table=labels.csv",
            "line 2 has no 'label'",
        ),
        (lambda f: None, "p={f}?table=labels.csv", r"table: no file .*labels\.csv"),
        (lambda f: (f / "x.parquet").write_bytes(b"x"), "p={f}?format=parquet", "cannot be read"),
        (lambda f: None, "p={f}/*.tar", r"no \.tar file at"),
        (lambda f: (f / "x.tar").write_bytes(b"x" * 600), "p={f}?format=webdataset", "cannot be read"),
    ],
)
def test_what_is_wrong_with_a_set_is_one_line(load, folder, prepare, option, message):
    prepare(folder)
    with pytest.raises(DataError, match=message) as error:
        load(option.format(f=folder))
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("data set 'p")


@pytest.mark.parametrize(
    ("columns", "query", "message"),
    [
        ({"image": [3], "label": ["a"]}, "", "column 'image' of type .* does not hold images"),
        ({"image": [{"bytes": b"x", "path": ""}]}, "", "no column looks like the label; it has image"),
        ({"x": [b"x"], "label": ["a"]}, "", r"no column looks like the image; .* name one with \?image="),
        ({"image": [b"x", b"y"], "label": ["a", None]}, "", "row 1 of .* has no 'label'"),
        ({"image": [b"x"], "label": [1.5]}, "", "label=1.5 is neither a name nor a whole number"),
        ({"image": [b"x", None], "label": ["a", "b"]}, "", "image 'row 1' cannot be read: column 'image' has no image"),
        ({"image": [b"x"], "label": ["a"], "pose": [2]}, "?factors=pose", "row 0: pose=2; expected 0 or 1"),
        ({"image": [b"x"], "label": ["a"]}, "?factors=pse", "no column 'pse'"),
    ],
)
def test_what_is_wrong_with_a_parquet_file_is_one_line(load, tmp_path, columns, query, message):
    write_parquet(tmp_path / "set.parquet", columns)
    with pytest.raises(DataError, match=message) as error:
        load(f"p={tmp_path}/set.parquet{query}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("0", "1"), r"class names are numbers \(0, 1\), which cannot be used in prompts; add \?classes=FILE"),
        (("n02123045", "n07697537"), r"WordNet ids .*; add \?classes=imagenet-1k"),
    ],
)
def test_names_that_make_no_prompts_are_refused(load, folder, names, message):
    for old, new in zip(("cat", "hot_dog"), names, strict=True):
        (folder / old).rename(folder / new)
    with pytest.raises(DataError, match=message):
        load(f"photos={folder}")


def test_a_hostile_name_is_shown_escaped(load, folder):
    (folder / "cat" / "a.png").rename(folder / "cat" / "\x1b[31m.png")
    assert "cat/\\x1b[31m.png" in load(f"photos={folder}").samples


def test_a_hub_out_of_reach_is_one_line(load, monkeypatch):
    monkeypatch.setattr("pytest_clip_robust.system.hub.reachable", lambda: False)
    with pytest.raises(DataError, match=r"no folder org/set here, and the hub cannot be reached, and it is not cached"):
        load("photos=org/set")


def test_annotations_are_joined_by_file_name(load, folder):
    lines = [
        {"file_name": "c_n01440764.JPEG", "class": 3, "pose": 1, "style": 0, "justification": "odd"},
        {"file_name": "a.JPEG", "class": 1, "pose": 0, "style": 1},
        {"file_name": "unknown.JPEG", "pose": 0, "style": 0},
    ]
    with gzip.open(folder / "factors.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    images = load(f"photos={folder}?annotations=factors.jsonl.gz")
    assert images.samples == ["cat/a.png", "hot_dog/c.png"]
    assert {name: column.tolist() for name, column in images.annotations.items()} == {
        "pose": [False, True],
        "style": [True, False],
    }
    assert images.labels.tolist() == [0, 1]
    assert hashlib.sha256(images.read(1)).hexdigest() == images.digests[1]
    only = load(f"photos={folder}?annotations=factors.jsonl.gz&factors=style")
    assert list(only.annotations) == ["style"]
    (folder / "prototypical_paths.csv").write_text("file_name\na.JPEG\n")
    assert load(f"photos={folder}?annotations=factors.jsonl.gz").samples == ["hot_dog/c.png"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no image is annotated"),
        ("{", "line 1: .*; expected one JSON object per line"),
        ("[]", "is not a JSON object"),
        ('{"file_name": "a.png"}', "it has none of the 16 factors"),
        ('{"pose": 1}', "file_name=None"),
        ('{"file_name": "a.png", "pose": 2}', "pose=2; expected 0 or 1"),
        ('{"file_name": "a.png", "pose": 1}\n{"file_name": "a.png", "pose": 1}', "line 2: 'a.png' is annotated twice"),
        ('{"file_name": "zebra.png", "pose": 1}', "annotates none of its 3 images"),
    ],
)
def test_wrong_annotations_are_one_line(load, folder, text, message):
    (folder / "factors.jsonl").write_text(text)
    with pytest.raises(DataError, match=message):
        load(f"photos={folder}?annotations=factors.jsonl")


def test_the_fingerprint_depends_on_everything_that_counts(load, folder):
    write_table(folder, [["file", "label", "pose"], ["cat/a.png", "cat", 1], ["hot_dog/c.png", "dog", 0]], "one.csv")
    write_table(folder, [["file", "label", "pose"], ["cat/a.png", "cat", 1], ["hot_dog/c.png", "cat", 0]], "two.csv")
    write_table(folder, [["file", "label", "pose"], ["cat/a.png", "cat", 0], ["hot_dog/c.png", "dog", 0]], "six.csv")
    base = f"photos={folder}?table=one.csv"
    options = [base, f"{base}&crop_border=1", f"photos={folder}?table=two.csv", f"photos={folder}?table=six.csv"]
    prints = [load(option).fingerprint for option in options]
    assert len(set(prints)) == len(options)
    assert load(f"other={folder}?table=one.csv").fingerprint == prints[0]


def test_digests_are_remembered_until_a_file_changes(load, folder, monkeypatch):
    monkeypatch.setattr(rows_module, "SETTLED_SECONDS", -3600)
    first = load(f"photos={folder}")
    read = []
    real = digests_module.hashlib.sha256
    monkeypatch.setattr(digests_module.hashlib, "sha256", lambda content=b"": read.append(content) or real(content))

    def images_read():
        return [content for content in read if content.startswith(b"\x89PNG")]

    assert load(f"photos={folder}").digests == first.digests
    assert images_read() == []
    (folder / "cat" / "a.png").write_bytes((folder / "cat" / "b.PNG").read_bytes())
    assert load(f"photos={folder}").digests == [first.digests[1], *first.digests[1:]]
    assert len(images_read()) == 1
    monkeypatch.setattr(rows_module, "SETTLED_SECONDS", 3600)  # just changed: it could change again within a clock tick
    load(f"photos={folder}")
    assert len(images_read()) == 4


def test_a_damaged_or_unwritable_memory_of_digests_is_done_without(load, folder, tmp_path):
    digests = load(f"photos={folder}").digests
    for path in (tmp_path / "cache" / "digests").iterdir():
        path.write_text("{")
    assert load(f"photos={folder}").digests == digests
    (tmp_path / "file").write_text("")
    assert load(f"photos={folder}", cache_dir=None).digests == digests


def test_real_photographs(load, shared):
    folder = shared / "data" / "imagenet_1000"
    images = load(f"photos={folder}?table=labels.csv&label=wnid&classes=imagenet-1k")
    assert len(images) == 1000
    assert np.array_equal(np.sort(images.labels), np.arange(1000))
    assert images.class_names[images.labels[images.samples.index("n01440764_tench.jpg")]] == "tench"
