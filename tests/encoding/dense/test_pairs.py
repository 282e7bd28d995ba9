from __future__ import annotations

import io
from dataclasses import astuple, replace

import numpy as np
import pytest
import torch
from PIL import Image

from pytest_clip_robust.datasets.correspondence.keypoint_set import KeypointSet
from pytest_clip_robust.datasets.correspondence.view_set import DepthScale, ViewSet
from pytest_clip_robust.datasets.images.depth import Depths
from pytest_clip_robust.encoding.dense.keypoints import find_points
from pytest_clip_robust.encoding.dense.matching import DenseReader
from pytest_clip_robust.encoding.dense.nearest import FeatureMap
from pytest_clip_robust.encoding.dense.resize import resize_for
from pytest_clip_robust.encoding.dense.rows import DRAWN
from pytest_clip_robust.encoding.dense.views import View, match_views, resized_intrinsics, view_points
from pytest_clip_robust.encoding.encoder import Encoder
from pytest_clip_robust.encoding.store.features import FeatureStore
from pytest_clip_robust.errors import DataError, ModelError
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.system.rank import Rank

CAMERA = np.array([[30.0, 0, 10], [0, 30.0, 12], [0, 0, 1]], np.float32)
SIZE = 64


class DenseEncoder:
    """Mean colours of 8 x 8 pixels; `seen` counts pictures."""

    scale, bias, identity = 10.0, 0.0, "dense"
    preprocess = encode_image = encode_text = None

    def __init__(self):
        self.seen = 0

    def encode_dense(self, pixels):
        self.seen += len(pixels)
        return torch.nn.functional.avg_pool2d(pixels, 8) - 0.5


class NoDepthFile:
    def __call__(self, index):
        raise FileNotFoundError(2, "No such file or directory")


def depth_png(seed):
    depth = np.random.default_rng(seed).integers(1000, 3000, (24, 20)).astype(np.uint16)
    depth[:3] = 0
    buffer = io.BytesIO()
    Image.fromarray(depth).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def views(image_set, png):
    """Views of random pictures with random depth, each a step to the right of the one before."""
    count = 4
    images = image_set([png(seed) for seed in range(count)], name="views")
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, 0, 3] = np.arange(count) * 0.1
    depths = Depths(
        read=[depth_png(seed) for seed in range(count)].__getitem__,
        stamps=[None] * count,
        samples=images.samples,
        intrinsics=np.tile(CAMERA, (count, 1, 1)),
    )
    return ViewSet(
        images=images,
        depths=depths,
        depth_scale=DepthScale(scale=np.full(count, 0.001)),
        poses=poses,
        scenes=["room"] * count,
        pairs=np.array([[0, 1], [0, 2], [1, 3]]),
        fingerprint="ff",
    )


@pytest.fixture
def keypoints(image_set, png):
    """Return pictures with three keypoints each; the third is not visible in the last picture."""
    points = np.random.default_rng(0).uniform(4, 16, (3, 3, 2)).astype(np.float32)
    points[2, 2] = np.nan
    return KeypointSet(
        images=image_set([png(seed) for seed in range(3)], name="points"),
        points=points,
        boxes=np.tile(np.array([2, 2, 18, 12], np.float32), (3, 1)),
        pairs=np.array([[0, 1], [0, 2]]),
        viewpoints=np.array([-1, -1]),
        fingerprint="ff",
    )


@pytest.fixture
def encoder():
    return DenseEncoder()


@pytest.fixture
def model(encoder, load):
    return load(encoder, spec=ModelSpec.parse("py:dense:model"))


def resize_and_encode(encoder, images, position):
    """Return the Resize and the features of one picture."""
    picture = Image.open(io.BytesIO(images.read(position))).convert("RGB")
    resize = resize_for(*picture.size, size=SIZE)
    pixels = torch.from_numpy(resize.apply(picture)).permute(2, 0, 1)[None].float() / 255
    return resize, encoder.encode_dense(pixels)[0]


