from __future__ import annotations

import csv

import pytest

from pytest_clip_robust.datasets.images.labels import class_list, named_classes
from pytest_clip_robust.errors import DataError


def test_imagenet_matches_the_labels_of_real_photographs(shared):
    classes = class_list("imagenet-1k")
    with (shared / "data" / "imagenet_1000" / "labels.csv").open() as file:
        for row in csv.DictReader(file):
            place = int(row["class_index"])
            assert classes.position(row["wnid"]) == place == classes.position(row["class_index"])


@pytest.mark.parametrize(("subset", "first"), [("imagenet-a", "stingray"), ("imagenet-r", "goldfish")])
def test_the_subsets_have_200_classes_in_the_order_of_their_ids(subset, first):
    classes = class_list(subset)
    assert len(classes) == 200
    assert list(classes.ids) == sorted(classes.ids)
    assert set(classes.ids) < set(class_list("imagenet-1k").ids)
    assert classes.names[0] == first


def test_a_label_may_be_an_index_an_id_or_a_name():
    classes = class_list("imagenet-1k")
    assert {classes.position(label) for label in (1, "1", "n01443537", "goldfish")} == {1}


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("goldfsh", r"'goldfsh' is not among the 1000 of imagenet-1k \(did you mean 'goldfish'"),
        (1000, r"label 1000 is not in 0\.\.999"),
        (-1, r"label -1 is not in 0\.\.999"),
        ("1000", "'1000' is not among"),
        ("sunglasses", "'sunglasses' means n04355933 and n04356056 in imagenet-1k; use the id"),
    ],
)
def test_a_label_that_means_nothing_or_too_much_is_one_line(label, message):
    with pytest.raises(DataError, match=message):
        class_list("imagenet-1k").position(label)


def test_a_file_has_names_or_ids_and_names(tmp_path):
    (tmp_path / "classes.txt").write_text("cat\nhot_dog\n\nn1\tpolar_bear\n")
    classes = class_list(str(tmp_path / "classes.txt"))
    assert classes.names == ("cat", "hot dog", "polar bear")
    assert classes.ids == ("cat", "hot_dog", "n1")


def test_a_wrong_list_is_one_line(tmp_path):
    with pytest.raises(DataError, match=r"no class list 'imagenet1k' \(did you mean 'imagenet-1k'"):
        class_list("imagenet1k")
    with pytest.raises(DataError, match="class 'cat' is listed twice"):
        named_classes(["cat", "dog", "cat"], source="mine")
    with pytest.raises(DataError, match="0 class names"):
        named_classes([], source="mine")
    with pytest.raises(DataError, match="has no name"):
        named_classes(["n1\t"], source="mine")
