"""The pixel cache between two models, through the Encoder."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from pytest_clip_robust.corruptions.images import CorruptedImages
from pytest_clip_robust.encoding.encoder import Encoder
from pytest_clip_robust.encoding.engines.local import LocalEngine
from pytest_clip_robust.encoding.pixels.cache import PixelCache
from pytest_clip_robust.encoding.store.features import FeatureStore
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.models.protocols import PreprocessSteps


def resize(image):
    return np.asarray(image.resize((16, 12), Image.Resampling.BICUBIC))


def normalise(pixels):
    return pixels.permute(0, 3, 1, 2).float() / 255


class SteppingEncoder:
    """Returns the colours of the corners; its preprocess is split into steps."""

    scale, bias, identity = 1.0, 0.0, "stepping"
    preprocess_steps = PreprocessSteps(identity="16 x 12", resize=resize, normalise=normalise)

    def preprocess(self, image):
        return normalise(torch.tensor(resize(image))[None])[0]

    def encode_image(self, pixels):
        return torch.cat([pixels[:, :, 0, 0], pixels[:, :, -1, -1]], dim=1)

    def encode_text(self, texts):
        raise NotImplementedError


@pytest.fixture
def first(load):
    return load(SteppingEncoder(), weights="aa" * 32)


@pytest.fixture
def second(load):
    """Return the next checkpoint: other weights, the same resize."""
    return load(SteppingEncoder(), weights="bb" * 32)


@pytest.fixture
def run(tmp_path, notices):
    """Return a function that encodes with a new cache object, as another process does."""

    def encode(model, images, *, workers=0, limit=2**30, **options):
        cache = PixelCache(tmp_path / "pixels", limit=limit, notice=notices.append)
        engine = LocalEngine(batch_size=4, workers=workers, pixels=cache, notice=notices.append)
        return Encoder(FeatureStore(tmp_path / "features"), engine, **options).images(model, images)

    return encode


def unreadable(images):
    def read(index):
        raise AssertionError(f"image {index} was read")

    return replace(images, read=read)


def blocks(folder):
    return sorted((folder / "pixels").rglob("*.safetensors"))


@pytest.mark.parametrize("workers", [0, 2])
def test_the_next_checkpoint_reads_no_image_file(run, first, second, photos, workers):
    features = run(first, photos, workers=workers)
    again = run(second, unreadable(photos), workers=workers)
    np.testing.assert_array_equal(again, features)


def test_another_resize_decodes_again(run, first, second, photos):
    run(first, photos)
    second.encoder.preprocess_steps = replace(SteppingEncoder.preprocess_steps, identity="another")
    with pytest.raises(AssertionError, match="was read"):
        run(second, unreadable(photos))


def test_a_cropped_border_gives_other_pixels(run, first, second, photos):
    run(first, photos)
    cut = run(second, replace(photos, crop_border=3))
    expected = [SteppingEncoder().preprocess(Image.fromarray(_cut(photos, i))) for i in range(len(photos))]
    np.testing.assert_array_equal(cut, SteppingEncoder().encode_image(torch.stack(expected)).numpy())


def _cut(photos, index):
    from pytest_clip_robust.datasets.images.decoding import decode

    return np.asarray(decode(photos.read(index)))[3:-3, 3:-3]


def test_only_images_that_are_new_are_decoded(run, first, second, image_set, png):
    files = [png(seed) for seed in range(9)]
    run(first, image_set(files[:6]))
    read = []
    images = image_set(files)
    run(second, replace(images, read=lambda index: read.append(index) or files[index]))
    assert read == [6, 7, 8]


def test_a_model_whose_preprocess_has_no_steps_keeps_nothing(run, model, photos, tmp_path):
    run(model, photos)
    assert blocks(tmp_path) == []


def test_corrupted_images_are_never_kept(run, first, photos, tmp_path):
    run(first, CorruptedImages(photos, "iso_noise", (1,)))
    assert blocks(tmp_path) == []
    run(first, photos)
    kept = blocks(tmp_path)
    run(first, CorruptedImages(photos, "iso_noise", (2,)))
    assert blocks(tmp_path) == kept != []


def test_what_was_decoded_before_an_unreadable_image_is_kept(run, first, second, image_set, png):
    files = [png(seed) for seed in range(10)]
    with pytest.raises(DataError, match=r"image '8\.png'"):
        run(first, image_set([*files[:8], b"not an image", *files[8:]]))
    assert len(run(second, unreadable(image_set(files[:8])))) == 8


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("place", [0.5, 0.9, 0.999])
def test_a_damaged_image_is_decoded_again_and_reported_once(
    run, first, second, photos, tmp_path, notices, workers, place
):
    features = run(first, photos)
    (block,) = blocks(tmp_path)
    content = bytearray(block.read_bytes())
    content[int(place * len(content))] ^= 64
    block.write_bytes(content)
    np.testing.assert_array_equal(run(second, photos, workers=workers), features)
    assert notices == [
        f"pixel cache: {block} is removed: pixels do not match their checksum; its images are decoded again"
    ]
    assert not block.exists()


def test_a_cache_that_is_too_small_for_a_set_changes_no_feature(run, first, second, photos, tmp_path, notices):
    features = run(first, photos, limit=1000)
    assert blocks(tmp_path) == []
    np.testing.assert_array_equal(run(second, photos, limit=1000), features)
    assert [
        line.endswith("are full of images that this run uses: no more images are cached; see --clip-pixel-cache")
        for line in notices
    ] == [True, True]
