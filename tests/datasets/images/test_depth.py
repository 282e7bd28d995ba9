from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from pytest_clip_robust.datasets.entry import entry_from_table
from pytest_clip_robust.datasets.images.depth import decode_depth
from pytest_clip_robust.datasets.images.loading import load_image_set
from pytest_clip_robust.errors import DataError


def depth_png(seed, size=(6, 6)):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 9000, size, dtype=np.uint16)).save(buffer, "PNG")
    return buffer.getvalue()


def depth_npy(depth):
    buffer = io.BytesIO()
    np.save(buffer, depth)
    return buffer.getvalue()


@pytest.fixture
def parquet(tmp_path, png):
    """Three images with depth and cameras, one of them in a class of its own."""
    import datasets

    columns = {
        "image": [{"bytes": png(i), "path": f"{i}.png"} for i in range(3)],
        "depth": [{"bytes": depth_png(i), "path": f"{i}.png"} for i in range(3)],
        "label": ["cat", "dog", "cat"],
        "intrinsics": [[float(10 + i), 0, 3, 0, 10, 3, 0, 0, 1] for i in range(3)],
    }
    found = datasets.Dataset.from_dict(columns)
    for column in ("image", "depth"):
        found = found.cast_column(column, datasets.Image(decode=False))
    found.to_parquet(tmp_path / "rgbd.parquet")
    return tmp_path / "rgbd.parquet"


def test_a_column_called_depth_is_depth(load, parquet):
    images = load(f"rgbd={parquet}")
    assert images.depths.read(2) == depth_png(2)
    assert images.depths.digests == [hashlib.sha256(depth_png(i)).hexdigest() for i in range(3)]
    assert images.depths.intrinsics[2].tolist() == [[12, 0, 3], [0, 10, 3], [0, 0, 1]]


def test_it_goes_with_its_image_wherever_that_goes(load, parquet):
    part = load(f"rgbd={parquet}").take(np.array([2, 0, 2]))
    assert [part.depths.read(i) for i in range(3)] == [depth_png(2), depth_png(0), depth_png(2)]
    assert part.depths.intrinsics[:, 0, 0].tolist() == [12, 10, 12]
    assert part.depths.digests[0] == part.depths.digests[2]
    assert part.labels.tolist() == [0, 0, 0]


def test_digests_are_remembered(load, parquet, tmp_path):
    first = load(f"rgbd={parquet}").depths.digests
    again = load(f"rgbd={parquet}").depths
    assert again.digests == first
    assert again.memory.is_file()
    assert again.memory.parent.parent == tmp_path / "cache"


def test_a_folder_beside_the_images(load, folder, tmp_path):
    for seed, name in enumerate(["cat/a.png", "cat/b.npy", "hot_dog/c.png"]):
        path = tmp_path / "depth" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(depth_png(seed) if name.endswith("png") else depth_npy(np.full((6, 6), 2.5)))
    images = load(f"photos={folder}?depth={tmp_path}/depth")
    assert [hashlib.sha256(images.depths.read(i)).hexdigest() for i in range(3)] == images.depths.digests
    assert (decode_depth(images.depths.read(1)) == 2.5).all()
    (tmp_path / "depth/hot_dog/c.png").unlink()
    with pytest.raises(DataError, match=r"no depth map .*hot_dog/c.png for 'hot_dog/c.png'"):
        load(f"photos={folder}?depth={tmp_path}/depth")


def test_a_column_of_a_table(tmp_path, png):
    for i in range(2):
        (tmp_path / f"{i}.png").write_bytes(png(i))
        (tmp_path / f"d{i}.png").write_bytes(depth_png(i))
    (tmp_path / "labels.csv").write_text("file,label,depth\n0.png,cat,d0.png\n1.png,dog,d1.png\n")
    table = {"location": str(tmp_path), "table": "labels.csv"}
    assert load_image_set(entry_from_table("t", table)).depths.read(1) == depth_png(1)
    (tmp_path / "d1.png").unlink()
    with pytest.raises(DataError, match=r"no depth map .*d1.png"):
        load_image_set(entry_from_table("t", table))


def test_a_set_without_depth_has_none(load, folder):
    assert load(f"photos={folder}").depths is None


def test_a_named_column_must_be_there_and_hold_maps(load, parquet):
    with pytest.raises(DataError, match=r"no column 'dept'.*did you mean 'depth'"):
        load(f"rgbd={parquet}?depth=dept")
    with pytest.raises(DataError, match="does not hold depth maps"):
        load(f"rgbd={parquet}?depth=intrinsics")


def test_cameras_are_nine_numbers(tmp_path, load, png):
    import datasets

    columns = {"image": [{"bytes": png(0), "path": "0.png"}], "label": ["cat"], "intrinsics": [[1.0, 2.0]]}
    found = datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image(decode=False))
    found.to_parquet(tmp_path / "x.parquet")
    with pytest.raises(DataError, match="'intrinsics' does not have nine numbers per row"):
        load(f"x={tmp_path / 'x.parquet'}")


@pytest.mark.parametrize("depth", [np.arange(6, dtype=np.uint16).reshape(2, 3), np.arange(6.0).reshape(2, 3)])
def test_maps_are_read_as_they_are(depth):
    assert decode_depth(depth_npy(depth)).tolist() == depth.tolist()
    assert decode_depth(depth_npy(depth)).dtype == np.float32


def test_sixteen_bits_stay_sixteen():
    decoded = decode_depth(depth_png(3))
    assert decoded.max() > 255
    assert decoded.tolist() == np.random.default_rng(3).integers(0, 9000, (6, 6), dtype=np.uint16).tolist()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no image", "cannot be decoded"),
        (depth_npy(np.ones(3)), r"shape \(3,\)"),
        (depth_npy(np.ones((2, 2), bool)), "type bool"),
        (depth_npy(np.array([["a"]])), "type <U1"),
        (depth_npy(np.ones((2, 2), object)), "cannot be decoded"),
        (depth_npy(np.ones((2, 2)))[:-3], "cannot be decoded"),
    ],
)
def test_what_is_no_map_is_refused(content, message):
    with pytest.raises(DataError, match=message):
        decode_depth(content)


def test_a_colour_image_is_no_map(png):
    with pytest.raises(DataError, match="mode RGB: expected one channel"):
        decode_depth(png(0))
