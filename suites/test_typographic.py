"""Typographic attacks: does a wrong class name on a note in the image change the answer?"""

from __future__ import annotations

import pytest

from pytest_clip_robust.properties import typographic

pytestmark = [pytest.mark.clip_suite, pytest.mark.clip_role("typographic")]


@pytest.mark.parametrize("name", typographic.PROPERTIES)
def test_painted_words(model, dataset, name, gate):
    gate(typographic.PROPERTIES[name](model.typographic.answers(dataset)))