def directly(encoder, views, pair):
    """Match one pair step by step."""
    looked = []
    for position in pair:
        resize, features = resize_and_encode(encoder, views.images, position)
        depth = np.array(Image.open(io.BytesIO(views.depths.read(position)))) * 0.001
        looked.append(
            View(
                resize=resize,
                features=FeatureMap(features, resize.grid),
                points=view_points(depth, CAMERA, resize),
                intrinsics=resized_intrinsics(CAMERA, resize),
                pose=views.poses[position],
            )
        )
    return match_views(*looked)


def test_errors_are_those_of_a_pair_matched_by_itself(encoder, model, views, store):
    found = Encoder(store).view_pairs(model, views, views.pairs, size=SIZE)

    for one, pair in zip(found, views.pairs.tolist(), strict=True):
        expected = directly(encoder, views, pair)
        assert one.metres == pytest.approx(expected.metres, rel=1e-6)
        assert one.pixels == pytest.approx(expected.pixels, rel=1e-5)


def test_what_is_computed_of_a_picture_is_kept_for_its_other_pairs(model, views):
    read = DenseReader(model, views.images, SIZE)
    first = read([0, 1])
    assert read([1, 0, 2])[0][1] is first[0][1]
    assert first[0][1].lengths is first[0][1].lengths


def test_pictures_are_encoded_once_and_pairs_never_again(encoder, model, views, store):
    first = Encoder(store).view_pairs(model, views, views.pairs, size=SIZE)
    assert encoder.seen == 4
    again = Encoder(store).view_pairs(model, views, views.pairs[[2, 0]], size=SIZE)

    assert encoder.seen == 4
    assert np.array_equal(again[0].metres, first[2].metres)
    assert np.array_equal(again[1].pixels, first[0].pixels)


def other_poses(views):
    return replace(views, poses=views.poses + 0.01 * np.eye(4)[:, :1] @ np.eye(4)[3:])


@pytest.mark.parametrize(
    "change",
    [
        other_poses,
        lambda views: replace(views, depth_scale=DepthScale(scale=np.full(4, 0.002))),
        lambda views: replace(views, boxes=np.tile([0, 0, 20, 20], (4, 1))),
        lambda views: replace(views, depths=replace(views.depths, intrinsics=views.depths.intrinsics * 1.01)),
        lambda views: replace(
            views, depths=replace(views.depths, read=[depth_png(s + 9) for s in range(4)].__getitem__)
        ),
    ],
    ids=["poses", "depth scale", "boxes", "intrinsics", "depth"],
)
def test_every_input_of_the_errors_changes_the_digest_of_a_pair(encoder, model, views, store, change):
    Encoder(store).view_pairs(model, views, views.pairs, size=SIZE)

    Encoder(store).view_pairs(model, change(views), views.pairs, size=SIZE)

    assert encoder.seen == 8


def test_another_size_or_another_model_is_another_key(encoder, model, load, views, store):
    Encoder(store).view_pairs(model, views, views.pairs, size=SIZE)

    Encoder(store).view_pairs(model, views, views.pairs, size=SIZE * 2)
    Encoder(store).view_pairs(load(encoder, spec=model.spec, weights="33" * 32), views, views.pairs, size=SIZE)

    assert encoder.seen == 12


def test_infinite_errors_are_stored_and_stay_large(encoder, model, views, store):
    poses = views.poses.copy()
    poses[1, 2, 3] = 50  # the points of view 0 lie behind it
    views = replace(views, poses=poses)

    for _ in range(2):
        found = Encoder(store).view_pairs(model, views, views.pairs[:1], size=SIZE)
        assert (found[0].pixels > 1e30).all()
        assert np.isfinite(found[0].metres).all()


def test_keypoints_are_matched_once_and_stored(encoder, model, keypoints, store):
    found = Encoder(store).keypoint_pairs(model, keypoints, keypoints.pairs, size=SIZE)

    assert [len(errors) for errors in found] == [3, 2]  # the third is not seen in the last picture
    assert all((errors >= 0).all() for errors in found)
    again = Encoder(store).keypoint_pairs(model, keypoints, keypoints.pairs, size=SIZE)
    assert encoder.seen == 3
    assert np.array_equal(found[1], again[1])


