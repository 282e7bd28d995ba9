"""Typographic attacks: does a wrong word on a note in the image change the answer?"""

from __future__ import annotations

import pytest

from pytest_clip_robust.properties import typographic, word_notes

pytestmark = [pytest.mark.clip_suite, pytest.mark.clip_role("typographic")]


@pytest.mark.parametrize("name", typographic.PROPERTIES)
def test_painted_words(model, dataset, name, gate):
    gate(typographic.PROPERTIES[name](model.typographic.answers(dataset)))


@pytest.fixture
def notes(model, dataset, version):
    """Return the answers to photographs with words; skip the test if the set does not have this version."""
    found = model.typographic.notes(dataset)
    if version not in found.kinds:
        pytest.skip(f"{dataset!r} has no photographs of the version {version!r}")
    return found


@pytest.mark.clip_role("attacked")
@pytest.mark.parametrize("version", word_notes.VERSIONS)
def test_words_on_notes(notes, version, gate):
    gate(word_notes.accuracy(notes, version))


@pytest.mark.clip_role("attacked")
@pytest.mark.parametrize("version", word_notes.ATTACKS)
def test_loss_by_words_on_notes(notes, version, gate):
    gate(word_notes.drop(notes, version))
