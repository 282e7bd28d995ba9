"""A path that an entry names and that does not exist is found before anything is read."""

from __future__ import annotations

import pytest
from stored import write_files

from pytest_clip_robust.datasets.catalog import catalog
from pytest_clip_robust.datasets.checking import check_entry, is_hub_name, relative_to
from pytest_clip_robust.datasets.entry import DataEntry, entry_from_table, parse_data_option
from pytest_clip_robust.errors import ClipRobustError, DataError


@pytest.fixture
def root(tmp_path):
    files = ["photos/cat/a.png", "photos/labels.csv", "photos/val/more.csv", "classes.txt", "factors.jsonl", "d/a.npy"]
    return write_files(tmp_path, dict.fromkeys(files, "x"))


@pytest.mark.parametrize(
    "option",
    [
        "set={}/photos",
        "set={}/photos/*/*.png",
        "set={}/photos?table=labels.csv",
        "set={}/photos?table=more.csv&split=val",
        "set={}/photos?table={}/photos/*.csv",
        "set={}/photos?classes={}/classes.txt&annotations={}/factors.jsonl&depth={}/d",
        "set={}/photos?classes=imagenet-r&depth=depth_column",
        "set=org/name?split=test",
        "set=showroom:id",
    ],
)
def test_what_exists_passes(root, option):
    check_entry(parse_data_option(option.replace("{}", str(root))))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("set={}/photo", "no file or folder .*/photo"),
        ("set={}/photos/*.tar", r"no file or folder .*/photos/\*\.tar"),
        ("set={}/photos?table=label.csv", r"table: no file label\.csv in .*/photos or here"),
        ("set={}/photos?table={}/l.csv", r"table: no file .*/l\.csv"),
        ("set={}/photos?classes={}/class.txt", r"classes: no file .*/class\.txt"),
        ("set={}/photos?classes=imagenet1k", r"classes: no file imagenet1k \(did you mean 'imagenet-1k'"),
        ("set={}/photos?annotations=factor.jsonl", r"annotations: no file factor\.jsonl in .*/photos or here"),
        ("set={}/photos?depth={}/depths", "no folder .*/depths for depth"),
        ("set=showroom:idd", "idd"),
        ("set=" + "a" * 5000, "no file or folder aaa"),
    ],
)
def test_what_does_not_exist_is_one_line(root, option, message):
    with pytest.raises(ClipRobustError, match=message) as error:
        check_entry(parse_data_option(option.replace("{}", str(root))))
    assert "\n" not in str(error.value)


def test_an_entry_without_a_location_is_refused():
    with pytest.raises(DataError, match="data set 'imagenet-x' has no location; give one with --clip-data imagenet-x="):
        check_entry(catalog()["imagenet-x"])


def test_paths_of_a_profile_are_relative_to_it(root, tmp_path):
    table = {"location": "photos", "classes": "classes.txt", "annotations": "factors.jsonl", "depth": "d"}
    entry = relative_to(entry_from_table("set", table | {"table": "labels.csv"}), root)
    assert entry == DataEntry(
        name="set",
        location=f"{root}/photos",
        classes=f"{root}/classes.txt",
        annotations=f"{root}/factors.jsonl",
        depth=f"{root}/d",
        table="labels.csv",
    )
    check_entry(entry)
    assert relative_to(entry_from_table("set", {"location": "photos/*.csv"}), root).location == f"{root}/photos/*.csv"
    other = entry_from_table("set", {"location": "org/name", "classes": "imagenet-r", "depth": "depth"})
    assert relative_to(other, root) == other
    listed = entry_from_table("set", {"location": "photos", "classes": ["cat"], "table": "classes.txt"})
    assert relative_to(listed, root).table == f"{root}/classes.txt"


def test_a_name_on_the_hub_is_no_path(root, monkeypatch):
    assert is_hub_name(parse_data_option("set=org/name"))
    assert is_hub_name(parse_data_option("set=name?format=hub"))
    monkeypatch.chdir(root)
    assert not is_hub_name(parse_data_option("set=photos/cat"))
    assert not is_hub_name(parse_data_option("set=org/name.parquet"))


def test_exclude_is_a_list(tmp_path):
    assert parse_data_option("set=/x?exclude=a,b").exclude == ("a", "b")
    assert entry_from_table("set", {"location": "/x", "exclude": ["a, b"]}).exclude == ("a, b",)
