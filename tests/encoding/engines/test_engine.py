from __future__ import annotations

import numpy as np
import pytest

from pytest_clip_robust.encoding.encoder import Encoder
from pytest_clip_robust.encoding.engines.base import EncodedBatch, ImageJob, TextJob
from pytest_clip_robust.errors import ModelError


def first_byte(digest):
    return float(int(digest[:2], 16))


class RemoteEngine:
    """An engine without a model: in reverse order, three samples per batch, features that identify the sample."""

    def __init__(self, forget=0):
        self.jobs = []
        self.forget = forget

    def encode(self, job):
        self.jobs.append(job)
        samples = job.positions if isinstance(job, ImageJob) else job.texts
        digests = list(samples)[::-1][self.forget :]
        for start in range(0, len(digests), 3):
            batch = digests[start : start + 3]
            yield EncodedBatch(batch, np.array([[first_byte(digest), 1.0] for digest in batch], np.float32))


def test_another_engine_encodes_images_in_any_order(model, photos, store):
    engine = RemoteEngine()
    encoding = Encoder(store, engine)
    features = encoding.images(model, photos)
    assert features[:, 0].tolist() == [first_byte(digest) for digest in photos.digests]
    assert encoding.counts == {"images": len(photos)}
    assert engine.jobs == [
        ImageJob(model=model, images=photos, positions={digest: i for i, digest in enumerate(photos.digests)})
    ]


def test_an_engine_gets_only_samples_that_the_store_lacks(model, photos, store):
    Encoder(store, RemoteEngine()).images(model, photos.take(np.arange(5)))
    engine = RemoteEngine()
    Encoder(store, engine).images(model, photos)
    Encoder(store, engine).images(model, photos)
    assert [list(job.positions) for job in engine.jobs] == [list(photos.digests[5:])]


def test_another_engine_encodes_texts(model, store):
    engine = RemoteEngine()
    encoding = Encoder(store, engine)
    features = encoding.texts(model, ["a cat", "a dog", "a cat"])
    assert features.shape == (3, 2)
    np.testing.assert_array_equal(features[0], features[2])
    assert encoding.counts == {"texts": 2}
    assert isinstance(engine.jobs[0], TextJob)
    assert list(engine.jobs[0].texts.values()) == ["a cat", "a dog"]


def test_an_engine_that_forgets_samples_is_an_error(model, photos, store):
    with pytest.raises(ModelError, match="fake: the engine returned no features for 2 of 23 samples"):
        Encoder(store, RemoteEngine(forget=2)).images(model, photos)
