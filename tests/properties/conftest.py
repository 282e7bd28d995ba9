from __future__ import annotations

import numpy as np
import pytest

from pytest_clip_robust.core.predictions import Predictions


def make_predictions(logits, labels, **fields):
    logits = np.asarray(logits, np.float32)
    classes = tuple(f"c{i}" for i in range(logits.shape[1]))
    return Predictions(
        **{
            "dataset": "set",
            "logits": logits,
            "labels": np.asarray(labels, np.int64),
            "class_names": classes,
            "class_ids": classes,
            "samples": [f"{i}.png" for i in range(len(logits))],
        }
        | fields
    )


@pytest.fixture
def predictions():
    return make_predictions


@pytest.fixture
def random_predictions():
    def make(n=200, classes=10, seed=0, skill=2.0, **fields):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, classes, n)
        logits = rng.normal(size=(n, classes))
        logits[np.arange(n), labels] += skill
        return make_predictions(logits, labels, **fields)

    return make
