from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest

from pytest_clip_robust.encoding.encoder import EncodeCounts, encode_images, encode_texts, image_key
from pytest_clip_robust.encoding.engines.local import LocalEngine
from pytest_clip_robust.encoding.engines.rank import RankEngine
from pytest_clip_robust.encoding.store.features import FeatureStore
from pytest_clip_robust.system.rank import Rank


def engine_of(rank, world_size):
    return RankEngine(LocalEngine(workers=0), Rank(rank, world_size))


def test_a_share_is_encoded_as_ever_and_stand_ins_are_never_stored(model, photos, tmp_path):
    whole = encode_images(model, photos, FeatureStore(tmp_path / "whole"), engine=LocalEngine(workers=0))
    engine, counts, store = engine_of(1, 3), EncodeCounts(), FeatureStore(tmp_path / "share")
    shown = []

    @contextmanager
    def progress(*_):
        yield shown.append

    features = encode_images(model, photos, store, engine=engine, counts=counts, progress=progress)
    own = np.array([Rank(1, 3).owns(digest) for digest in photos.digests])
    assert 0 < own.sum() < len(photos)
    np.testing.assert_allclose(features[own], whole[own], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(features[~own], axis=1), 1, atol=1e-6)
    assert (counts.images, sum(shown), engine.left) == (own.sum(), own.sum(), (~own).sum())
    np.testing.assert_array_equal(store.read(image_key(model, photos), photos.digests)[1], own)


@pytest.mark.parametrize("rank", range(3))
def test_a_share_without_a_sample_has_stand_ins_as_wide_as_features(model, store, rank):
    features = encode_texts(model, ["a", "b"], store, engine=engine_of(rank, 1000))
    assert features.shape == (2, 8)
    assert np.isfinite(features).all()


def test_what_is_stored_already_is_no_stand_in_whoever_encoded_it(model, photos, store):
    whole = encode_images(model, photos, store, engine=LocalEngine(workers=0))
    engine = engine_of(0, 2)
    np.testing.assert_array_equal(encode_images(model, photos, store, engine=engine), whole)
    assert engine.left == 0
