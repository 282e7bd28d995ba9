"""Cue-conflict sets, by file name and by column; classes with several names."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from pytest_clip_robust.datasets.entry import parse_data_option
from pytest_clip_robust.datasets.images.cue_names import Cues, read_cues
from pytest_clip_robust.datasets.images.labels import named_classes
from pytest_clip_robust.errors import ConfigError, DataError


def place(folder, png, names):
    for seed, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(seed))
    return folder


@pytest.mark.parametrize(
    ("name", "cues"),
    [
        ("airplane1-bicycle2.png", Cues("airplane1-bicycle2", "airplane", "bicycle")),
        ("0012_stg_dnn_0_bear_00_bear10-clock3.PNG", Cues("bear10-clock3", "bear", "clock")),
        ("deep/folder/cat7-cat1.jpg", Cues("cat7-cat1", "cat", "cat")),
        ("cat7-dog1", Cues("cat7-dog1", "cat", "dog")),
        ("photo-2.jpg", None),
        ("n01440764_10026.JPEG", None),
        ("cat-dog.png", None),
    ],
)
def test_cues_are_read_off_file_names(name, cues):
    assert read_cues(name) == cues


@pytest.mark.parametrize(
    "names", [["cat1-dog2.png", "dog3-cat1.png", "cat2-cat3.png"], ["cat/cat1-dog2.png", "dog/dog3-cat1.png"]]
)
def test_a_folder_of_the_public_format_needs_no_option(load, tmp_path, png, names):
    images = load(f"cues={place(tmp_path / 'cues', png, names)}")
    assert images.class_names == ("cat", "dog")
    cues = dict(zip(images.samples, zip(images.labels.tolist(), images.textures.tolist(), strict=True), strict=True))
    assert (cues["cat1-dog2.png"], cues["dog3-cat1.png"]) == ((0, 1), (1, 0))
    assert images.samples[0] == "cat1-dog2.png"


def test_a_stray_file_among_cues_is_named(load, tmp_path, png):
    folder = place(tmp_path / "cues", png, ["cat1-dog2.png", "readme.png"])
    with pytest.raises(
        DataError, match=r"readme\.png is not of the form SHAPE1-TEXTURE2, such as airplane1-bicycle2\.png"
    ):
        load(f"cues={folder}?format=cue-conflict")


def write_table(folder, rows):
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def test_a_column_texture_of_class_names(load, folder):
    write_table(folder, [["file", "label", "texture"], ["cat/a.png", "cat", "dog"], ["hot_dog/c.png", "dog", "fur"]])
    images = load(f"cues={folder}?table=labels.csv")
    assert images.class_names == ("cat", "dog", "fur")
    assert images.textures.tolist() == [1, 2]


def test_a_column_texture_of_flags_is_a_visual_factor(load, folder):
    write_table(folder, [["file", "label", "texture"], ["cat/a.png", "cat", "1"], ["hot_dog/c.png", "dog", "0"]])
    images = load(f"factors={folder}?table=labels.csv")
    assert images.textures is None
    assert images.annotations["texture"].tolist() == [True, False]


def test_a_texture_that_is_no_class_or_missing_is_one_line(load, folder):
    write_table(folder, [["file", "label", "texture"], ["cat/a.png", "cat", "dgo"], ["hot_dog/c.png", "dog", "cat"]])
    (folder / "classes.txt").write_text("cat\ndog\n")
    with pytest.raises(DataError, match=r"texture of image 'cat/a.png': class 'dgo' is not among the 2 .*mean 'dog'"):
        load(f"cues={folder}?table=labels.csv&classes={folder}/classes.txt")
    write_table(folder, [["file", "label", "texture"], ["cat/a.png", "cat", "dog"], ["hot_dog/c.png", "dog", ""]])
    with pytest.raises(DataError, match="row 1: texture=''; expected the name of a class"):
        load(f"cues={folder}?table=labels.csv")


def test_textures_are_part_of_the_identity_and_of_a_subset(load, folder):
    rows = [["file", "label", "texture"], ["cat/a.png", "cat", "dog"], ["hot_dog/c.png", "dog", "cat"]]
    (folder / "classes.txt").write_text("ant\ncat\ncow\ndog\n")
    option = f"cues={folder}?table=labels.csv&classes={folder}/classes.txt"
    write_table(folder, rows)
    whole, present = load(option), load(f"{option}&subset=present")
    assert whole.textures.tolist() == [3, 1]
    assert (present.class_names, present.textures.tolist()) == (("cat", "dog"), [1, 0])
    write_table(folder, [*rows[:2], ["hot_dog/c.png", "dog", "ant"]])
    assert load(option).fingerprint != whole.fingerprint


def test_the_showrooms_cue_conflicts_are_balanced(load):
    images = load("cues=showroom:cue_conflict")
    assert (images.labels != images.textures).all()
    counts = np.zeros((8, 8), int)
    np.add.at(counts, (images.labels, images.textures), 1)
    assert set(counts[~np.eye(8, dtype=bool)].tolist()) == {4}


def test_classes_may_have_several_names(load, folder):
    (folder / "classes.txt").write_text("cat|kitten|house_cat\nhot_dog\n")
    images = load(f"photos={folder}?classes={folder}/classes.txt")
    assert images.class_names == ("cat", "hot dog")
    assert images.prompt_names == (("cat", "kitten", "house cat"), ("hot dog",))
    assert images.fingerprint != load(f"photos={folder}").fingerprint
    assert load(f"photos={folder}").prompt_names == (("cat",), ("hot dog",))


def test_any_name_of_a_class_is_a_label():
    classes = named_classes(["n1\tsofa|couch", "chair"], source="mine")
    assert {classes.position(label) for label in ("n1", "sofa", "couch", 0)} == {0}
    assert classes.keep(np.array([1, 0])).synonyms == (("chair",), ("sofa", "couch"))
    with pytest.raises(DataError, match="class 'n1' has no name, or an empty one"):
        named_classes(["n1\tsofa|"], source="mine")


def test_a_set_that_is_never_prompted_may_have_numbers_for_names(load, tmp_path, png):
    folder = place(tmp_path / "ood", png, ["1/a.png", "2/b.png"])
    with pytest.raises(DataError, match="its class names are numbers"):
        load(f"ood={folder}")
    assert load(f"ood={folder}", prompted=False).class_names == ("1", "2")


def test_a_set_that_is_never_prompted_needs_no_labels(load, tmp_path, png):
    import datasets

    folder = place(tmp_path / "flat", png, ["a.png", "b.png", "deeper/c.png"])
    with pytest.raises(DataError, match="lay images out as CLASS/IMAGE"):
        load(f"ood={folder}")
    flat = load(f"ood={folder}", prompted=False)
    assert (flat.class_names, flat.labels.tolist()) == (("ood",), [0, 0, 0])
    assert flat.samples == ["a.png", "b.png", "deeper/c.png"]
    (folder / "list.csv").write_text("file\na.png\n")
    assert load(f"ood={folder}?table=list.csv", prompted=False).class_names == ("ood",)
    rows = datasets.Dataset.from_dict({"image": [{"bytes": png(1), "path": None}]})
    rows.cast_column("image", datasets.Image(decode=False)).to_parquet(tmp_path / "rows.parquet")
    assert load(f"ood={tmp_path}/rows.parquet", prompted=False).class_names == ("ood",)
    with pytest.raises(DataError, match="no column looks like the label"):
        load(f"ood={tmp_path}/rows.parquet")


def test_a_group_is_near_or_far():
    assert parse_data_option("x=/x?group=near").group == "near"
    with pytest.raises(ConfigError, match="group='middle'; expected one of near, far"):
        parse_data_option("x=/x?group=middle")


def test_names_of_the_same_form_do_not_make_cue_conflicts(load, tmp_path, png):
    folder = place(tmp_path / "clips", png, ["cat/frame1-view1.png", "dog/frame1-view2.png"])
    assert load(f"clips={folder}").class_names == ("cat", "dog")
    assert load(f"clips={folder}").textures is None


def test_one_name_of_that_form_does_not_decide(load, tmp_path, png):
    folder = place(tmp_path / "photos", png, ["cat/cat1-cat2.png", "dog/b.png"])
    assert load(f"photos={folder}").textures is None


def test_cue_conflicts_in_folders_of_other_names_ask(load, tmp_path, png):
    folder = place(tmp_path / "cues", png, ["a/cat1-dog2.png", "b/dog1-cat2.png"])
    with pytest.raises(DataError, match=r"'a/cat1-dog2\.png' could be of class 'a' or a cue conflict; add .format="):
        load(f"cues={folder}")
    assert load(f"cues={folder}?format=cue-conflict").class_names == ("cat", "dog")
    assert load(f"cues={folder}?format=imagefolder").class_names == ("a", "b")
