"""Composition: does the true caption of an image score above one that is false in a detail?"""

from __future__ import annotations

import pytest

from pytest_clip_robust.names import SUGARCREPE_PP
from pytest_clip_robust.properties import caption_groups, composition

pytestmark = pytest.mark.clip_suite


@pytest.fixture
def contrasts(model, dataset):
    """Return the true captions with the false ones; skip the test if the set has no false captions."""
    if model.composition.has_matches(dataset):
        pytest.skip(f"{dataset!r} has pairs of images with pairs of captions, and no false captions")
    return model.composition.contrasts(dataset)


@pytest.fixture(params=["", *composition.KINDS], ids=["all", *composition.KINDS])
def kind(contrasts, request):
    """Return one kind of false captions; skip the test if the set has none of that kind."""
    if request.param and request.param not in contrasts.kinds:
        pytest.skip(f"{contrasts.dataset!r} has no false captions of the kind {request.param!r}")
    return request.param


@pytest.mark.clip_role("composition")
def test_accuracy(contrasts, kind, gate):
    gate(composition.accuracy(contrasts, kind))


@pytest.mark.clip_role("composition")
def test_gain_over_blind(contrasts, kind, gate):
    gate(composition.gain_over_blind(contrasts, kind))


@pytest.mark.clip_role("composition")
def test_text_only(contrasts, kind, gate):
    if contrasts.text_only is None:
        pytest.skip(f"{contrasts.dataset!r} has too few images to learn from their captions alone")
    gate(composition.text_only(contrasts, kind))


@pytest.mark.clip_role("composition")
@pytest.mark.parametrize("score", composition.WINOGROUND)
def test_winoground(model, dataset, score, gate):
    if not model.composition.has_matches(dataset):
        pytest.skip(f"{dataset!r} has no pairs of images with pairs of captions")
    gate(composition.winoground(model.composition.matches(dataset), score))


@pytest.mark.clip_role("composition")
@pytest.mark.parametrize("score", caption_groups.GROUP_SCORES)
def test_whole_groups(contrasts, score, gate):
    if score not in contrasts.groups:
        pytest.skip(f"{contrasts.dataset!r} has no groups of pairs for {score}")
    gate(caption_groups.whole_groups(contrasts, score))


@pytest.mark.clip_role("composition")
def test_text_only_task(model, contrasts, gate):
    if SUGARCREPE_PP not in contrasts.groups:
        pytest.skip(f"{contrasts.dataset!r} has no second true captions")
    gate(caption_groups.text_only_task(model.composition.paraphrases(contrasts.dataset)))


@pytest.mark.clip_role("captions")
def test_word_order(model, dataset, gate):
    gate(composition.accuracy(model.composition.word_order(dataset)))


@pytest.mark.clip_role("captions")
def test_word_order_gain_over_blind(model, dataset, gate):
    gate(composition.gain_over_blind(model.composition.word_order(dataset)))
