"""Class folders: what cannot be read is an error, and what is not data is not read."""

from __future__ import annotations

import os

import pytest
from stored import write_files, write_parquet, write_tar

from pytest_clip_robust.errors import DataError


@pytest.fixture
def tree(tmp_path, png):
    """Write images by relative path."""

    def write(*names, **files):
        return write_files(tmp_path / "photos", {name: png(i) for i, name in enumerate(names)} | files)

    return write


def test_an_empty_class_folder_stays_a_class(load, tree):
    root = tree("cat/a.png", "dog/b.png")
    (root / "bird").mkdir()
    (root / "emu").mkdir()
    found = load(f"set={root}")
    assert found.class_names == ("bird", "cat", "dog", "emu")
    assert found.labels.tolist() == [1, 2]
    assert "class folders without images: 2, such as 'bird'; they count as classes without images" in found.remarks[0]
    assert load(f"set={root}?exclude=bird,emu").class_names == ("cat", "dog")
    assert load(f"set={root}?subset=present").class_names == ("cat", "dog")


def test_a_folder_of_texts_is_not_a_class(load, tree):
    root = tree("cat/a.png", "dog/b.png", **{"annotations/cat.xml": "<x/>", "README": "photos"})
    assert load(f"set={root}").class_names == ("cat", "dog")


def test_a_class_folder_of_other_files_is_refused(load, tree):
    root = tree("cat/a.png", **{"dog/b.jpg.crdownload": "x"})
    with pytest.raises(DataError, match=r"folder 'dog' has no image, only files such as 'b\.jpg\.crdownload'"):
        load(f"set={root}")


def test_a_file_that_is_not_read_is_named(load, tree):
    root = tree("cat/a.png", **{"cat/b.jpg.part": "x"})
    assert load(f"set={root}").remarks == ("data set 'set': 1 files are not read as images, such as 'cat/b.jpg.part'",)


@pytest.mark.parametrize("prompted", [True, False])
@pytest.mark.parametrize("names", [["cat/a.png", "dog/b.heic"], ["cat/a.heic"], ["cat/a.png", "cat/b.CR2"]])
def test_a_format_that_pillow_cannot_read_is_refused(load, tree, names, prompted):
    root = tree(*names)
    with pytest.raises(DataError, match=rf"1 of {len(names)} images are in a format that Pillow cannot read here"):
        load(f"set={root}", prompted=prompted)


