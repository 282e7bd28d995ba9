"""Corrupted images between decoding and the model."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from pytest_clip_robust.corruptions.images import CorruptedImages
from pytest_clip_robust.corruptions.registry import corrupt
from pytest_clip_robust.datasets.images.depth import Depths
from pytest_clip_robust.encoding.encoder import Encoder
from pytest_clip_robust.encoding.engines.local import LocalEngine
from pytest_clip_robust.encoding.store.features import FeatureStore
from pytest_clip_robust.errors import ConfigError, DataError

SIZE = (24, 20)


def depth_map(seed, size=SIZE):
    depth = np.random.default_rng(seed).integers(1000, 4000, size[::-1], dtype=np.uint16)
    buffer = io.BytesIO()
    Image.fromarray(depth).save(buffer, "PNG")
    return buffer.getvalue()


def depths_of(maps, **fields):
    return Depths(
        read=maps.__getitem__, stamps=[None] * len(maps), samples=[str(i) for i in range(len(maps))], **fields
    )


@pytest.fixture
def photos(image_set, png):
    return image_set([png(seed, SIZE) for seed in range(7)], depths=depths_of([depth_map(seed) for seed in range(7)]))


@pytest.fixture
def corrupted(photos):
    def make(kind="fog_3d", severities=(1, 4), **fields):
        return CorruptedImages(photos, kind, severities, **{"depths": photos.depths} | fields)

    return make


def by_hand(photos, encoder, corrupted):
    """Decode, corrupt and encode image by image with the public function."""
    features = []
    for severity in corrupted.severities:
        for i in range(len(photos)):
            rgb = torch.from_numpy(np.array(Image.open(io.BytesIO(photos.read(i))).convert("RGB"))).permute(2, 0, 1)
            depth = torch.from_numpy(np.asarray(Image.open(io.BytesIO(photos.depths.read(i)))).astype(np.float32))
            seeds = [corrupted._seed(i)]
            found = corrupt(rgb[None], corrupted.kind, severity, seeds=seeds, depth=depth[None])
            image = Image.fromarray(found[0].permute(1, 2, 0).numpy())
            features.append(encoder.encode_image(torch.from_numpy(encoder.preprocess(image))[None])[0])
    return torch.stack(features).detach().numpy()


@pytest.mark.parametrize("kind", ["fog_3d", "iso_noise", "h265_crf"])
def test_features_are_those_of_the_corrupted_images(model, photos, store, corrupted, kind):
    found = Encoder(store, LocalEngine(workers=0)).images(model, corrupted(kind))
    np.testing.assert_allclose(found, by_hand(photos, model.encoder, corrupted(kind)), atol=1e-6)


@pytest.mark.parametrize("kind", ["xy_motion_blur", "iso_noise", "bit_error"])
@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (3, 2), (64, 0)])
def test_batches_and_workers_do_not_change_the_features(model, store, tmp_path, corrupted, kind, batch_size, workers):
    alone = Encoder(store, LocalEngine(batch_size=5, workers=0)).images(model, corrupted(kind))
    other = FeatureStore(tmp_path / "other")
    found = Encoder(other, LocalEngine(batch_size=batch_size, workers=workers)).images(model, corrupted(kind))
    np.testing.assert_allclose(found, alone, atol=1e-6)


def test_the_rest_of_the_set_does_not_change_the_features(model, store, photos, corrupted):
    whole = Encoder(store, LocalEngine(workers=0)).images(model, corrupted("iso_noise", (3,)))
    part = photos.take(np.array([5, 2]))
    encoding = Encoder(store, LocalEngine(workers=0))
    found = encoding.images(model, CorruptedImages(part, "iso_noise", (3,)))
    np.testing.assert_array_equal(found, whole[[5, 2]])
    assert encoding.counts["images"] == 0


def test_what_was_encoded_once_is_not_again(model, store, corrupted):
    encoding = Encoder(store, LocalEngine(workers=0))
    encoding.images(model, corrupted(severities=(1, 4)))
    encoding.images(model, corrupted(severities=(1, 2, 4)))
    assert encoding.counts["images"] == 3 * 7


def test_the_model_gets_its_threads_back(model, store, corrupted):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        Encoder(store, LocalEngine(workers=0)).images(model, corrupted(severities=(1,)))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_clean_and_corrupted_features_have_different_rows(model, store, photos, corrupted):
    clean = Encoder(store, LocalEngine(workers=0)).images(model, photos)
    spoilt = Encoder(store, LocalEngine(workers=0)).images(model, corrupted(severities=(5,)))
    assert np.abs(clean - spoilt).max() > 0.01
    np.testing.assert_array_equal(Encoder(store, LocalEngine(workers=0)).images(model, photos), clean)


def test_the_digest_depends_on_every_input(photos, corrupted):
    camera = np.tile(np.array([[20, 0, 12], [0, 20, 10], [0, 0, 1]], np.float32), (7, 1, 1))
    others = [
        corrupted(),
        corrupted(severities=(2, 5)),
        corrupted("flash"),
        corrupted(seed=1),
        corrupted(depths=depths_of([depth_map(seed + 50) for seed in range(7)])),
        corrupted(depths=depths_of([depth_map(seed) for seed in range(7)], intrinsics=camera)),
        corrupted(depths=depths_of([depth_map(seed) for seed in range(7)], source="a model")),
    ]
    rows = [row for one in others for row in one.digests]
    assert len(set(rows)) == len(rows) == 7 * 14


def test_kinds_without_geometry_ignore_depth(photos, corrupted):
    assert corrupted("iso_noise").digests == CorruptedImages(photos, "iso_noise", (1, 4)).digests


def test_a_kind_with_geometry_needs_depth(photos):
    with pytest.raises(DataError, match=r"photos: flash needs depth, and the set has none: .*corruptions.depth"):
        CorruptedImages(photos, "flash", (1,))


@pytest.mark.parametrize(("kind", "severity"), [("frost", 1), ("flash", 7)])
def test_unknown_kinds_and_severities_are_refused_at_once(photos, kind, severity):
    with pytest.raises(ConfigError, match=r"no corruption 'frost'|severity 7"):
        CorruptedImages(photos, kind, (severity,), depths=photos.depths)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"broken", "its depth map cannot be decoded"),
        (depth_map(0, (20, 24)), "they do not show the same view"),
        (None, "its depth map cannot be read"),
    ],
)
@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_with_bad_depth_is_named(model, store, photos, content, message, workers):
    maps = [depth_map(seed) for seed in range(7)]

    def read(index):
        if index == 3 and content is None:
            raise FileNotFoundError(2, "No such file or directory")
        return content if index == 3 else maps[index]

    depths = Depths(read=read, stamps=[None] * 7, samples=photos.samples, source="x")
    bad = CorruptedImages(photos, "fog_3d", (1,), depths=depths)
    with pytest.raises(DataError, match=f"photos: image .3.png.: .*{message}"):
        Encoder(store, LocalEngine(batch_size=2, workers=workers)).images(model, bad)


def test_a_cut_border_is_cut_from_depth_and_camera_too(model, store, image_set, png, encoder):
    files, maps = [png(seed, (28, 24)) for seed in range(3)], [depth_map(seed, (28, 24)) for seed in range(3)]
    camera = np.tile(np.array([[20, 0, 14], [0, 20, 12], [0, 0, 1]], np.float32), (3, 1, 1))
    whole = image_set(files, crop_border=2, depths=depths_of(maps, intrinsics=camera))
    found = Encoder(store, LocalEngine(workers=0)).images(
        model, CorruptedImages(whole, "flash", (3,), depths=whole.depths)
    )
    for i in range(3):
        rgb = np.array(Image.open(io.BytesIO(files[i])).convert("RGB"))[2:-2, 2:-2]
        depth = np.asarray(Image.open(io.BytesIO(maps[i]))).astype(np.float32)[2:-2, 2:-2]
        shifted = torch.from_numpy(camera[i] - np.array([[0, 0, 2], [0, 0, 2], [0, 0, 0]], np.float32))
        expected = corrupt(
            torch.from_numpy(rgb.copy()).permute(2, 0, 1)[None],
            "flash",
            3,
            seeds=[0],
            depth=torch.from_numpy(depth.copy())[None],
            intrinsics=shifted[None],
        )
        pixels = encoder.preprocess(Image.fromarray(expected[0].permute(1, 2, 0).numpy()))
        np.testing.assert_allclose(
            found[i], encoder.encode_image(torch.from_numpy(pixels)[None])[0].detach().numpy(), atol=1e-6
        )
