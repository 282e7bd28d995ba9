from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from pytest_clip_robust.encoding.dense.features import encode_dense, require_dense
from pytest_clip_robust.errors import DataError, ModelError
from pytest_clip_robust.models.spec import ModelSpec

SPEC = ModelSpec.parse("py:mine:make")


class MeansOfCells:
    """Returns the mean colour of every 16 x 16 pixels, and records the number of images per call."""

    def __init__(self):
        self.batches = []

    def encode_dense(self, pixels):
        self.batches.append(tuple(pixels.shape))
        return torch.nn.functional.avg_pool2d(pixels, 16)


@pytest.fixture
def dense():
    return MeansOfCells()


@pytest.fixture
def model(load, dense):
    return load(dense, spec=SPEC)


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (5, 48, 64, 3), np.uint8)


def giving(load, encode):
    """Return a model whose encode_dense is `encode`."""
    encoder = MeansOfCells()
    encoder.encode_dense = encode
    return load(encoder, spec=SPEC)


def test_pictures_become_float_pixels_and_their_features_come_in_order(model, pictures):
    features = encode_dense(model, pictures)
    means = pictures.reshape(5, 3, 16, 4, 16, 3).mean(axis=(2, 4)) / 255
    assert features.shape == (5, 3, 3, 4)
    assert (features.dtype, features.device.type) == (torch.float32, "cpu")
    np.testing.assert_allclose(features, means.transpose(0, 3, 1, 2), atol=1e-6)


def test_stacked_pil_pictures_are_accepted(model, pictures):
    stacked = np.stack([np.asarray(Image.fromarray(picture)) for picture in pictures])
    assert torch.equal(encode_dense(model, stacked), encode_dense(model, pictures))


def test_array_views_are_read_in_their_order(model, pictures):
    mirrored = encode_dense(model, pictures[:, :, ::-1])
    assert torch.allclose(mirrored, encode_dense(model, pictures).flip(3))


@pytest.mark.parametrize(("device", "count", "batches"), [("cpu", 3, [1, 1, 1]), ("mps", 20, [16, 4])])
def test_a_cpu_takes_one_picture_at_a_time(load, dense, device, count, batches):
    encode_dense(load(dense, spec=SPEC, device=device), np.zeros((count, 32, 32, 3), np.uint8))
    assert dense.batches == [(batch, 3, 32, 32) for batch in batches]


@pytest.mark.parametrize("batch_size", [1, 2, 7])
def test_features_do_not_depend_on_the_batch_size(model, dense, pictures, batch_size):
    assert torch.allclose(encode_dense(model, pictures, batch_size=batch_size), encode_dense(model, pictures))
    assert dense.batches[0][0] == min(batch_size, 5)


def test_a_batch_that_does_not_fit_is_halved_with_a_notice(load, dense, pictures, notices):
    def encode(pixels):
        if len(pixels) > 2:
            raise torch.cuda.OutOfMemoryError("no room")
        return dense.encode_dense(pixels)

    model = giving(load, encode)
    features = encode_dense(model, pictures, batch_size=5, notice=notices.append)
    assert torch.allclose(features, encode_dense(load(dense, spec=SPEC), pictures))
    assert notices == [
        "model py:mine:make: encode_dense: a batch of 5 does not fit into the device's memory; continuing with 2"
    ]


def test_one_picture_that_does_not_fit_is_one_line(load, pictures):
    def encode(pixels):
        raise torch.cuda.OutOfMemoryError("no room")

    with pytest.raises(ModelError, match="one sample does not fit into the device's memory"):
        encode_dense(giving(load, encode), pictures)


def test_half_precision_and_numpy_features_are_fine(load, dense, pictures):
    expected = encode_dense(load(dense, spec=SPEC), pictures)
    for changed in (lambda features: features.bfloat16(), lambda features: features.numpy().astype(np.float64)):
        model = giving(load, lambda pixels, changed=changed: changed(dense.encode_dense(pixels)))
        assert torch.allclose(encode_dense(model, pictures), expected, atol=0.01)


def test_a_model_without_dense_features_is_told_what_to_add(load, encoder, pictures):
    with pytest.raises(ModelError, match=r"its FakeEncoder has no encode_dense\(pixels\).*docs/models\.md") as error:
        encode_dense(load(encoder, spec=SPEC), pictures)
    assert "\n" not in str(error.value)


def test_a_model_with_dense_features_is_accepted(model, dense):
    assert require_dense(model) is dense


@pytest.mark.parametrize(
    ("encode", "message"),
    [
        (lambda pixels: pixels.mean((2, 3)), r"returned shape \(1, 3\); expected \(1, D, h, w\)"),
        (lambda pixels: pixels[:, :0], r"returned shape \(1, 0, 48, 64\); expected \(1, D, h, w\)"),
        (lambda pixels: pixels[0], r"returned shape \(3, 48, 64\); expected \(1, D, h, w\)"),
        (lambda pixels: torch.cat([pixels, pixels]), r"features of shape \(2, 9216\) for 1 samples"),
        (lambda pixels: pixels / 0, "features of 'image 0' are NaN or infinite"),
        (lambda pixels: None, "encode_dense failed: RuntimeError"),
        (lambda pixels: pixels.missing, "encode_dense failed: AttributeError: 'Tensor' object has no"),
    ],
)
def test_unusable_features_are_one_line(load, pictures, encode, message):
    with pytest.raises(ModelError, match=message) as error:
        encode_dense(giving(load, encode), pictures)
    assert str(error.value).startswith("model py:mine:make: encode_dense")
    assert "\n" not in str(error.value)


def test_a_grid_that_changes_on_the_way_is_refused(load, pictures):
    grids = iter([(3, 4), (4, 3)])
    model = giving(load, lambda pixels: torch.ones(len(pixels), 2, *next(grids)))
    with pytest.raises(ModelError, match=r"returned shape \(1, 2, 4, 3\); expected \(1, 2, 3, 4\)"):
        encode_dense(model, pictures)


def test_an_error_of_the_model_is_passed_on(load, pictures):
    def encode(pixels):
        raise ModelError("no map")

    with pytest.raises(ModelError, match=r"^model py:mine:make: encode_dense: no map$"):
        encode_dense(giving(load, encode), pictures)


def test_messages_name_the_samples(load, pictures):
    model = giving(load, lambda pixels: pixels / 0)
    with pytest.raises(ModelError, match=r"features of 'left\.png' are NaN"):
        encode_dense(model, pictures[:2], samples=["left.png", "right.png"])


def test_a_picture_without_parts_is_refused_by_name(model):
    with pytest.raises(DataError, match=r"'dot\.png' has 31x40 pixels; dense features need at least 32 per side"):
        encode_dense(model, np.zeros((1, 40, 31, 3), np.uint8), samples=["dot.png"])


@pytest.mark.parametrize("shape", [(48, 64, 3), (1, 48, 64, 4), (0, 48, 64, 3)])
def test_arrays_that_are_not_pictures_are_a_value_error(model, shape):
    with pytest.raises(ValueError, match=r"expected uint8 of \(B, H, W, 3\)"):
        encode_dense(model, np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match="images: float64 of shape"):
        encode_dense(model, np.zeros((1, 48, 64, 3)))
