"""Correspondence: do dense features match the same point between two views, and the same part of two objects?"""

from __future__ import annotations

import pytest

from pytest_clip_robust.properties import correspondence

pytestmark = pytest.mark.clip_suite


@pytest.mark.clip_role("views")
@pytest.mark.parametrize("within", correspondence.WITHIN)
def test_recall(model, dataset, within, gate):
    gate(correspondence.recall(model.correspondence.views(dataset), within))


@pytest.mark.clip_role("views")
@pytest.mark.parametrize("within", correspondence.BY_ANGLE)
def test_recall_by_angle(model, dataset, within, angles, gate):
    matches = model.correspondence.views(dataset)
    if not len(matches.within(angles)):
        pytest.skip(f"{dataset!r} has no views {angles[0]:g} to {angles[1]:g} degrees apart")
    gate(correspondence.recall(matches, within, angles=angles))


@pytest.mark.clip_role("keypoints")
def test_keypoints(model, dataset, gate):
    gate(correspondence.pck(model.correspondence.keypoints(dataset)))


@pytest.mark.clip_role("keypoints")
@pytest.mark.parametrize("viewpoint", [0, 1, 2])
def test_keypoints_by_viewpoint(model, dataset, viewpoint, gate):
    matches = model.correspondence.keypoints(dataset)
    if viewpoint not in matches.viewpoints:
        pytest.skip(f"{dataset!r} has no pairs whose viewpoint changes by {viewpoint}")
    gate(correspondence.pck(matches, viewpoint=viewpoint))
