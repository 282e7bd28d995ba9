"""What was replaced is read again, whatever size and time of modification it has."""

from __future__ import annotations

import os

import pytest
from stored import write_parquet, write_table, write_tar

from pytest_clip_robust.datasets.captions.captions import load_caption_set
from pytest_clip_robust.datasets.entry import parse_data_option


@pytest.fixture(autouse=True)
def _settled(monkeypatch):
    monkeypatch.setattr("pytest_clip_robust.datasets.sources.rows.SETTLED_SECONDS", -3600)


def padded(png, seed, size=1024):
    """Return a PNG of a fixed size: Pillow does not read what follows the image."""
    return png(seed).ljust(size, b"\0")


def overwrite(path, content, *, rename=False):
    """Replace a file in place or by another one; both keep size and time of modification."""
    before = path.stat()
    assert len(content) == before.st_size
    target = path.with_name("new") if rename else path
    target.write_bytes(content)
    os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
    if rename:
        target.replace(path)


@pytest.mark.parametrize("rename", [False, True])
def test_an_image_that_is_replaced_is_another_image(load, folder, png, rename):
    path = folder / "cat" / "a.png"
    path.write_bytes(padded(png, 0))
    before = load(f"set={folder}")
    overwrite(path, padded(png, 1), rename=rename)
    after = load(f"set={folder}")
    assert before.digests[0] != after.digests[0]
    assert before.digests[1:] == after.digests[1:]
    assert before.fingerprint != after.fingerprint
    overwrite(path, padded(png, 0))
    assert load(f"set={folder}").fingerprint == before.fingerprint


def test_an_image_in_a_table_that_is_replaced_is_another_image(load, folder, png):
    write_table(folder, [["file", "label"], ["cat/a.png", "cat"]])
    path = folder / "cat" / "a.png"
    path.write_bytes(padded(png, 0))
    before = load(f"set={folder}?table=labels.csv")
    overwrite(path, padded(png, 1))
    assert load(f"set={folder}?table=labels.csv").digests != before.digests


@pytest.mark.parametrize("paths", ["absolute", "relative to the table"])
def test_a_file_that_parquet_names_is_known_by_its_content(load, tmp_path, folder, png, paths):
    path = folder / "cat" / "a.png"
    path.write_bytes(padded(png, 0))
    name = str(path) if paths == "absolute" else "cat/a.png"
    write_parquet(folder / "set.parquet", {"image": [name, {"bytes": None, "path": name}][:1], "label": ["cat"]})
    option = f"set={folder}/set.parquet"
    before = load(option)
    assert before.read(0) == padded(png, 0)
    overwrite(path, padded(png, 1))
    after = load(option)
    assert after.digests != before.digests
    assert after.read(0) == padded(png, 1)


@pytest.mark.parametrize("rename", [False, True])
@pytest.mark.parametrize("keep_cache", [True, False])
def test_parquet_that_is_replaced_is_read_again(load, tmp_path, png, rename, keep_cache):
    path = tmp_path / "set.parquet"
    options = {} if keep_cache else {"cache_dir": None}
    content = []
    for seed in (0, 1):
        write_parquet(path, {"image": [padded(png, seed)], "label": ["cat"]})
        content.append(path.read_bytes())
    size = max(map(len, content))
    if len(content[0]) != len(content[1]):
        pytest.skip(f"Parquet of other sizes: {size}")
    path.write_bytes(content[0])
    before = load(f"set={path}", **options)
    overwrite(path, content[1], rename=rename)
    after = load(f"set={path}", **options)
    assert after.digests != before.digests
    assert after.read(0) == padded(png, 1)


def test_a_tar_that_is_replaced_is_read_again(load, tmp_path, png):
    path = tmp_path / "a.tar"
    (tmp_path / "classnames.txt").write_text("cat\n")
    write_tar(path, {"a.png": padded(png, 1), "a.cls": b"0"})
    second = path.read_bytes()
    write_tar(path, {"a.png": padded(png, 0), "a.cls": b"0"})
    before = load(f"set={path}")
    overwrite(path, second)
    assert load(f"set={path}").digests != before.digests


def test_captioned_images_that_are_replaced_are_others(tmp_path, png):
    path = tmp_path / "a.png"
    path.write_bytes(padded(png, 0))
    (tmp_path / "captions.csv").write_text("image,caption\na.png,a cat\n")
    entry = parse_data_option(f"set={tmp_path}")
    before = load_caption_set(entry, cache_dir=tmp_path / "cache")
    overwrite(path, padded(png, 1))
    assert load_caption_set(entry, cache_dir=tmp_path / "cache").fingerprint != before.fingerprint


def test_depth_that_is_replaced_is_another_map(load, tmp_path, png):
    columns = {"image": [png(0)], "label": ["cat"], "depth": [padded(png, 0)]}
    path = tmp_path / "set.parquet"
    write_parquet(path, columns | {"depth": [padded(png, 1)]})
    second = path.read_bytes()
    write_parquet(path, columns)
    before = load(f"set={path}").depths.digests
    if len(second) == path.stat().st_size:
        overwrite(path, second)
        assert load(f"set={path}").depths.digests != before


def test_what_does_not_match_is_forgotten(load, folder, tmp_path):
    load(f"set={folder}")
    (memory,) = (tmp_path / "cache" / "digests").iterdir()
    before = memory.read_text()
    (folder / "cat" / "a.png").write_bytes(b"x")
    load(f"set={folder}")
    assert sum(line.count("a.png|") for line in memory.read_text().splitlines()) == 1
    assert memory.read_text() != before