def test_errors_of_keypoints_are_shares_of_the_target_box(encoder, model, keypoints, store):
    found = Encoder(store).keypoint_pairs(model, keypoints, keypoints.pairs[:1], size=SIZE)

    source, target = (resize_and_encode(encoder, keypoints.images, position) for position in (0, 1))
    to = FeatureMap(target[1], target[0].grid)
    places = find_points(source[1], source[0].to_resized(keypoints.points[0]), source[0], to)
    away = np.linalg.norm(places / target[0].scale - keypoints.points[1], axis=1)
    assert found[0] == pytest.approx(away / 16, rel=1e-4)


def test_a_picture_that_cannot_be_read_is_named(encoder, model, views, store):
    files = [views.images.read(i) for i in range(4)]
    broken = replace(views, images=replace(views.images, read=[files[0], files[0][:50], *files[2:]].__getitem__))

    with pytest.raises(DataError, match=r"views: image '1.png': its bytes changed since the set was loaded"):
        Encoder(store).view_pairs(model, broken, views.pairs, size=SIZE)


def test_depth_that_cannot_be_read_is_named(encoder, model, views, store):
    digests = views.depths.digests  # known before the files go
    gone = replace(views, depths=replace(views.depths, read=NoDepthFile(), source="known"))
    assert digests

    with pytest.raises(DataError, match=r"view '0.png': .*No such file"):
        Encoder(store).view_pairs(model, gone, views.pairs, size=SIZE)


def test_a_model_without_dense_features_is_refused(make_encoder, load, views, store):
    with pytest.raises(ModelError, match=r"has no encode_dense\(pixels\)"):
        Encoder(store).view_pairs(
            load(make_encoder(), spec=ModelSpec.parse("py:small:model")), views, views.pairs, size=SIZE
        )


@pytest.mark.parametrize("kind", ["views", "keypoints"])
def test_ranks_share_the_pairs_and_a_later_process_finds_all(request, model, store, encoder, tmp_path, kind):
    found = request.getfixturevalue(kind)

    def match(encoding):
        method = encoding.view_pairs if kind == "views" else encoding.keypoint_pairs
        return method(model, found, found.pairs, size=SIZE)

    ranks = [Encoder(store, rank=Rank(rank, 2)) for rank in range(2)]
    for encoding in ranks:
        assert len(match(encoding)) == len(found.pairs)
    assert ranks[1].left_to_others == 0  # the first rank has stored the others
    seen = encoder.seen
    after = match(Encoder(store))
    assert encoder.seen == seen
    scratch = match(Encoder(FeatureStore(tmp_path / "scratch")))
    for one, other in zip(after, scratch, strict=True):
        for values, others in zip(astuple(one), astuple(other), strict=True) if kind == "views" else [(one, other)]:
            np.testing.assert_array_equal(values, others)


def test_places_are_those_of_the_matches_and_stored_apart_from_their_errors(views, model, encoder, store):
    pair = views.pairs[0].tolist()
    (errors,) = Encoder(store).view_pairs(model, views, views.pairs[:1], size=SIZE)
    (places,) = Encoder(store).view_places(model, views, views.pairs[:1], size=SIZE)
    assert places.shape[1] == 5
    assert 0 < len(places) <= DRAWN
    assert ((places[:, :4] > 0) & (places[:, :4] < 1)).all()
    drawn = np.unique(np.linspace(0, len(errors.metres) - 1, DRAWN).astype(int))
    assert places[:, 4].tolist() == errors.metres[drawn].tolist()
    matches = directly(encoder, views, pair)
    rows, columns = resize_for(20, 24, size=SIZE).grid
    assert places[:, 0] == pytest.approx((matches.source[drawn] % columns + 0.5) / columns)
    assert places[:, 3] == pytest.approx((matches.target[drawn] // columns + 0.5) / rows)
    seen = encoder.seen
    (again,) = Encoder(store).view_places(model, views, views.pairs[:1], size=SIZE)
    assert again.tolist() == places.tolist()
    assert encoder.seen == seen


def test_the_places_of_a_view_with_itself_are_equal(views, model, store):
    (places,) = Encoder(store).view_places(model, views, np.array([[0, 0]]), size=SIZE)
    right = places[:, 4] < 1e-6
    assert right.any()
    assert places[right, :2].tolist() == places[right, 2:4].tolist()
