"""Classes of a head, matched with those of a data set."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.datasets.images.labels import class_list
from pytest_clip_robust.errors import DataError, MeasurementError
from pytest_clip_robust.evaluation.classes import Classes, listed_classes
from pytest_clip_robust.evaluation.heads import Head, OwnClasses, match_classes, own_classes


class Doubler:
    """A head whose logits are its features."""

    def __init__(self, classes):
        self.classes = classes

    def classify(self, features):
        return torch.from_numpy(features)


def classes(*names, ids=()):
    several = tuple((name,) if isinstance(name, str) else name for name in names)
    return Classes("set", tuple(ids) or tuple(of_class[0] for of_class in several), several)


@given(st.permutations(["cat", "dog", "hot dog", "ship"]), st.sets(st.integers(0, 3), min_size=1))
def test_every_class_finds_its_own_column(order, chosen):
    wanted = [order[i] for i in sorted(chosen)]
    features = np.arange(8, dtype=np.float32).reshape(2, 4)
    logits = Head(Doubler(["cat", "dog", "hot dog", "ship"]), "m").logits(features, classes(*wanted))
    for column, name in enumerate(wanted):
        assert logits[:, column].tolist() == features[:, ["cat", "dog", "hot dog", "ship"].index(name)].tolist()


def test_the_subset_of_imagenet_r_finds_200_of_1000_columns():
    part = class_list("imagenet-r")
    columns = OwnClasses("imagenet-1k", "m").columns(listed_classes(part))
    known = class_list("imagenet-1k")
    assert len(columns) == 200
    assert [known.ids[i] for i in columns] == list(part.ids)


def test_ids_count_before_names():
    """ImageNet has two cranes, a bird and a machine, which only their ids tell apart."""
    known = class_list("imagenet-1k")
    cranes = [i for i, name in enumerate(known.names) if "crane" in name.split()]
    by_id = match_classes(classes("crane", "crane", ids=[known.ids[i] for i in cranes]), known)
    assert by_id.tolist() == cranes


def test_a_name_of_several_classes_and_two_classes_of_one_name_match_nothing():
    known = own_classes(["n1\tcrane", "n2\tcrane", "n3\tsofa|couch"], "m")
    assert match_classes(classes("crane"), known).tolist() == [-1]
    assert match_classes(classes("sofa", "couch"), known).tolist() == [-1, -1]
    assert match_classes(classes(("couch", "sofa")), known).tolist() == [2]


def test_numbers_are_names_and_never_positions():
    assert match_classes(classes("1", "2"), own_classes(["cat", "dog", "ship"], "m")).tolist() == [-1, -1]


def test_an_unknown_class_is_named():
    with pytest.raises(
        MeasurementError, match=r"m answers among the 2 classes of m, without 1 of the 2 .* such as 'ship'"
    ):
        Head(Doubler(["cat", "dog"]), "m").logits(np.zeros((1, 2), np.float32), classes("dog", "ship"))
    assert not OwnClasses(["cat", "dog"], "m").knows(classes("dog", "ship"))
    assert OwnClasses(["cat", "dog"], "m").knows(classes("dog"))


def test_logits_of_another_number_are_an_error():
    with pytest.raises(MeasurementError, match=r"the head of m returns logits of shape \(1, 3\); expected 2 per image"):
        Head(Doubler(["cat", "dog"]), "m").logits(np.zeros((1, 3), np.float32), classes("dog"))


@pytest.mark.parametrize("wrong", [[], [1, 2], ["cat", "cat"], "no-such-list"])
def test_classes_that_are_no_list_are_an_error(wrong):
    with pytest.raises(DataError):
        own_classes(wrong, "m")
