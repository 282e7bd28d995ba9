from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest

from pytest_clip_robust.encoding.encoder import Encoder, image_key
from pytest_clip_robust.encoding.engines.local import LocalEngine
from pytest_clip_robust.encoding.store.features import FeatureStore
from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.system.rank import Rank


def test_a_share_is_encoded_as_usual_and_placeholders_are_never_stored(model, photos, tmp_path):
    whole = Encoder(FeatureStore(tmp_path / "whole"), LocalEngine(workers=0)).images(model, photos)
    store = FeatureStore(tmp_path / "share")
    shown = []

    @contextmanager
    def progress(*_):
        yield shown.append

    encoding = Encoder(store, LocalEngine(workers=0), rank=Rank(1, 3), progress=progress)
    features = encoding.images(model, photos)
    own = np.array([Rank(1, 3).owns(digest) for digest in photos.digests])
    assert 0 < own.sum() < len(photos)
    np.testing.assert_allclose(features[own], whole[own], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(features[~own], axis=1), 1, atol=1e-6)
    assert (encoding.counts["images"], sum(shown), encoding.left_to_others) == (own.sum(), own.sum(), (~own).sum())
    np.testing.assert_array_equal(store.read(image_key(model, photos), photos.digests)[1], own)


@pytest.mark.parametrize("rank", range(3))
def test_placeholders_are_as_wide_as_features_even_if_the_share_is_empty(model, store, rank):
    features = Encoder(store, LocalEngine(workers=0), rank=Rank(rank, 1000)).texts(model, ["a", "b"])
    assert features.shape == (2, 8)
    assert np.isfinite(features).all()


def test_stored_features_are_used_whichever_rank_encoded_them(model, photos, store):
    whole = Encoder(store, LocalEngine(workers=0)).images(model, photos)
    encoding = Encoder(store, LocalEngine(workers=0), rank=Rank(0, 2))
    np.testing.assert_array_equal(encoding.images(model, photos), whole)
    assert encoding.left_to_others == 0


def test_an_exception_of_the_models_code_is_an_error_of_the_model(load, photos, store, encoder, monkeypatch):
    monkeypatch.setattr(encoder, "encode_image", lambda pixels: 1 / 0)
    with pytest.raises(ModelError, match="encoding failed: ZeroDivisionError: division by zero"):
        Encoder(store, LocalEngine(workers=0), rank=Rank(0, 2)).images(load(encoder), photos)
