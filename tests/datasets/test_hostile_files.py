"""Files that ask for all memory, or for files of others: each is refused in one line, and nothing is read."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zlib

import numpy as np
import posed_scene as scene
import pytest
from PIL import Image
from stored import write_parquet, write_table, write_tar

from pytest_clip_robust.datasets.captions.captions import load_caption_set
from pytest_clip_robust.datasets.captions.crops import CropReader
from pytest_clip_robust.datasets.correspondence.pictures import opened
from pytest_clip_robust.datasets.correspondence.views import load_view_set
from pytest_clip_robust.datasets.entry import parse_data_option
from pytest_clip_robust.datasets.images.annotations import read_factor_annotations
from pytest_clip_robust.datasets.images.decoding import decode
from pytest_clip_robust.datasets.images.depth import decode_depth
from pytest_clip_robust.datasets.sources.arrow import named_file
from pytest_clip_robust.datasets.sources.walk import check_inside
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.system import expansion

MIB = 1 / 1024


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of(width, height, *, depth=8, colour=2):
    """Return a PNG of a few bytes that says that it has this many pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


def npy_of(shape):
    """Return a NumPy file of a header alone."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return file.getvalue()


def one_line(raised):
    assert str(raised.value).isprintable()


HUGE = [png_of(40_000, 40_000), png_of(10_000, 10_000), png_of(2**31 - 1, 2**31 - 1)]


@pytest.mark.parametrize("content", HUGE)
def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(content):
    with pytest.raises(DataError, match="more than Pillow's limit of") as raised:
        decode(content)
    one_line(raised)


@pytest.mark.parametrize("content", HUGE)
def test_so_is_a_crop_of_it(content):
    with pytest.raises(DataError, match="more than Pillow's limit of") as raised:
        CropReader(lambda _: content, [0], [(0, 0, 5, 5)])(0)
    one_line(raised)


@pytest.mark.parametrize("content", HUGE)
@pytest.mark.filterwarnings("error")
def test_so_is_a_picture_of_which_only_the_size_is_asked(content):
    with (
        pytest.raises(DataError, match=r"more than Pillow's limit of|cannot be decoded") as raised,
        opened(io.BytesIO(content)),
    ):
        pass
    one_line(raised)


def test_a_box_that_is_larger_than_any_image_is_refused(png):
    with pytest.raises(DataError, match=r"its box \(0, 0, 1000000, 1000000\) has more than Pillow's limit"):
        CropReader(lambda _: png(0), [0], [(0, 0, 10**6, 10**6)])(0)


@pytest.mark.parametrize("damage", [b"", b"\x89PNG\r\n\x1a\n", png_of(8, 8)[:40], b"BM" + b"\0" * 60])
def test_a_crop_of_a_damaged_image_is_one_line(damage):
    with pytest.raises(DataError, match="it cannot be decoded") as raised:
        CropReader(lambda _: damage, [0], [(0, 0, 5, 5)])(0)
    one_line(raised)


@pytest.mark.parametrize(
    "content",
    [npy_of((2**20, 2**20)), npy_of((2**31, 2**31)), npy_of((-1, 5)), png_of(60_000, 60_000, depth=16, colour=0)],
)
def test_a_depth_map_of_any_size_in_a_few_bytes_is_refused(content):
    with pytest.raises(DataError, match="its depth map") as raised:
        decode_depth(content)
    one_line(raised)


def test_annotations_that_unpack_to_more_than_the_memory_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(expansion, "free_memory", lambda: MIB)
    path = tmp_path / "factors.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps({"file_name": "a.png", "pose": 1}).encode() + b" " * 2**21))
    assert path.stat().st_size < 5000
    with pytest.raises(
        DataError, match=r"cannot be read: it is 0\.0 GiB when it is read, and 0\.0 GiB of memory"
    ) as raised:
        read_factor_annotations(path)
    one_line(raised)
    monkeypatch.undo()
    assert read_factor_annotations(path).columns == ("pose",)


def test_cameras_that_unpack_to_more_than_the_memory_are_refused(tmp_path, monkeypatch):
    scene.write_scannet(tmp_path, scene.shots())
    path = tmp_path / "intrinsics.npz"
    np.savez_compressed(path, **dict(np.load(path)) | {"more": np.zeros(2**18)})
    assert path.stat().st_size < 9000
    monkeypatch.setattr(expansion, "free_memory", lambda: MIB)
    with pytest.raises(DataError, match="GiB of memory are free") as raised:
        load_view_set(parse_data_option(f"rooms={tmp_path}"), cache_dir=None)
    one_line(raised)


OUTSIDE = ["../secret.png", "x/../../secret.png", "./../secret.png", "../../../../../../etc/passwd"]


@pytest.fixture
def secret(tmp_path, png):
    """An image next to the folder of the set, which no listing in the set may name."""
    (tmp_path / "set" / "x").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(png(0))
    (tmp_path / "set" / "a.png").write_bytes(png(1))
    return tmp_path / "set"


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_table_that_leads_out_of_its_folder_is_refused(load, secret, name):
    write_table(secret, [("file", "label"), ("a.png", "cat"), (name, "dog")])
    with pytest.raises(
        DataError, match=r"line 3: .* leads out of .*set: give the folder that holds all files"
    ) as raised:
        load(f"set={secret}?table=labels.csv")
    one_line(raised)


def test_a_whole_path_in_a_table_is_what_the_user_wrote(load, secret, png):
    write_table(secret, [("file", "label"), ("a.png", "cat"), (str(secret.parent / "secret.png"), "dog")])
    assert load(f"set={secret}?table=labels.csv").read(1) == png(0)


@pytest.mark.parametrize("name", OUTSIDE)
def test_captions_of_images_outside_of_the_folder_are_refused(secret, name, tmp_path):
    (secret / "captions.json").write_text(json.dumps({"a.png": ["one"], name: ["two"]}))
    with pytest.raises(DataError, match="leads out of") as raised:
        load_caption_set(parse_data_option(f"set={secret}?table=captions.json"), cache_dir=tmp_path / "cache")
    one_line(raised)


@pytest.mark.parametrize("name", ["../../secret.png", "/etc/passwd", "a/../../../secret.png"])
def test_a_scene_that_names_pictures_of_others_is_refused(tmp_path, name):
    root = tmp_path / "data" / "scene"
    scene.write_blender(root, scene.shots())
    transforms = json.loads((root / "transforms.json").read_text())
    transforms["frames"][0]["file_path"] = name
    (root / "transforms.json").write_text(json.dumps(transforms))
    with pytest.raises(DataError, match="leads out of") as raised:
        load_view_set(parse_data_option(f"views={root}"), cache_dir=None)
    one_line(raised)


@pytest.mark.parametrize("name", OUTSIDE)
def test_rows_of_a_parquet_file_that_lead_out_of_its_folder_are_refused(load, secret, name):
    write_parquet(
        secret / "set.parquet",
        {"image": [{"bytes": None, "path": "a.png"}, {"bytes": None, "path": name}], "label": ["cat", "dog"]},
    )
    with pytest.raises(DataError, match=r"a row names the file .* not in a folder of its data set: refused") as raised:
        load(f"set={secret}/set.parquet")
    one_line(raised)


@pytest.mark.parametrize("name", [*OUTSIDE, "/etc/hostname", "a.png"])
def test_rows_of_a_set_of_the_hub_name_files_of_the_hubs_cache_only(tmp_path, monkeypatch, name):
    """A set of the hub is made by others: a row of it must not read a picture of this machine into a report."""
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "b.png").touch()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").touch()
    with pytest.raises(DataError, match="not in a folder of its data set: refused"):
        named_file(name, "", (str(cache),))
    assert named_file(str(cache / "b.png"), "", (str(cache),)) == cache / "b.png"


def test_members_of_a_tar_are_never_written_to_where_they_say(load, tmp_path, png):
    write_tar(
        tmp_path / "in" / "set.tar",
        {
            "../../escaped.png": png(0),
            "../../escaped.cls": b"0",
            "/tmp/a.b/absolute.png": png(1),
            "/tmp/a.b/absolute.cls": b"0",
        },
    )
    before = {path for path in tmp_path.parent.rglob("*") if "cache" not in path.parts}
    try:
        load(f"set={tmp_path}/in/set.tar")
    except DataError as error:
        assert str(error).isprintable()  # noqa: PT017 - it may be read as well, but not unpacked
    assert {path for path in tmp_path.parent.rglob("*") if "cache" not in path.parts} == before


@pytest.mark.parametrize(
    ("name", "inside"), [("a", True), ("a/../b", True), ("..", False), ("/a", False), ("a/../..", False)]
)
def test_what_is_inside_of_a_folder(tmp_path, name, inside):
    if inside:
        check_inside(tmp_path, name, "x")
        return
    with pytest.raises(DataError, match=r"^x: .* leads out of"):
        check_inside(tmp_path, name, "x")


def test_a_picture_of_usual_size_is_read_as_before(png):
    assert decode(png(3)).size == (6, 6)
    assert Image.open(io.BytesIO(CropReader(lambda _: png(3), [0], [(1, 1, 4, 5)])(0))).size == (3, 4)
