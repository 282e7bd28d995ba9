"""Image sets without files, for what only looks at names, labels and classes."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from pytest_clip_robust.datasets.images.image_set import ImageSet


@pytest.fixture(scope="session")
def image_set():
    """Return a function that makes a set of images that cannot be read."""

    def make(samples, labels, names, *, ids=None, name="photos", salt=""):
        def read(position):
            raise AssertionError(f"image {position} is read, although nothing needs its pixels")

        return ImageSet(
            name=name,
            read=read,
            samples=list(samples),
            digests=[hashlib.sha256(f"{salt}{one}".encode()).hexdigest() for one in samples],
            labels=np.array(labels, np.int64),
            class_names=tuple(names),
            class_ids=tuple(ids or names),
            fingerprint=f"{name}{salt}",
        )

    return make