@pytest.mark.parametrize("option", ["set={}", "set={}?format=cue-conflict"])
def test_links_to_missing_files_are_refused(load, tmp_path, png, option):
    root = write_files(tmp_path / "photos", {"cat/cat1-dog1.png": png(0)})
    (root / "cat" / "cat2-dog2.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(DataError, match=r"1 of 2 images are links to files that do not exist, such as 'cat/cat2-dog2"):
        load(option.format(root))


def test_links_to_files_and_folders_are_followed(load, tmp_path, tree, png):
    write_files(tmp_path / "elsewhere", {"b.png": png(9)})
    root = tree("cat/a.png")
    (root / "dog").symlink_to(tmp_path / "elsewhere")
    assert load(f"set={root}").samples == ["cat/a.png", "dog/b.png"]
    (root / "dog" / "loop").symlink_to(root)
    with pytest.raises(DataError, match="is a link to a folder that contains it"):
        load(f"set={root}")


def test_images_without_a_suffix_are_images(load, tree):
    assert load(f"set={tree('cat/ILSVRC2012_val_00000001', 'dog/b.png')}").samples[0] == "cat/ILSVRC2012_val_00000001"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_cannot_be_read_is_refused(load, tree):
    root = tree("cat/a.png", "dog/b.png")
    (root / "dog").chmod(0)
    with pytest.raises(DataError, match="cannot be read"):
        load(f"set={root}")


@pytest.mark.parametrize("prompted", [True, False])
def test_files_of_tools_are_not_data(load, tree, prompted):
    root = tree(
        *("cat/a.png", "dog/b.png", ".ipynb_checkpoints/a-checkpoint.png", "cat/.ipynb_checkpoints/a.png"),
        *("__MACOSX/cat/a.png", "cat/._a.png", "dog/@eaDir/b.png", ".cache/huggingface/x.png", "lost+found/c.png"),
        **{".cache/huggingface/x.parquet": "x", "cat/.x.tar": "x", "cat/Thumbs.db": "x"},
    )
    found = load(f"set={root}", prompted=prompted)
    assert found.samples == ["cat/a.png", "dog/b.png"]
    assert found.remarks == ()


def test_files_of_tools_are_not_shards_or_samples(load, tmp_path, png):
    root = tmp_path / "set"
    write_parquet(root / "a.parquet", {"image": [png(0)], "label": ["cat"]})
    write_files(root, {"._a.parquet": "x", ".cache/huggingface/a.parquet": "x", "@eaDir/a.parquet": "x"})
    for location in (root, f"{root}/*.parquet", f"{root}/**/*.parquet"):
        assert len(load(f"set={location}")) == 1
    members = {"a.png": png(0), "a.cls": b"0", ".ipynb_checkpoints/a.png": png(1), ".ipynb_checkpoints/a.cls": b"0"}
    write_tar(tmp_path / "wds" / "a.tar", members)
    (tmp_path / "wds" / "classnames.txt").write_text("cat\n\n")
    assert load(f"set={tmp_path}/wds").samples == ["a"]


def test_a_truncated_tar_is_refused(load, tmp_path, png):
    path = tmp_path / "a.tar"
    write_tar(path, {f"{i}.{end}": png(i) if end == "png" else b"0" for i in range(8) for end in ("png", "cls")})
    path.write_bytes(path.read_bytes()[: 512 * 20 + 100])
    with pytest.raises(DataError, match=r"a\.tar cannot be read: it is truncated or not a \.tar; copy it again"):
        load(f"set={path}?classes={tmp_path}/classes.txt")


def test_features_next_to_class_folders_do_not_decide(load, tree):
    root = tree("cat/a.png", "dog/b.png")
    write_parquet(root / "embeddings.parquet", {"file": ["a.png"], "features": [[0.1, 0.2]]})
    assert len(load(f"set={root}")) == 2


@pytest.mark.parametrize(
    ("file", "formats"),
    [("train.tar", "format=webdataset or format=imagefolder"), ("x.parquet", "format=parquet or format=imagefolder")],
)
def test_images_in_two_forms_ask_which(load, tree, png, file, formats):
    root = tree("val/cat/a.png", "val/dog/b.png")
    if file == "train.tar":
        write_tar(root / file, {"a.png": png(5), "a.cls": b"0"})
    else:
        write_parquet(root / file, {"image": [png(5)], "label": ["cat"]})
    with pytest.raises(DataError, match=rf"has images in several forms, {file} and val/cat/a\.png; add \?{formats}"):
        load(f"set={root}")
    assert len(load(f"set={root}?format=imagefolder")) == 2
    assert len(load(f"set={root}?split=val")) == 2


def test_a_table_next_to_class_folders_is_not_read(load, tree):
    text = "file_name,label\ncat/a.png,bird\n"
    assert load(f"set={tree('cat/a.png', **{'metadata.csv': text})}").class_names == ("cat",)


def test_images_next_to_a_table_name_it(load, tree):
    root = tree("a.png", **{"metadata.csv": "file_name,label\na.png,bird\n"})
    with pytest.raises(DataError, match=r"is not in a class folder; .* name the table with \?table=metadata\.csv"):
        load(f"set={root}")
    assert load(f"set={root}?table=metadata.csv").class_names == ("bird",)


def test_a_cache_folder_of_the_hub_is_refused(load, tmp_path, png):
    root = write_files(tmp_path / "datasets--a--b", {"blobs/0f": png(0), "snapshots/12/cat/a.png": png(0)})
    with pytest.raises(DataError, match=r"is a cache folder of the hub.*; give one, such as .*/snapshots/12"):
        load(f"set={root}")
    assert len(load(f"set={root}/snapshots/12")) == 1


def test_two_folders_of_one_name_ask_which_classes(load, tree, tmp_path):
    root = tree("church/outdoor/a.png", "apartment/outdoor/b.png", "church/indoor/c.png")
    with pytest.raises(DataError, match="'apartment/outdoor' and 'church/outdoor' could be one class or two"):
        load(f"set={root}")
    (tmp_path / "two.txt").write_text(
        "apartment/outdoor\tapartment outdoor\nchurch/outdoor\tchurch\nchurch/indoor\tnave\n"
    )
    assert load(f"set={root}?classes={tmp_path}/two.txt").labels.tolist() == [0, 2, 1]
    (tmp_path / "one.txt").write_text("indoor\noutdoor\n")
    assert load(f"set={root}?classes={tmp_path}/one.txt").labels.tolist() == [1, 0, 1]
    assert len(load(f"set={root}", prompted=False).class_names) == 3


def test_nested_classes_go_by_their_own_names_and_say_so(load, tree):
    found = load(f"set={tree('animals/cat/a.png', 'cars/van/b.png')}")
    assert found.class_names == ("cat", "van")
    assert "named by their innermost folders, such as 'cat' for 'animals/cat'" in found.remarks[0]
    assert load(f"set={tree('photos/cat/a.png')}/photos").remarks == ()


def test_a_class_in_a_class_is_refused(load, tree):
    with pytest.raises(DataError, match="folder 'cat' has images and a folder of images 'cat/thumbs'"):
        load(f"set={tree('cat/a.png', 'cat/thumbs/a.png', 'dog/b.png')}")
    assert load(f"set={tree('cat/a.png')}?exclude=thumbs").class_names == ("cat", "dog")


def test_the_folder_of_depth_maps_is_not_a_class(load, tree):
    root = tree("cat/a.png", "depth/cat/a.png")
    found = load(f"set={root}?depth={root}/depth")
    assert found.samples == ["cat/a.png"]
    assert found.depths is not None


def test_classes_can_be_left_out(load, tree, tmp_path):
    root = tree("BACKGROUND_Google/a.heic", "cat/b.png", "dog/c.png")
    found = load(f"set={root}?exclude=BACKGROUND_Google")
    assert found.class_ids == ("cat", "dog")
    with pytest.raises(DataError, match=r"exclude has 'BACKGROUND_Googel', .* \(did you mean 'BACKGROUND_Google'\?\)"):
        load(f"set={root}?exclude=BACKGROUND_Googel")
    with pytest.raises(DataError, match="no images in"):
        load(f"set={root}?exclude=BACKGROUND_Google,cat,dog")
    (tmp_path / "classes.txt").write_text("dog\ncat\nbird\n")
    listed = load(f"set={root}?exclude=BACKGROUND_Google,bird&classes={tmp_path}/classes.txt")
    assert listed.class_ids == ("dog", "cat")
    assert listed.labels.tolist() == [1, 0]


def test_folders_of_other_splits_that_a_list_joins_are_named(load, tree, tmp_path):
    root = tree("one/cat/a.png", "two/cat/b.png")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    found = load(f"set={root}?classes={tmp_path}/classes.txt")
    assert "folders 'one/cat' and 'two/cat' are both read as class 'cat'; give the location" in found.remarks[0]


def test_folders_without_images_are_named(load, tree):
    root = tree("animals/cat/a.png", "cars/van/b.png", **{"cars/bus/urls.txt": "x"})
    for empty in ("animals/dog", "boats", "cars/van/old", "planes/jet/old"):
        (root / empty).mkdir(parents=True)
    found = load(f"set={root}")
    assert found.class_names == ("cat", "dog", "jet", "van")
    assert "class folders without images: 2, such as 'animals/dog'" in found.remarks[0]
    assert "folders without images that are not classes: 2, such as 'boats'" in found.remarks[1]


def test_a_cache_of_the_hub_below_a_folder_is_not_data(load, tree):
    assert (
        len(load(f"set={tree('cat/a.png', 'hub/datasets--a--b/blobs/0f', 'hub/datasets--a--b/snapshots/1/c/a.png')}"))
        == 1
    )


@pytest.mark.parametrize("location", ["{}", "{}/*.parquet"])
def test_a_missing_shard_is_named(load, tmp_path, png, location):
    for name in ("train-00001-of-00002", "test-00000-of-00003", "test-00002-of-00003"):
        write_parquet(tmp_path / "set" / f"{name}.parquet", {"image": [png(0)], "label": ["cat"]})
    option = location.format(tmp_path / "set")
    with pytest.raises(DataError, match=r"1 of 3 shards are missing, such as 'test-00001-of-00003'"):
        load(f"set={option}")
    write_parquet(tmp_path / "set" / "test-00001-of-00003.parquet", {"image": [png(0)], "label": ["cat"]})
    assert len(load(f"set={option}")) == 3
    assert len(load(f"set={tmp_path}/set/test-00002-of-00003.parquet")) == 1
