from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest
import torch
from PIL import Image

from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.encoding.store.features import FeatureStore, StoreKey
from pytest_clip_robust.models.protocols import LoadedModel


class FakeEncoder:
    """A small deterministic encoder, a convolution and a bag of characters, that records its calls."""

    scale, bias, identity = 10.0, 0.0, "fake"

    def __init__(self, dimensions=8):
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(3, dimensions, 5)
        self.image_batches = []
        self.text_batches = []

    def preprocess(self, image):
        return np.asarray(image.resize((16, 16)), np.float32).transpose(2, 0, 1) / 255

    def encode_image(self, pixels):
        self.image_batches.append(len(pixels))
        return self.conv(pixels).mean(dim=(2, 3))

    def encode_text(self, texts):
        self.text_batches.append(list(texts))
        return np.array([[text.count(char) + 1.0 for char in "abcdefgh"] for text in texts])


def loaded_model(encoder, **changes):
    """Return a LoadedModel for an encoder."""
    fields = {
        "spec": "fake",
        "encoder": encoder,
        "weights": "00" * 32,
        "preprocess": "11" * 32,
        "text": "22" * 32,
        "precision": "fp32",
        "device": "cpu",
    }
    return LoadedModel(**fields | changes)


def build_image_set(files, name="photos", **fields):
    """Return an ImageSet of image files in memory."""
    return ImageSet(
        name=name,
        read=list(files).__getitem__,
        samples=[f"{index}.png" for index in range(len(files))],
        digests=[hashlib.sha256(file).hexdigest() for file in files],
        labels=np.zeros(len(files), np.int64),
        class_names=("thing",),
        class_ids=("thing",),
        fingerprint="ff" * 32,
        **fields,
    )


def random_png(seed, size=(20, 24), mode="RGB"):
    """Return the PNG file of a random image."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 4), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels, "RGBA").convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def load():
    return loaded_model


@pytest.fixture
def encoder():
    return FakeEncoder()


@pytest.fixture
def model(encoder):
    return loaded_model(encoder)


@pytest.fixture
def image_set():
    return build_image_set


@pytest.fixture
def png():
    return random_png


@pytest.fixture
def photos(image_set, png):
    return image_set([png(seed) for seed in range(23)])


@pytest.fixture
def notices():
    return []


@pytest.fixture
def store(tmp_path, notices):
    return FeatureStore(tmp_path / "features", notice=notices.append)


@pytest.fixture
def key():
    return StoreKey(kind="image", weights="ab" * 32, transform="cd" * 32, precision="fp32")


@pytest.fixture
def make_encoder():
    return FakeEncoder
