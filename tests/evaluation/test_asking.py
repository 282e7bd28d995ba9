"""Questions with listed options: no place and no model is favoured, and every sample is asked in balanced orders."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_clip_robust.config.sections import MultimodalSettings
from pytest_clip_robust.datasets.catalog import catalog
from pytest_clip_robust.datasets.images.loading import load_image_set
from pytest_clip_robust.datasets.questions.questions import load_question_set
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.evaluation.asking import _spread, listed_classes, listed_questions


@pytest.fixture(scope="module")
def images():
    return load_image_set(catalog()["showroom-id"]).take(np.arange(0, 384, 16))


@pytest.fixture(scope="module")
def questions():
    return load_question_set(catalog()["showroom-questions"])


def test_the_truth_is_at_every_place_equally_often(images):
    asked = listed_classes(images, MultimodalSettings(options=4))
    truths = (asked.shown == asked.labels[asked.of_sample, None]).argmax(axis=1)
    assert np.bincount(truths).tolist() == [24] * 4
    position, text = asked.questions[0]
    names = [asked.class_names[one] for one in asked.shown[0]]
    assert position == 0
    assert text == f"What is the main object in this image? Choose from the following list: {', '.join(names)}."
    assert asked.read(f"It is a {names[2]}.", tuple(asked.shown[0])).position == 2


def test_options_depend_on_the_sample_alone(images):
    whole, half = (listed_classes(one, MultimodalSettings()) for one in (images, images.take(np.arange(12, 24))))
    assert whole.shown[24:].tolist() == half.shown.tolist()


def test_more_options_than_classes_are_refused(images):
    with pytest.raises(MeasurementError, match="has 24 classes of different names; expected at least 25"):
        listed_classes(images, MultimodalSettings(options=25))


def test_questions_keep_their_own_words_and_kinds(questions):
    asked = listed_questions(questions, MultimodalSettings(questions=30))
    assert {kind: list(asked.kinds).count(kind) for kind in asked.kinds} == {"object": 10, "colour": 10, "floor": 10}
    assert len(asked.questions) == 4 * 30
    assert any(text.startswith("What is the floor like? Choose from") for _, text in asked.questions)
    published = listed_questions(questions, MultimodalSettings(questions=30), published=True)
    assert len(published.questions) == 30
    assert [asked.class_names[one] for one in asked.labels] == [published.class_names[one] for one in published.labels]


@pytest.mark.parametrize(("count", "expected"), [(0, [0, 1, 2, 3, 4, 5]), (3, [0, 4, 5]), (4, [0, 3, 4, 5])])
def test_questions_are_spread_over_kinds(count, expected):
    assert _spread(["a", "a", "a", "a", "b", "c"], count).tolist() == expected
