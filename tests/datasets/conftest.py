from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from pytest_clip_robust.datasets.entry import parse_data_option
from pytest_clip_robust.datasets.images.loading import load_image_set


def make_png(seed):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def png():
    return make_png


@pytest.fixture
def photos(tmp_path, png):
    """Two images."""
    root = tmp_path / "photos"
    root.mkdir()
    for seed, name in enumerate(["a.png", "b.png"]):
        (root / name).write_bytes(png(seed))
    return root


@pytest.fixture
def load(tmp_path):
    """Load a set as ``--clip-data`` names it, with a cache of the test's own."""

    def read(option, **keywords):
        return load_image_set(parse_data_option(str(option)), **{"cache_dir": tmp_path / "cache"} | keywords)

    return read


@pytest.fixture
def folder(tmp_path):
    """Two images of cats and one of a hot dog."""
    for seed, name in enumerate(["cat/a.png", "cat/b.PNG", "hot_dog/c.png"]):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make_png(seed))
    return tmp_path / "photos"
