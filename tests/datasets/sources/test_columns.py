"""The column that is measured is the one that the user means."""

from __future__ import annotations

import numpy as np
import pytest
from stored import write_parquet, write_table, write_tar

from pytest_clip_robust.errors import DataError


def pictures(png, *names):
    return {name: [png(10 * i), png(10 * i + 1)] for i, name in enumerate(names)}


def write_typed(path, columns, *typed):
    import datasets

    write_parquet(path, columns, features=dict.fromkeys(typed, datasets.Image()))


@pytest.mark.parametrize(
    ("columns", "image"),
    [
        (("mask", "image"), "image"),
        (("depth", "seg", "img"), "img"),
        (("thumbnail", "photo"), "photo"),
        (("alpha_mask", "jpg"), "jpg"),
    ],
)
def test_masks_and_the_like_are_not_the_images(load, tmp_path, png, columns, image):
    found = pictures(png, *columns)
    write_typed(tmp_path / "set.parquet", found | {"label": ["a", "b"]}, *columns)
    images = load(f"set={tmp_path}/set.parquet")
    assert [images.read(i) for i in range(2)] == found[image]
    chosen = load(f"set={tmp_path}/set.parquet?image={columns[0]}")
    assert chosen.read(0) == found[columns[0]][0]


def test_a_typed_mask_does_not_beat_untyped_images(load, tmp_path, png):
    found = pictures(png, "mask", "image")
    write_typed(tmp_path / "set.parquet", found | {"label": ["a", "b"]}, "mask")
    assert load(f"set={tmp_path}/set.parquet").read(0) == found["image"][0]


@pytest.mark.parametrize("columns", [("left", "right"), ("jpg", "png"), ("photo", "webp", "png")])
def test_several_columns_of_pictures_ask_which(load, tmp_path, png, columns):
    write_typed(tmp_path / "set.parquet", pictures(png, *columns) | {"label": ["a", "b"]}, *columns)
    with pytest.raises(DataError, match=r"hold pictures; name the images with \?image="):
        load(f"set={tmp_path}/set.parquet")


def test_only_a_mask_is_not_measured(load, tmp_path, png):
    write_typed(tmp_path / "set.parquet", pictures(png, "mask") | {"label": ["a", "b"]}, "mask")
    with pytest.raises(DataError, match="no column looks like the image; it has mask, label"):
        load(f"set={tmp_path}/set.parquet")


def test_a_segmentation_before_the_image_of_a_tar(load, tmp_path, png):
    members = {}
    for i in range(2):
        members |= {f"{i}.seg.webp": png(i + 10), f"{i}.webp": png(i), f"{i}.cls": str(i).encode()}
    write_tar(tmp_path / "a.tar", members)
    (tmp_path / "classnames.txt").write_text("cat\ndog\n")
    images = load(f"set={tmp_path}/a.tar")
    assert [images.read(i) for i in range(2)] == [png(0), png(1)]


@pytest.mark.parametrize("values", [(1.0, 0.0), ("yes", "no"), ("True", "FALSE"), ("1.0", "0.0"), (1, 0), ("y", "n")])
def test_booleans_have_many_spellings(load, tmp_path, png, values):
    write_parquet(tmp_path / "set.parquet", {"image": [png(0), png(1)], "label": ["a", "b"], "pose": list(values)})
    assert load(f"set={tmp_path}/set.parquet").annotations["pose"].tolist() == [True, False]


@pytest.mark.parametrize("values", [(1.0, None), (1, 2), (0.0, 0.5), (True, None)])
def test_a_factor_with_another_value_is_refused(load, tmp_path, png, values):
    write_parquet(tmp_path / "set.parquet", {"image": [png(0), png(1)], "label": ["a", "b"], "pose": list(values)})
    with pytest.raises(DataError, match=r"row 1: pose=.*; expected 0 or 1; if 'pose' is not a visual factor, name"):
        load(f"set={tmp_path}/set.parquet")


def test_a_factor_with_an_empty_cell_is_refused_in_csv(load, folder):
    write_table(folder, [["file", "label", "pose"], ["cat/a.png", "cat", "1"], ["cat/b.PNG", "cat", ""]])
    with pytest.raises(DataError, match=r"row 1: pose=''; expected 0 or 1"):
        load(f"set={folder}?table=labels.csv")


def test_a_column_that_is_no_factor_is_named(load, folder):
    write_table(folder, [["file", "label", "color"], ["cat/a.png", "cat", "red"]])
    found = load(f"set={folder}?table=labels.csv")
    assert found.annotations == {}
    assert found.remarks == (
        "data set 'set': column 'color' is not read as a visual factor: its values, such as 'red', are not 0 or 1",
    )


def test_the_showroom_has_no_remarks(load):
    assert [load(f"set=showroom:{name}").remarks for name in ("id", "factors", "cue_conflict")] == [(), (), ()]


def test_labels_are_not_booleans(load, tmp_path, png):
    write_parquet(tmp_path / "set.parquet", {"image": [png(0)], "label": [True]})
    with pytest.raises(DataError, match="label=True is neither a name nor a whole number"):
        load(f"set={tmp_path}/set.parquet")


@pytest.mark.parametrize("rows", [[["cat/a.png", "siamese, cat"]], [["cat/a.png"]]])
def test_a_csv_line_of_another_length_is_refused(load, folder, rows):
    text = "file,label\n" + "\n".join(",".join(row) for row in rows) + "\n"
    (folder / "labels.csv").write_text(text)
    with pytest.raises(DataError, match=r"line 2: . values under a header of 2 columns, separated by ','"):
        load(f"set={folder}?table=labels.csv")


def test_two_columns_of_one_name_are_refused(load, folder):
    write_table(folder, [["file", "label", "label"], ["cat/a.png", "cat", "dog"]])
    with pytest.raises(DataError, match="two columns are called 'label'; rename one"):
        load(f"set={folder}?table=labels.csv")


def test_an_image_that_a_table_lists_twice_is_named(load, folder):
    write_table(folder, [["file", "label"], ["cat/a.png", "cat"], ["cat/a.png", "dog"]])
    assert "1 lines name an image that another line names" in load(f"set={folder}?table=labels.csv").remarks[0]


def test_annotations_are_read_from_all_lines(load, folder):
    lines = ['{"file_name": "a.png", "style": 1}', '{"file_name": "b.png", "style": 0, "pose": 1}']
    (folder / "factors.jsonl").write_text("\n".join(lines))
    with pytest.raises(DataError, match="line 1: pose=None; expected 0 or 1"):
        load(f"set={folder}?annotations=factors.jsonl")
    (folder / "factors.jsonl").write_text(
        '{"file_name": "a.png", "style": "yes"}\n{"file_name": "b.png", "style": 0.0}'
    )
    assert np.array_equal(load(f"set={folder}?annotations=factors.jsonl").annotations["style"], [True, False])
    (folder / "factors.jsonl").write_text('{"file_name": "x/a.png", "style": 1}\n{"file_name": "y/a.png", "style": 0}')
    with pytest.raises(DataError, match=r"annotates 'x/a.png' and 'y/a.png' differently"):
        load(f"set={folder}?annotations=factors.jsonl")
