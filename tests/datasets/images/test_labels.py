from __future__ import annotations

import csv

import pytest

from pytest_clip_robust.datasets.images.labels import check_prompts, class_list, named_classes, resolve_names
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


def test_synonyms_of_wordnet_are_labels_and_never_prompts():
    classes = class_list("imagenet-1k")
    assert {classes.position(label) for label in ("cock", "rooster", "n01514668")} == {7}
    assert "cock" not in classes.prompt_names[7]


def test_a_name_of_several_classes_goes_by_the_order_of_both_lists():
    from timm.data.imagenet_info import ImageNetInfo

    info = ImageNetInfo()
    classes = class_list("imagenet-1k")
    names = [info.label_name_to_description(one, detailed=False) for one in classes.ids]
    assert names.count("crane") == 2
    assert resolve_names(names, classes) == [(i,) for i in range(1000)]
    assert resolve_names(names[:200], classes)[134] == (134, 517)
    names[0], names[1] = names[1], names[0]
    assert resolve_names(names, classes)[134] == (134, 517)
    assert resolve_names(["chicken run", *names[1:]], classes)[0] == ()


def test_forms_of_unicode_that_look_equal_are_equal():
    composed, apart = "caf\u00e9", "cafe\u0301"
    classes = named_classes([apart, "hot\u00a0dog", "po\u00adlar\u200b_bear"], source="mine")
    assert classes.names == (composed, "hot dog", "polar bear")
    assert classes.position(composed) == classes.position(apart) == 0
    assert classes.position("hot dog") == classes.position("hot\u3000dog") == 1


@pytest.mark.parametrize("names", [["caf\u00e9", "cafe\u0301"], ["hot_dog", "hot dog"], ["\ufb01sh", "fish"]])
def test_two_own_classes_with_one_prompt_are_refused(names):
    with pytest.raises(DataError, match=r"listed twice|in prompts, so that no model can tell them apart"):
        check_prompts(named_classes(names, source="mine"), given=False)


def test_two_listed_classes_with_one_prompt_are_named():
    listed = named_classes(["n1\tsunglasses", "n2\tsunglasses"], source="mine")
    assert check_prompts(listed, given=True) == [
        "mine: classes 'n1' and 'n2' are both 'sunglasses' in prompts: no model can tell them apart"
    ]
    assert len(check_prompts(named_classes(["sofa|couch", "couch|bed"], source="mine"), given=True)) == 1
    assert check_prompts(named_classes(["apple", "Apple"], source="mine"), given=False) != []
    assert check_prompts(class_list("imagenet-1k"), given=True) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 tench\n1 goldfish\n", "its lines begin with numbers, such as '0 tench'"),
        ("0: tench\n1: goldfish\n", "its lines begin with numbers"),
        ('{"0": "tench"}', "expected a JSON list of names"),
        ("[tench", "expected JSON"),
    ],
)
def test_a_list_that_would_spoil_the_prompts_is_refused(tmp_path, text, message):
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        class_list(str(tmp_path / "classes.txt"))


def test_a_list_can_be_json_or_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "classes.json").write_text('["cat", "hot_dog"]')
    assert class_list(str(tmp_path / "classes.json")).names == ("cat", "hot dog")
    (tmp_path / "classes.txt").write_text("\ufeffcat\n7 up\n")
    assert class_list(str(tmp_path / "classes.txt")).ids == ("cat", "7 up")
