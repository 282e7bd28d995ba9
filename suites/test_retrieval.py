"""Retrieval: does the correct caption of an image, and the correct image of a caption, rank among the first?

Also the geometry of image and text features, which fine-tuning often changes before it changes any accuracy.
"""

from __future__ import annotations

import pytest

from pytest_clip_robust.properties import modality, retrieval
from pytest_clip_robust.scoring import rankings

pytestmark = [pytest.mark.clip_suite, pytest.mark.clip_role("captions")]

both_ways = pytest.mark.parametrize("way", rankings.WAYS)


@both_ways
@pytest.mark.parametrize("k", retrieval.RECALLS)
def test_recall(model, dataset, way, k, gate):
    ranking = model.retrieval.ranking(dataset, way)
    if k >= len(ranking.candidate_names):
        pytest.skip(f"recall at {k} is not defined among {len(ranking.candidate_names)} candidates")
    gate(retrieval.recall(ranking, k))


@both_ways
def test_median_rank(model, dataset, way, gate):
    gate(retrieval.median_rank(model.retrieval.ranking(dataset, way)))


@both_ways
def test_mean_rank(model, dataset, way, gate):
    gate(retrieval.mean_rank(model.retrieval.ranking(dataset, way)))


def test_modality_gap(model, dataset, gate):
    gate(modality.modality_gap(model.retrieval.captioned(dataset)))


def test_alignment(model, dataset, gate):
    gate(modality.alignment(model.retrieval.captioned(dataset)))


@pytest.mark.parametrize("tower", modality.TOWERS)
def test_uniformity(model, dataset, tower, gate):
    gate(modality.uniformity(model.retrieval.captioned(dataset), tower))
