"""Captioned images in every layout that public sets come in, and what is wrong with them."""

from __future__ import annotations

import csv
import io
import json
import tarfile
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.datasets.captions.captions import load_caption_set, texts_in
from pytest_clip_robust.datasets.entry import DataEntry, parse_data_option
from pytest_clip_robust.errors import ConfigError, DataError

TWO = {"a.png": ["a red thing", "something red"], "b.png": ["a blue thing"]}


@pytest.fixture
def captions(tmp_path):
    """Load a set as ``--clip-data`` names it."""

    def read(option, **keywords):
        return load_caption_set(parse_data_option(str(option)), **{"cache_dir": tmp_path / "cache"} | keywords)

    return read


@pytest.fixture
def photos(tmp_path, png):
    """Write images into a folder; equal numbers are equal pictures."""

    def write(files=None, folder="photos"):
        root = tmp_path / folder
        for name, seed in (files or {"a.png": 1, "b.png": 2}).items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(seed))
        return root

    return write


def listing(found):
    """Say which captions each image has."""
    texts = {name: [] for name in found.images.samples}
    for image, caption in found.pairs.tolist():
        texts[found.images.samples[image]].append(found.captions[caption])
    return texts


def karpathy(split="test"):
    sentences = [[{"raw": text, "tokens": text.split()} for text in texts] for texts in TWO.values()]
    return {
        "dataset": "coco",
        "images": [
            {"filepath": "val", "filename": name, "split": split, "sentences": of_image}
            for name, of_image in zip(TWO, sentences, strict=True)
        ]
        + [{"filepath": "train", "filename": "gone.png", "split": "train", "sentences": [{"raw": "not there"}]}],
    }


LISTINGS = {
    "an object of lists": {"a.png": TWO["a.png"], "b.png": TWO["b.png"]},
    "an object of records": {name: {"captions": texts, "licence": 4} for name, texts in TWO.items()},
    "one caption as a text": {"a.png": TWO["a.png"], "b.png": "a blue thing"},
    "a list of images": [{"image": name, "caption": texts} for name, texts in TWO.items()],
    "a list of captions": [{"image": name, "caption": text} for name, texts in TWO.items() for text in texts],
    "COCO's own": {
        "images": [{"id": 7, "file_name": "a.png"}, {"id": 3, "file_name": "b.png"}],
        "annotations": [
            {"image_id": 7, "caption": "a red thing"},
            {"image_id": 3, "caption": "a blue thing"},
            {"image_id": 7, "caption": "something red"},
        ],
    },
}


@pytest.mark.parametrize("name", LISTINGS)
def test_json_listings(captions, photos, name):
    root = photos()
    (root / "captions.json").write_text(json.dumps(LISTINGS[name]))
    assert listing(captions(f"set={root}")) == TWO
    (root / "captions.json").rename(root.parent / "elsewhere.json")
    assert listing(captions(f"set={root}?table=../elsewhere.json")) == TWO


def test_karpathy_s_files_are_read_by_split_and_test_is_the_default(captions, photos):
    root = photos({"val/a.png": 1, "val/b.png": 2})
    path = root / "dataset_coco.json"
    path.write_text(json.dumps(karpathy()))
    expected = {f"val/{name}": texts for name, texts in TWO.items()}
    assert listing(captions(f"coco={root}?table=dataset_coco.json")) == expected
    assert listing(captions(f"coco={path}")) == expected
    with pytest.raises(DataError, match=r"no split 'tests' \(did you mean 'test'\?\); .* has test, train"):
        captions(f"coco={path}?split=tests")
    with pytest.raises(DataError, match=r"image 2: no image train/gone\.png in "):
        captions(f"coco={path}?split=train")


def test_images_may_lie_without_the_folders_of_the_listing_or_in_a_folder_called_images(captions, photos):
    root = photos()
    (root / "dataset.json").write_text(json.dumps(karpathy()))
    assert len(captions(f"coco={root}?table=dataset.json").images) == 2
    inner = photos(folder="outer/images")
    (inner.parent / "captions.json").write_text(json.dumps(TWO))
    assert listing(captions(f"set={inner.parent}")) == TWO


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("captions.csv", "image,caption\na.png,a red thing\na.png,something red\nb.png,a blue thing\n"),
        (
            "results.csv",
            (
                "image_name| comment_number| comment\na.png| 0| a red thing\na.png| 1| something red\nb.png| 0| a blue "
                "thing\n"
            ),
        ),
        ("list.tsv", "filepath\ttitle\na.png\ta red thing\na.png\tsomething red\nb.png\ta blue thing\n"),
        (
            "annotations.csv",
            (
                'raw,split,filename\n"[""a red thing"", ""something red""]",test,a.png\n'
                '"[""a blue thing""]",test,b.png\n'
                '"[""left out""]",train,c.png\n'
            ),
        ),
    ],
    ids=["commas", "Flickr30k's pipes", "open_clip's tabs", "Flickr30k's lists"],
)
def test_csv_listings(captions, photos, name, text):
    root = photos()
    (root / name).write_text(text)
    more = "&image=filepath" if name == "list.tsv" else ""
    assert listing(captions(f"set={root}?table={name}{more}")) == TWO


