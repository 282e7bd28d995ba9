from __future__ import annotations

import numpy as np
import pytest

from pytest_clip_robust.encoding.encoder import EncodeCounts, encode_images, encode_texts
from pytest_clip_robust.encoding.engines.base import EncodedBatch, ImageJob, TextJob
from pytest_clip_robust.errors import ModelError


def first_byte(digest):
    return float(int(digest[:2], 16))


class RemoteEngine:
    """An engine that needs no model: backwards, three samples at a time, features that tell the sample."""

    def __init__(self, forget=0):
        self.jobs = []
        self.forget = forget

    def encode(self, job):
        self.jobs.append(job)
        digests = list(job.digests if isinstance(job, ImageJob) else job.texts)[::-1][self.forget :]
        for start in range(0, len(digests), 3):
            batch = digests[start : start + 3]
            yield EncodedBatch(batch, np.array([[first_byte(digest), 1.0] for digest in batch], np.float32))


def test_another_engine_encodes_images_in_any_order(model, photos, store):
    engine, counts = RemoteEngine(), EncodeCounts()
    features = encode_images(model, photos, store, engine=engine, counts=counts)
    assert features[:, 0].tolist() == [first_byte(digest) for digest in photos.digests]
    assert counts == EncodeCounts(images=len(photos))
    assert engine.jobs == [ImageJob(model=model, images=photos, digests=list(photos.digests))]


def test_an_engine_is_asked_for_what_the_store_lacks_alone(model, photos, store):
    encode_images(model, photos.take(np.arange(5)), store, engine=RemoteEngine())
    engine = RemoteEngine()
    encode_images(model, photos, store, engine=engine)
    encode_images(model, photos, store, engine=engine)
    assert [list(job.digests) for job in engine.jobs] == [list(photos.digests[5:])]


def test_another_engine_encodes_texts(model, store):
    engine, counts = RemoteEngine(), EncodeCounts()
    features = encode_texts(model, ["a cat", "a dog", "a cat"], store, engine=engine, counts=counts)
    assert features.shape == (3, 2)
    np.testing.assert_array_equal(features[0], features[2])
    assert counts == EncodeCounts(texts=2)
    assert isinstance(engine.jobs[0], TextJob)
    assert list(engine.jobs[0].texts.values()) == ["a cat", "a dog"]


def test_an_engine_that_forgets_samples_is_an_error(model, photos, store):
    with pytest.raises(ModelError, match="fake: the engine left 2 of 23 samples without features"):
        encode_images(model, photos, store, engine=RemoteEngine(forget=2))
