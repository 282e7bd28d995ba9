"""A split that the user names is read or refused, and a set of several splits is never read whole without a word."""

from __future__ import annotations

import pytest
from stored import write_files, write_parquet, write_table, write_tar

from pytest_clip_robust.datasets.entry import parse_data_option
from pytest_clip_robust.datasets.images.corrupted_folders import corrupted_entry, corrupted_kinds
from pytest_clip_robust.datasets.sources.splits import split_of_path
from pytest_clip_robust.errors import DataError


@pytest.fixture
def split_folders(tmp_path, png):
    """Two images of train and one of val, as SPLIT/CLASS/IMAGE."""
    names = ["train/cat/a.png", "train/dog/b.png", "val/cat/c.png"]
    return write_files(tmp_path / "whole", {name: png(i) for i, name in enumerate(names)})


def test_a_split_without_a_folder_is_refused(load, split_folders):
    with pytest.raises(DataError, match=r"no split 'test': .*whole has no such folder, but train, val; leave out"):
        load(f"set={split_folders}?split=test")
    with pytest.raises(DataError, match=r"no split 'vla': .* no such folder \(did you mean 'val'\?\)"):
        load(f"set={split_folders}?split=vla")


def test_a_folder_of_splits_is_read_by_the_usual_one_and_says_so(load, split_folders):
    found = load(f"set={split_folders}")
    assert found.samples == ["cat/c.png"]
    assert found.remarks == ("data set 'set': reads the split 'val' of train, val; ?split=NAME reads another one",)
    assert len(load(f"set={split_folders}?split=train")) == 2


def test_a_folder_of_splits_without_a_usual_one_asks(load, split_folders):
    (split_folders / "val").rename(split_folders / "unlabeled")
    with pytest.raises(DataError, match=r"which split.*has train, unlabeled; add .split=NAME"):
        load(f"set={split_folders}")


def test_splits_next_to_another_folder_of_images_ask(load, split_folders, png):
    write_files(split_folders, {"extra/cat/d.png": png(7)})
    with pytest.raises(DataError, match=r"has the splits train, val next to 'extra'; add .split=NAME"):
        load(f"set={split_folders}")


def test_the_location_of_a_split_may_be_named_twice(load, split_folders):
    assert len(load(f"set={split_folders}/val?split=val")) == 1


def test_an_ood_set_of_plain_splits_is_one_split(load, tmp_path, png):
    write_files(tmp_path / "ood", {"train/a.png": png(0), "test/b.png": png(1)})
    assert load(f"ood={tmp_path}/ood", prompted=False).samples == ["b.png"]
    with pytest.raises(DataError, match="no split 'val'"):
        load(f"ood={tmp_path}/ood?split=val", prompted=False)


def test_cue_conflicts_have_splits(load, tmp_path, png):
    root = write_files(tmp_path / "cues", {"train/cat1-dog1.png": png(0), "test/dog1-cat1.png": png(1)})
    assert load(f"cues={root}?format=cue-conflict").samples == ["dog1-cat1.png"]
    with pytest.raises(DataError, match="no split 'val'"):
        load(f"cues={root}?split=val")


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("train-00000-of-00002.parquet", "train"),
        ("imagenet-val-000.tar", "val"),
        ("data/Test/0.parquet", "Test"),
        ("latest.parquet", ""),
        ("contest_1.tar", ""),
    ],
)
def test_shards_are_named_after_splits(path, split):
    assert split_of_path(path) == split


@pytest.fixture(params=["parquet", "webdataset"])
def shards(request, tmp_path, png):
    """Two rows of train and one of validation, in shards named after them."""
    root = tmp_path / request.param
    if request.param == "parquet":
        write_parquet(root / "train-0.parquet", {"image": [png(0), png(1)], "label": ["cat", "dog"]})
        write_parquet(root / "validation-0.parquet", {"image": [png(2)], "label": ["cat"]})
    else:
        write_tar(root / "train-0.tar", {"a.png": png(0), "a.cls": b"0", "b.png": png(1), "b.cls": b"1"})
        write_tar(root / "validation-0.tar", {"c.png": png(2), "c.cls": b"0"})
        (root / "classnames.txt").write_text("cat\ndog\n")
    return root


def test_shards_are_read_by_split(load, shards):
    found = load(f"set={shards}")
    assert len(found) == 1
    assert "reads the split 'validation' of train, validation" in found.remarks[0]
    assert len(load(f"set={shards}?split=train")) == 2
    with pytest.raises(DataError, match=r"no split 'test'; .* has train, validation"):
        load(f"set={shards}?split=test")
    shards.joinpath("more").mkdir()
    suffix = next(shards.glob("train*")).suffix
    next(shards.glob("train*")).rename(shards / "more" / f"0{suffix}")
    with pytest.raises(DataError, match=r"files of the splits validation and '0\.\w+', which names none; add"):
        load(f"set={shards}")