def test_columns_can_be_named(captions, photos):
    root = photos()
    with (root / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["bild", "text", "satz"], ["a.png", "wrong", "right"], ["b.png", "wrong", "also"]])
    assert listing(captions(f"set={root}?table=t.csv&image=bild&caption=satz")) == {
        "a.png": ["right"],
        "b.png": ["also"],
    }


def test_webdataset_shards_have_a_file_of_lines_beside_each_image(captions, tmp_path, png):
    path = tmp_path / "shards" / "0.tar"
    path.parent.mkdir()
    with tarfile.open(path, "w") as tar:
        for i, texts in enumerate(TWO.values()):
            for ending, content in ((".png", png(i)), (".txt", "\n".join(texts).encode() + b"\n")):
                info = tarfile.TarInfo(f"s{i}{ending}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    assert listing(captions(f"set={path.parent}")) == {"s0": TWO["a.png"], "s1": TWO["b.png"]}
    assert captions(f"set={path}").images.read(1) == png(1)


def test_parquet_has_a_column_of_lists_or_of_texts(captions, tmp_path, png):
    import datasets

    images = [{"bytes": png(i), "path": name} for i, name in enumerate(TWO)]
    for column, values in (("captions", list(TWO.values())), ("caption", ["one", "other"])):
        found = datasets.Dataset.from_dict({"image": images, column: values})
        path = tmp_path / f"{column}.parquet"
        found.cast_column("image", datasets.Image(decode=False)).to_parquet(path)
        got = captions(f"set={path}")
        assert sorted(got.captions) == sorted(
            text for value in values for text in ([value] if column == "caption" else value)
        )
        assert got.images.read(0) == png(0)


def test_what_is_there_twice_is_apart_or_together(captions, photos):
    root = photos({"a.png": 1, "b.png": 2, "again.png": 1})
    (root / "captions.json").write_text(json.dumps({"a.png": ["x", "y"], "b.png": ["x"], "again.png": ["z"]}))
    apart = captions(f"set={root}")
    assert (len(apart.images), list(apart.captions)) == (3, ["x", "y", "x", "z"])
    assert apart.pairs.tolist() == [[0, 0], [0, 1], [1, 2], [2, 3]]
    assert [remark.partition(":")[2] for remark in apart.remarks] == [
        (
            " 1 images are equal to another one, such as 'again.png' and 'a.png': each counts separately; "
            "duplicates=together counts them as one"
        ),
        (
            " 2 captions are listed for several images, such as 'x': each counts for its own image; "
            "duplicates=together counts it for all of them"
        ),
    ]
    together = captions(f"set={root}?duplicates=together")
    assert (list(together.images.samples), list(together.captions)) == (["a.png", "b.png"], ["x", "y", "z"])
    assert together.pairs.tolist() == [[0, 0], [0, 1], [0, 2], [1, 0]]
    assert together.remarks == ()
    assert together.fingerprint != apart.fingerprint
    with pytest.raises(ConfigError, match="duplicates='both'; expected one of apart, together"):
        captions(f"set={root}?duplicates=both")


def test_a_set_with_other_captions_or_other_pairs_is_another_set(captions, photos):
    root = photos()
    prints = set()
    for content in (
        TWO,
        {"a.png": ["a red thing"], "b.png": ["something red", "a blue thing"]},
        {"a.png": ["a"], "b.png": ["b"]},
    ):
        (root / "captions.json").write_text(json.dumps(content))
        prints.add(captions(f"set={root}").fingerprint)
    assert len(prints) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a.png": []}, r"entry 'a\.png': image a\.png has no caption"),
        ({"a.png": ["fine", "  "]}, r"image a\.png: caption 1 is empty"),
        ({"a.png": ["fine", 3]}, r"image a\.png: caption 1 is 3; expected a text"),
        ({"c.png": ["fine"]}, r"no image c\.png in "),
        ([{"image": "a.png"}], r"entry 0: image a\.png has no caption"),
        ([{"caption": "fine"}], r"entry 0: image None; expected the name of an image file"),
        (["a.png"], r"entry 0: 'a\.png'; expected an object with an image and captions"),
        ("words", r"'words' is neither a list nor an object of captions"),
        ({}, "no entries in "),
        (
            {"images": [{"id": 1, "file_name": "a.png"}], "annotations": [{"image_id": 2, "caption": "lost"}]},
            r"caption 'lost' belongs to image 2, which is not listed",
        ),
        (
            {"images": [{"id": 1, "file_name": "a.png"}], "annotations": []},
            r"image 0: image a\.png has no caption",
        ),
        ({"images": [{"file_name": "a.png"}], "annotations": []}, r"an entry lacks 'id'; expected COCO's"),
        ({"images": [{"filename": "a.png", "sentences": []}]}, r"image 0: image a\.png has no caption"),
    ],
)
def test_what_is_wrong_with_a_listing_is_said_in_one_line(captions, photos, content, message):
    root = photos()
    (root / "captions.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=message) as caught:
        captions(f"set={root}")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("data set 'set': ")


def test_what_is_wrong_with_a_location_is_said_in_one_line(captions, photos, tmp_path, png):
    root = photos()
    for entry in (DataEntry(name="set"), DataEntry(name="set", table="captions.json")):
        with pytest.raises(DataError, match="data set 'set' has no location; give one with --clip-data set=/path"):
            load_caption_set(entry)
    with pytest.raises(DataError, match=r"has neither \.parquet nor \.tar files; name the listing of its images with"):
        captions(f"set={root}")
    with pytest.raises(DataError, match=r"no listing captions\.json in "):
        captions(f"set={root}?table=captions.json")
    (root / "captions.json").write_text('{"a.png": ["cut')
    with pytest.raises(DataError, match=r"captions\.json: .*; expected JSON"):
        captions(f"set={root}")
    (root / "captions.json").write_text(json.dumps(TWO))
    (root / "b.png").unlink()
    with pytest.raises(DataError, match=r"entry 'b\.png': no image b\.png in "):
        captions(f"set={root}")
    (root / "t.csv").write_text("image_name| comment\na.png 0 the pipe is missing\n")
    with pytest.raises(DataError, match=r"t\.csv, line 2: 1 values under a header of 2 columns, separated by '\|'"):
        captions(f"set={root}?table=t.csv")
    import datasets

    found = datasets.Dataset.from_dict({"image": [{"bytes": png(0), "path": None}], "sorted": [1]})
    found.cast_column("image", datasets.Image(decode=False)).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match="no column looks like captions; it has image, sorted; name one with"):
        captions(f"set={tmp_path / 't.parquet'}")
    with pytest.raises(DataError, match="no column 'sort'"):
        captions(f"set={tmp_path / 't.parquet'}?caption=sort")


