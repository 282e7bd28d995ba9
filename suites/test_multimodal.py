"""Large multimodal models: does the eye get better behind a language model, and where?"""

from __future__ import annotations

import pytest

from pytest_clip_robust.properties import lmm_protocols, multimodal, tower_gain, visual_factors

pytestmark = pytest.mark.clip_suite("lmm")

on_questions = pytest.mark.clip_role("questions")
of_both_ways = pytest.mark.parametrize("way", [multimodal.MOST_LIKELY, multimodal.GENERATED])


@pytest.fixture
def pair(model, dataset, way):
    """Return the answers of the model and of its tower to the same questions about images."""
    found = model.multimodal.choices(dataset, way)
    return found, model.multimodal.tower(found)


@pytest.mark.clip_role("id")
@pytest.mark.parametrize("way", multimodal.WAYS)
def test_accuracy(model, dataset, way, gate):
    gate(multimodal.accuracy(model.multimodal.choices(dataset, way)))


@pytest.mark.clip_role("shift")
@pytest.mark.parametrize("way", [multimodal.MOST_LIKELY])
def test_accuracy_under_shift(model, dataset, way, gate):
    gate(multimodal.accuracy(model.multimodal.choices(dataset, way)))


@pytest.mark.clip_role("id")
@pytest.mark.parametrize("name", multimodal.OF_CHOICES)
def test_choosing(model, dataset, name, gate):
    gate(multimodal.OF_CHOICES[name](model.multimodal.choices(dataset, multimodal.GENERATED)))


@pytest.mark.clip_role("id")
@of_both_ways
def test_gain_over_tower(pair, gate):
    gate(tower_gain.gain_over_tower(*pair))


@pytest.mark.clip_role("shift")
@pytest.mark.parametrize("way", [multimodal.MOST_LIKELY])
def test_gain_under_shift(pair, gate):
    gate(tower_gain.gain_over_tower(*pair))


@pytest.mark.clip_role("id")
@of_both_ways
@pytest.mark.parametrize("others", [False, True], ids=["challenging", "others"])
def test_gain_on_challenging(pair, others, gate):
    gate(tower_gain.gain_on_challenging(*pair, others=others))


@pytest.mark.clip_role("id")
@of_both_ways
def test_gain_where_weak(pair, gate):
    gate(tower_gain.gain_where_weak(*pair))


@pytest.mark.clip_role("factors")
@pytest.mark.parametrize("factor", visual_factors.FACTORS)
def test_gain_by_factor(model, dataset, factor, gate):
    lmm, tower, carries = model.multimodal.by_factor(dataset, multimodal.MOST_LIKELY)
    if factor not in carries:
        pytest.skip(f"{dataset!r} does not annotate {factor!r}")
    gate(tower_gain.gain_on_part(lmm.part(carries[factor]), tower.part(carries[factor]), factor))


@pytest.mark.clip_role("corruptions", "corrupted")
def test_gain_by_corruption(model, dataset, corruption, gate):
    lmm, tower = model.multimodal.under_corruption(dataset, corruption, multimodal.MOST_LIKELY)
    gate(tower_gain.gain_on_part(lmm, tower, corruption))


@on_questions
def test_answers(model, dataset, gate):
    found = model.multimodal.answers(dataset)
    gate(multimodal.accuracy(found))
    kinds = model.multimodal.kinds(dataset)
    for kind in sorted(set(kinds.tolist()) - {""}):
        gate(multimodal.accuracy(found.part(kinds == kind), kind))


@on_questions
@pytest.mark.parametrize("name", multimodal.OF_CHOICES)
def test_choosing_answers(model, dataset, name, gate):
    gate(multimodal.OF_CHOICES[name](model.multimodal.answers(dataset)))


@on_questions
def test_gain_of_answers(model, dataset, gate):
    found = model.multimodal.answers(dataset)
    gate(tower_gain.gain_over_tower(found, model.multimodal.tower(found)))


@on_questions
def test_published_protocol(model, dataset, gate):
    questions = model.multimodal.questions(dataset)
    if questions.protocol != "imagenet-d":
        pytest.skip(f"{dataset!r} is not ImageNet-D, whose published protocol this is")
    found = model.multimodal.answers(dataset, published=True)
    gate(lmm_protocols.imagenet_d_accuracy(found, synonyms=questions.synonyms))