def test_shards_without_splits_have_none(load, shards):
    file = next(shards.glob("train*"))
    file = file.rename(shards / f"all{file.suffix}")
    with pytest.raises(DataError, match=r"no split 'test': neither file names nor a column 'split' name splits"):
        load(f"set={file}?split=test")


def test_shards_in_folders_of_splits(load, tmp_path, png):
    write_parquet(tmp_path / "set" / "train" / "0.parquet", {"image": [png(0)], "label": ["cat"]})
    write_parquet(tmp_path / "set" / "test" / "0.parquet", {"image": [png(1)], "label": ["dog"]})
    assert load(f"set={tmp_path}/set").class_names == ("dog",)
    assert load(f"set={tmp_path}/set?split=train").class_names == ("cat",)


def test_a_column_of_splits_is_obeyed_in_parquet(load, tmp_path, png):
    path = tmp_path / "set.parquet"
    columns = {"image": [png(i) for i in range(4)], "label": ["a", "b", "a", "b"], "split": ["train", "test"] * 2}
    write_parquet(path, columns)
    found = load(f"set={path}")
    assert found.samples == ["row 1", "row 3"]
    assert [found.read(i) for i in range(2)] == [png(1), png(3)]
    assert "reads the split 'test' of test, train" in found.remarks[0]
    assert load(f"set={path}?split=train").class_names == ("a",)
    with pytest.raises(DataError, match=r"no split 'val'; .* has test, train"):
        load(f"set={path}?split=val")
    write_parquet(path, columns | {"split": ["train", "test", None, "test"]})
    with pytest.raises(DataError, match="row 2 has no 'split', but other rows have one"):
        load(f"set={path}")


def test_digests_of_one_split_are_not_those_of_another(load, tmp_path, png, monkeypatch):
    monkeypatch.setattr("pytest_clip_robust.datasets.sources.rows.SETTLED_SECONDS", -3600)
    path = tmp_path / "set.parquet"
    write_parquet(path, {"image": [png(0), png(1)], "label": ["a", "b"], "split": ["train", "test"]})
    assert load(f"set={path}?split=train").digests != load(f"set={path}?split=test").digests


def test_a_column_of_splits_is_obeyed_in_csv(load, folder):
    rows = [["file", "label", "split"], ["cat/a.png", "cat", "train"], ["cat/b.PNG", "cat", "test"]]
    write_table(folder, rows)
    assert load(f"set={folder}?table=labels.csv").samples == ["cat/b.PNG"]
    assert load(f"set={folder}?table=labels.csv&split=train").samples == ["cat/a.png"]
    with pytest.raises(DataError, match=r"no split 'val'; .* has test, train"):
        load(f"set={folder}?table=labels.csv&split=val")
    write_table(folder, [["file", "label"], ["cat/a.png", "cat"]])
    with pytest.raises(DataError, match=r"no split 'val': .*labels\.csv has no column 'split'; leave out split=val"):
        load(f"set={folder}?table=labels.csv&split=val")


def test_a_table_can_be_in_the_folder_of_its_split(load, tmp_path, folder):
    write_table(folder, [["file", "label"], ["cat/a.png", "cat"]])
    folder.rename(tmp_path / "val")
    assert load(f"set={tmp_path}?table=labels.csv&split=val").samples == ["cat/a.png"]


def test_corrupted_folders_have_splits(tmp_path, png):
    write_files(tmp_path / "c", {f"val/fog/{severity}/cat/a.png": png(0) for severity in (1, 2)})
    entry = parse_data_option(f"c={tmp_path}/c?split=val")
    assert corrupted_kinds(entry) == {"fog": (1, 2)}
    assert corrupted_entry(entry, "fog", 2).location == f"{tmp_path}/c/val/fog/2"
    with pytest.raises(DataError, match="no split 'test'"):
        corrupted_kinds(parse_data_option(f"c={tmp_path}/c?split=test"))


def test_folders_that_contain_the_name_of_a_split_are_splits(load, tmp_path, png):
    root = write_files(tmp_path / "set", {"train2017/cat/a.png": png(0), "val2017/cat/b.png": png(1)})
    assert load(f"set={root}").samples == ["cat/b.png"]
    assert load(f"set={root}?split=train2017").samples == ["cat/a.png"]
    with pytest.raises(DataError, match=r"no split 'val': .*\(did you mean 'val2017'\?\)"):
        load(f"set={root}?split=val")