@given(st.lists(st.text(min_size=1).filter(lambda text: text.strip() and not text.startswith("[")), min_size=1))
def test_texts_come_in_any_of_their_forms(texts):
    expected = [unicodedata.normalize("NFC", text.strip()) for text in texts]
    for value in (texts, [{"raw": text} for text in texts], {"captions": texts}, json.dumps(texts)):
        assert texts_in(value, "here") == expected


def test_coco_239_and_the_showroom(captions, shared):
    found = captions(f"coco={shared / 'data' / 'coco_239'}")
    assert (len(found.images), len(found.captions), found.pairs.shape) == (239, 1195, (1195, 2))
    assert found.remarks == ("data set 'coco': reads all splits: train2017, val2017; ?split=NAME reads one of them",)
    assert captions(f"coco={shared / 'data' / 'coco_239'}?split=val2017").pairs[:, 0].max() + 1 == 159


def test_the_showroom_s_captions_are_true_of_every_scene_that_has_them(captions):
    apart, together = captions("set=showroom:captions"), captions("set=showroom:captions?duplicates=together")
    assert (len(apart.captions), len(together.captions)) == (600, 592)
    assert len(apart.pairs) == len(together.pairs) == 600
    assert np.bincount(together.pairs[:, 1]).max() > 1
    assert "15 captions are listed for several images" in apart.remarks[0]


def test_captions_between_bars_keep_their_quotes(captions, photos):
    root = photos()
    lines = ["image_name| comment_number| comment", 'a.png| 0| "Stop , says the sign .', 'a.png| 1| Two 12" rulers .']
    (root / "results.csv").write_text("\n".join([*lines, 'b.png| 0| A man says " hi " .', ""]))
    assert listing(captions(f"set={root}")) == {
        "a.png": ['"Stop , says the sign .', 'Two 12" rulers .'],
        "b.png": ['A man says " hi " .'],
    }


