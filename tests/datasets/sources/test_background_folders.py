"""Tests of CounterAnimal's layout, made in exactly the form of the published folder LAION-final."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from pytest_clip_robust.datasets.catalog import catalog
from pytest_clip_robust.datasets.entry import DataEntry, merge
from pytest_clip_robust.datasets.images.loading import load_image_set
from pytest_clip_robust.errors import DataError

FOLDERS = {
    "9 ostrich": {"common-grass": 2, "counter-water": 1},
    "296 ice bear": {"common-snow": 3, "counter-grass": 2},
    "100 black swan": {"common-water": 1, "counter-earth": 1},
}


def write(folder, groups=FOLDERS):
    for name, of_class in groups.items():
        for group, count in of_class.items():
            (folder / name / group).mkdir(parents=True)
            for i in range(count):
                pixels = np.full((8, 8, 3), hash((name, group, i)) % 256, np.uint8)
                Image.fromarray(pixels).save(folder / name / group / f"{i}.jpg")
    (folder / "imagenet_names.txt").write_text("0\ttench, Tinca tinca\n")
    return folder


def load(folder, **keys):
    return load_image_set(
        merge(catalog()["counteranimal"], DataEntry(name="counteranimal", location=str(folder), **keys))
    )


@pytest.mark.parametrize("inside", ["", "LAION-final"])
def test_the_number_of_a_folder_is_the_class_and_its_second_word_the_group(tmp_path, inside):
    write(tmp_path / inside)
    found = load(tmp_path)
    assert (len(found), len(found.class_names)) == (10, 1000)
    named = {found.class_names[i] for i in found.labels}
    assert named == {"ostrich", "polar bear", "black swan"}
    counter = found.annotations["counter_background"]
    assert [("counter-" in sample) == flag for sample, flag in zip(found.samples, counter, strict=True)] == [True] * 10
    assert counter.sum() == 4


def test_classes_can_be_named_without_numbers(tmp_path):
    write(tmp_path, {"cat": {"common-sofa": 1, "counter-snow": 1}, "dog": {"common-grass": 1, "counter-sofa": 1}})
    found = load_image_set(DataEntry(name="pets", location=str(tmp_path)))
    assert found.class_names == ("cat", "dog")
    assert found.labels.tolist() == [0, 0, 1, 1]


def test_a_class_with_one_group_is_named_in_a_remark(tmp_path):
    write(tmp_path, FOLDERS | {"16 bulbul": {"common-tree": 1}})
    found = load(tmp_path)
    assert len(found) == 11
    assert "1 of 4 classes have images of one group only, such as '16 bulbul'" in found.remarks[0]


def test_an_image_in_another_folder_is_an_error_that_names_it(tmp_path):
    write(tmp_path)
    Image.new("RGB", (8, 8)).save(tmp_path / "9 ostrich" / "stray.jpg")
    with pytest.raises(DataError, match=r"'9 ostrich/stray\.jpg' is not in a folder CLASS/common-BACKGROUND"):
        load(tmp_path, format="counteranimal")


def test_a_folder_of_a_number_beyond_the_list_is_an_error(tmp_path):
    write(tmp_path, FOLDERS | {"1000 yeti": {"common-snow": 1, "counter-sand": 1}})
    with pytest.raises(DataError, match="1000"):
        load(tmp_path)
