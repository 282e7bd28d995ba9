from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from filelock import FileLock

from pytest_clip_robust.encoding.encoder import EncodeCounts, encode_texts
from pytest_clip_robust.encoding.store.features import FeatureStore
from pytest_clip_robust.encoding.store.lock import turn

TEXTS = [f"a photo of a {thing}." for thing in ("cat", "dog", "hat", "bag")]


@pytest.mark.parametrize("takes_turns", [True, False])
def test_workers_that_lack_the_same_prompts_encode_them_once(model, encoder, tmp_path, monkeypatch, takes_turns):
    counts = [EncodeCounts(), EncodeCounts()]
    encode_text = encoder.encode_text
    monkeypatch.setattr(encoder, "encode_text", lambda texts: time.sleep(0.1) or encode_text(texts))

    def work(worker):
        store = FeatureStore(tmp_path / "features")
        turns = tmp_path if takes_turns else None
        return encode_texts(model, TEXTS, store, counts=counts[worker], turns=turns)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(work, range(2))
    np.testing.assert_array_equal(first, second)
    assert sum(count.texts for count in counts) == (4 if takes_turns else 8)


def test_nobody_waits_for_ever(tmp_path):
    with FileLock(tmp_path / "held"):
        started = time.monotonic()
        with turn(tmp_path / "held", patience=0.05):
            assert time.monotonic() - started < 5


def test_without_a_folder_for_turns_work_goes_on(tmp_path):
    (tmp_path / "file").write_text("")
    with turn(tmp_path / "file" / "lock", patience=0.05):
        pass