@pytest.mark.parametrize("end", ["csv", "tsv", "txt"])
def test_captions_in_stray_quotes_are_not_joined(captions, photos, end):
    root = photos()
    delimiter = "\t" if end == "tsv" else ","
    lines = [("image", "caption"), ("a.png", '"A cat'), ("a.png", "A dog"), ("b.png", 'and "two"')]
    (root / f"list.{end}").write_text("".join(f"{delimiter.join(line)}\n" for line in lines))
    assert len(captions(f"set={root}?table=list.{end}").captions) == 3


def test_a_caption_with_an_unquoted_comma_is_refused(captions, photos):
    root = photos()
    (root / "captions.csv").write_text("image,caption\na.png,A cat, asleep\nb.png,A dog\n")
    with pytest.raises(DataError, match=r"captions\.csv, line 2: 3 values under a header of 2 columns"):
        captions(f"set={root}")


def test_two_images_of_one_id_are_refused(captions, photos):
    root = photos()
    images = [{"id": 1, "file_name": "a.png"}, {"id": 1, "file_name": "b.png"}]
    content = {"images": images, "annotations": [{"image_id": 1, "caption": "a cat"}]}
    (root / "captions.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"id 1 is that of two images, 'a\.png' and 'b\.png'"):
        captions(f"set={root}")
    content["images"] = [images[0], dict(images[0])]
    (root / "captions.json").write_text(json.dumps(content))
    assert len(captions(f"set={root}").images) == 1


@pytest.mark.parametrize("name", ["captions.json", "lines.jsonl"])
def test_a_key_that_occurs_twice_is_refused(captions, photos, name):
    root = photos()
    text = '{"a.png": ["one"], "a.png": ["two"]}' if name == "captions.json" else '{"image": "a.png", "image": "b.png"}'
    (root / name).write_text(text)
    with pytest.raises(DataError, match=r"key '.*' occurs twice with different values; remove one"):
        captions(f"set={root}?table={name}")


def test_two_listed_images_are_not_one_file(captions, photos):
    root = photos({"1.png": 1})
    (root / "captions.json").write_text(json.dumps({"cat/1.png": ["a cat"], "dog/1.png": ["a dog"]}))
    with pytest.raises(DataError, match=r"dog/1\.png and cat/1\.png would both be .*/1\.png; give the folder"):
        captions(f"set={root}")


def test_lists_that_python_wrote_are_lists(captions, photos):
    root = photos()
    (root / "captions.csv").write_text("image\tcaption\na.png\t['one', \"two's\"]\nb.png\t[three]\n")
    assert listing(captions(f"set={root}")) == {"a.png": ["one", "two's"], "b.png": ["[three]"]}


def test_forms_of_unicode_that_look_equal_are_one_caption_and_one_file(captions, photos):
    root = photos({"cafe\u0301.png": 1})
    content = [{"image": "caf\u00e9.png", "caption": ["a cafe\u0301", "a caf\u00e9"]}]
    (root / "captions.json").write_text(json.dumps(content))
    assert captions(f"set={root}?duplicates=together").captions == ["a caf\u00e9"]


def test_a_listing_without_splits_has_none(captions, photos):
    root = photos()
    (root / "captions.json").write_text(json.dumps(TWO))
    with pytest.raises(DataError, match=r"no split 'test': no entry of .*captions\.json names a split; leave out"):
        captions(f"set={root}?split=test")


def test_a_listing_is_read_by_its_usual_split(captions, photos):
    root = photos()
    content = [
        {"image": "a.png", "caption": "one", "split": "train"},
        {"image": "b.png", "caption": "two", "split": "val"},
    ]
    (root / "captions.json").write_text(json.dumps(content))
    found = captions(f"set={root}")
    assert found.captions == ["two"]
    assert "reads the split 'val' of train, val" in found.remarks[0]
    del content[0]["split"]
    (root / "captions.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="row 0 has no 'split', but other rows have one"):
        captions(f"set={root}")


def test_a_listing_can_be_in_the_folder_of_its_split(captions, photos):
    root = photos(folder="photos/val")
    (root / "captions.json").write_text(json.dumps(TWO))
    assert len(captions(f"set={root.parent}?split=val").images) == 2


def test_hidden_listings_are_not_read(captions, photos):
    root = photos()
    (root / "lists").mkdir()
    (root / "lists" / "all.json").write_text(json.dumps(TWO))
    (root / "lists" / "._all.json").write_text("x")
    for table in ("lists", "lists/*.json"):
        assert len(captions(f"set={root}?table={table}").images) == 2


def test_captions_have_no_classes_to_leave_out(captions, photos):
    with pytest.raises(DataError, match=r"exclude=\['cat'\] leaves out classes, but captions have none"):
        captions(f"set={photos()}?exclude=cat")
