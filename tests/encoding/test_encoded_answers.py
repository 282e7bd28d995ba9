"""Likelihoods and answers of large multimodal models: asked once, stored, and independent of batches."""

from __future__ import annotations

import multiprocessing

import numpy as np
import pytest
from inverted_images import InvertedImages

from pytest_clip_robust.encoding.encoder import Encoder
from pytest_clip_robust.encoding.engines.local import LocalEngine
from pytest_clip_robust.encoding.store.features import FeatureStore
from pytest_clip_robust.errors import DataError, ModelError, NotApplicableError
from pytest_clip_robust.models.spec import ModelSpec

QUESTION = "What is it?"
NAMES = ["dog", "tabby cat", "boat"]


class FakeMultimodal:
    """Answers that follow from the mean of the image and the words of the question; it records what it is asked."""

    identity, tower, notice = "fake", "", print

    def __init__(self):
        self.batches = []

    def sums(self, images, question, candidates):
        self.batches.append(len(images))
        means = np.array([np.asarray(image).mean() for image in images])
        return -means[:, None] * np.arange(1, len(candidates) + 1) - len(question)

    def sizes(self, question, candidates):
        return np.array([len(one.split()) for one in candidates]), np.array([len(one) for one in candidates])

    def generate(self, images, questions, *, limit):
        self.batches.append(len(images))
        return [(int(np.asarray(image).mean()), len(one))[:limit] for image, one in zip(images, questions, strict=True)]

    def text(self, tokens):
        return " ".join(map(str, tokens))


@pytest.fixture
def asked():
    return FakeMultimodal()


@pytest.fixture
def lmm(load, asked):
    return load(asked, spec=ModelSpec.parse("lmm:fake"))


def encoder_of(store, **options):
    return Encoder(store, LocalEngine(**options))


def test_likelihoods_are_asked_once_and_stored(store, lmm, asked, photos):
    encoder = encoder_of(store)
    found = encoder.likelihoods(lmm, photos, QUESTION, NAMES)
    assert (found.shape, found.dtype) == ((len(photos), 3), np.float32)
    assert (sum(asked.batches), encoder.counts["answers"]) == (len(photos), len(photos))
    again = encoder_of(store).likelihoods(lmm, photos, QUESTION, NAMES)
    np.testing.assert_array_equal(again, found)
    assert sum(asked.batches) == len(photos)


@pytest.mark.parametrize("change", [("What is this?", NAMES), (QUESTION, NAMES[::-1]), (QUESTION, NAMES[:2])])
def test_another_question_or_other_candidates_are_asked_again(store, lmm, asked, photos, change):
    encoder = encoder_of(store)
    encoder.likelihoods(lmm, photos, QUESTION, NAMES)
    encoder.likelihoods(lmm, photos, *change)
    assert sum(asked.batches) == 2 * len(photos)


@pytest.mark.parametrize("size", [1, 5, 64])
def test_likelihoods_and_answers_do_not_depend_on_the_batch(tmp_path, lmm, photos, store, size):
    questions = [(position % len(photos), "word " * (position % 4 + 1)) for position in range(40)]
    one, other = encoder_of(store), encoder_of(FeatureStore(tmp_path / "other"), batch_size=size)
    np.testing.assert_array_equal(
        one.likelihoods(lmm, photos, QUESTION, NAMES), other.likelihoods(lmm, photos, QUESTION, NAMES)
    )
    assert one.answers(lmm, photos, questions, limit=2) == other.answers(lmm, photos, questions, limit=2)


@pytest.mark.parametrize("altered", [False, True])
def test_processes_that_read_images_change_nothing(tmp_path, lmm, photos, store, altered):
    images = InvertedImages(photos) if altered else photos
    questions = [(position % len(photos), "word " * (position % 4 + 1)) for position in range(40)]
    one, other = encoder_of(store, workers=0), encoder_of(FeatureStore(tmp_path / "other"), workers=2)
    np.testing.assert_array_equal(
        one.likelihoods(lmm, images, QUESTION, NAMES), other.likelihoods(lmm, images, QUESTION, NAMES)
    )
    assert one.answers(lmm, images, questions, limit=4) == other.answers(lmm, images, questions, limit=4)


def test_an_unreadable_image_is_named_and_the_processes_end(store, lmm, image_set, png):
    images = image_set([*(png(seed) for seed in range(20)), b"no image"])
    with pytest.raises(DataError, match=r"^photos: image '20.png': it cannot be decoded"):
        encoder_of(store, workers=2, batch_size=4).likelihoods(lmm, images, QUESTION, NAMES)
    assert not multiprocessing.active_children()


def test_equal_questions_about_an_image_are_answered_once(store, lmm, asked, photos):
    encoder = encoder_of(store)
    questions = [(0, "a?"), (1, "a?"), (0, "a?"), (0, "b and c?")]
    found = encoder.answers(lmm, photos, questions, limit=8)
    assert found[0] == found[2] != found[1]
    assert found[3].split()[1] == "8"
    assert sum(asked.batches) == encoder.counts["answers"] == 3
    assert encoder_of(store).answers(lmm, photos, questions[:2], limit=8) == found[:2]
    assert sum(asked.batches) == 3


def test_another_limit_is_another_answer(store, lmm, photos):
    encoder = encoder_of(store)
    long, short = (encoder.answers(lmm, photos, [(0, "a?")], limit=limit)[0] for limit in (2, 1))
    assert long.split()[:1] == short.split()
    assert len(long.split()) == 2


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_log_probability_that_is_not_finite_names_the_image(store, lmm, asked, photos, bad):
    right = asked.sums

    def wrong(images, question, candidates):
        found = right(images, question, candidates)
        found[-1, 1] = bad
        return found

    asked.sums = wrong
    with pytest.raises(ModelError, match=rf"a candidate's log-probability is {bad} for '7\.png': check the checkpoint"):
        encoder_of(store).likelihoods(lmm, photos, QUESTION, NAMES)


def test_answers_before_an_unreadable_image_are_kept(store, lmm, asked, image_set, png):
    images = image_set([*(png(seed) for seed in range(20)), b"no image"])
    with pytest.raises(DataError, match=r"20\.png"):
        encoder_of(store).likelihoods(lmm, images, QUESTION, NAMES)
    assert sum(asked.batches) == 16
    found = encoder_of(store).likelihoods(lmm, images.take(np.arange(16)), QUESTION, NAMES)
    assert (len(found), sum(asked.batches)) == (16, 16)


def test_a_clip_model_answers_no_questions(store, load, encoder, photos):
    model = load(encoder, spec=ModelSpec.parse("ViT-B-32@openai"))
    encoder = encoder_of(store)
    for ask in (
        lambda: encoder.likelihoods(model, photos, QUESTION, NAMES),
        lambda: encoder.answers(model, photos, [(0, QUESTION)], limit=4),
    ):
        with pytest.raises(NotApplicableError, match="is not a large multimodal model, which answers questions"):
            ask()
