"""Hard pairs in the layouts of SugarCrepe, ARO, Winoground and the showroom, and what is wrong with them."""

from __future__ import annotations

import io
import json
import pickle
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pytest_clip_robust.datasets.captions.captions import load_caption_set
from pytest_clip_robust.datasets.captions.contrast_set import ContrastSet, MatchSet
from pytest_clip_robust.datasets.captions.contrasts import load_contrast_set
from pytest_clip_robust.datasets.captions.pair_records import canonical_kind
from pytest_clip_robust.datasets.captions.word_order import PUNCTUATION, other_orders, word_order_set
from pytest_clip_robust.datasets.entry import parse_data_option
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.properties.composition import KINDS


@pytest.fixture
def pairs(tmp_path):
    """Load a set as ``--clip-data`` names it."""

    def read(option):
        return load_contrast_set(parse_data_option(str(option)), cache_dir=tmp_path / "cache")

    return read


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def listing(found):
    """Say each item in words: image, kind, true caption, false captions."""
    return [
        (
            found.images.samples[image],
            kind,
            found.texts[true],
            [found.texts[text] for text in found.false_of[found.false_items == i]],
        )
        for i, (image, kind, true) in enumerate(zip(found.image_of, found.kinds, found.true_of, strict=True))
    ]


CREPE = {"filename": "a.png", "caption": "a cat", "negative_caption": "a dog"}


def test_sugarcrepe_is_a_folder_of_files_or_one_file_of_parts(pairs, photos, tmp_path):
    write(tmp_path / "crepe" / "replace_obj.json", {"0": CREPE, "1": {**CREPE, "filename": "b.png"}})
    write(tmp_path / "crepe" / "swap_att.json", {"0": {**CREPE, "negative_caption": "cat a"}})
    expected = [
        ("a.png", "replace_object", "a cat", ["a dog"]),
        ("b.png", "replace_object", "a cat", ["a dog"]),
        ("a.png", "swap_attribute", "a cat", ["cat a"]),
    ]
    for table in (tmp_path / "crepe", tmp_path / "crepe" / "*.json"):
        found = pairs(f"crepe={photos}?table={table}")
        assert listing(found) == expected
        assert list(found.samples) == ["a.png#replace_object0", "b.png#replace_object0", "a.png#swap_attribute0"]
    parts = {
        "replace_obj": [CREPE, {**CREPE, "filename": "b.png"}],
        "swap_att": [{**CREPE, "negative_caption": "cat a"}],
    }
    write(photos / "parts.json", parts)
    assert listing(pairs(f"crepe={photos}?table=parts.json")) == expected
    assert listing(pairs(f"crepe={photos / 'parts.json'}")) == expected


def test_aro_cuts_boxes_out_of_images(pairs, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    folder = tmp_path / "aro"
    (folder / "images").mkdir(parents=True)
    Image.fromarray(pixels).save(folder / "images" / "1.png")
    item = {"image_path": "1.png", "true_caption": "the cat is on the mat", "false_caption": "the mat is on the cat"}
    box = {"bbox_x": 4, "bbox_y": 2, "bbox_w": 10, "bbox_h": 5}
    write(folder / "visual_genome_relation.json", [item | box, item | box | {"bbox_x": 5}, item | box])
    found = pairs(f"aro={folder}?table=visual_genome_relation.json")
    assert found.kinds == ["relation"] * 3
    assert found.image_of.tolist() == [0, 1, 0]
    assert list(found.images.samples) == ["1.png[4, 2, 14, 7]", "1.png[5, 2, 15, 7]"]
    read = pickle.loads(pickle.dumps(found.images.read))
    for position, left in ((0, 4), (1, 5)):
        part = Image.open(io.BytesIO(read(position))).convert("RGB")
        assert (np.asarray(part) == pixels[2:7, left : left + 10]).all()
    write(folder / "visual_genome_attribution.json", [item, item | box])
    found = pairs(f"aro={folder}?table=visual_genome_attribution.json")
    assert list(found.images.samples) == ["1.png", "1.png[4, 2, 14, 7]"]
    assert found.kinds == ["attribution"] * 2
    write(folder / "bad.json", [item | box | {"bbox_w": 0}])
    with pytest.raises(DataError, match=r"entry 0: box \[4, 2, 0, 5\]; expected x, y, width, height"):
        pairs(f"aro={folder}?table=bad.json")


def test_an_item_must_beat_all_its_false_captions_unless_each_has_a_kind(pairs, photos):
    one = {"image": "a.png", "caption": "a", "negatives": ["b", "c"]}
    write(
        photos / "coco_order.json",
        [one, {**one, "image": "b.png", "negative_kinds": ["swapped attribute", "added object"]}],
    )
    assert listing(pairs(f"set={photos}?table=coco_order.json")) == [
        ("a.png", "order", "a", ["b", "c"]),
        ("b.png", "swap_attribute", "a", ["b"]),
        ("b.png", "add_object", "a", ["c"]),
    ]


WINO = {"caption_0": "some plants around a bulb", "caption_1": "a bulb around some plants", "tag": "Object"}


def test_winoground_is_lines_beside_images_or_a_table(pairs, photos, tmp_path, png):
    import datasets

    (photos / "images").mkdir()
    for name in ("a", "b"):
        (photos / f"{name}.png").rename(photos / "images" / f"{name}.png")
    line = json.dumps({"id": 0, "image_0": "a", "image_1": "b", **WINO})
    (photos / "examples.jsonl").write_text(f"{line}\n\n{line}\n")
    listed = pairs(f"wino={photos}")
    columns = {f"image_{i}": [{"bytes": png(i), "path": None}] * 2 for i in (0, 1)}
    found = datasets.Dataset.from_dict(columns | {key: [value] * 2 for key, value in WINO.items()})
    for column in columns:
        found = found.cast_column(column, datasets.Image(decode=False))
    found.to_parquet(tmp_path / "wino.parquet")
    for got in (listed, pairs(f"wino={tmp_path / 'wino.parquet'}")):
        assert isinstance(got, MatchSet)
        assert got.image_of.tolist() == [[0, 1]] * 2
        assert got.text_of.tolist() == [[0, 1]] * 2
        assert list(got.texts) == [WINO["caption_0"], WINO["caption_1"]]
        assert got.kinds == ["object"] * 2
        assert pickle.loads(pickle.dumps(got.images.read))(1) == png(1)
        assert got.images.digests == listed.images.digests


def test_tables_have_an_image_a_row(pairs, tmp_path, png):
    import datasets

    rows = {"image": [{"bytes": png(0), "path": None}] * 2, "caption": ["a", "b"], "negative_caption": ["c", "d"]}
    datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image(decode=False)).to_parquet(
        tmp_path / "t.parquet"
    )
    found = pairs(f"set={tmp_path / 't.parquet'}")
    assert listing(found) == [("row 0", "all", "a", ["c"]), ("row 0", "all", "b", ["d"])]
    assert len(found.images) == 1  # equal pictures are one


def test_the_showroom_s_negatives(pairs):
    found = pairs("set=showroom:captions")
    assert isinstance(found, ContrastSet)
    assert Counter(found.kinds) == {"replace_object": 120, "add_object": 120, "swap_attribute": 80, "swap_relation": 80}
    assert set(found.kinds) < set(KINDS)
    assert len(found.images) == 120
    assert len(set(found.samples)) == 400


def test_the_real_subset_of_sugarcrepe(pairs, shared):
    found = pairs(f"set={shared / 'data' / 'coco_239'}?table=sugarcrepe_subset.json")
    assert len(found.samples) == 211
    assert set(found.kinds) == {
        *("add_attribute", "add_object", "replace_attribute", "replace_object", "replace_relation"),
        *("swap_attribute", "swap_object"),
    }
    assert set(found.kinds) < set(KINDS)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({**CREPE, "negative_caption": "a cat"}, r"entry 0: the false caption 'a cat' is the true one"),
        ({**CREPE, "negative_caption": ""}, r"entry 0: the false caption: caption 0 is empty"),
        ({"filename": "a.png", "caption": "a cat"}, r"entry 0: the false caption has no caption"),
        ({"filename": "a.png", "negative_caption": "a"}, r"entry 0: the true caption has no caption"),
        ({**CREPE, "filename": "c.png"}, r"entry 0: no image c\.png in "),
        ({**CREPE, "negatives": ["x", "y"], "negative_kinds": ["z"]}, r"entry 0: 1 kinds for 2 false captions"),
        ({"image_0": "a.png", "image_1": "c.png", **WINO}, r"entry 0: no image c\.png in "),
        ({"image_0": "a.png", "image_1": "b.png", "caption_0": "x"}, r"entry 0: caption_1 has no caption"),
        (
            {"image_0": "a.png", "image_1": "b.png", "caption_0": "x", "caption_1": "x"},
            "entry 0: both captions are 'x'",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(pairs, photos, item, message):
    write(photos / "t.json", [item])
    with pytest.raises(DataError, match=message) as caught:
        pairs(f"set={photos}?table=t.json")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("data set 'set': ")


def test_a_table_without_captions_is_named(pairs, tmp_path, png):
    import datasets

    found = datasets.Dataset.from_dict({"image": [{"bytes": png(0), "path": None}], "words": ["a"]})
    found.cast_column("image", datasets.Image(decode=False)).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match="no column holds captions; it has image, words"):
        pairs(f"set={tmp_path / 't.parquet'}")


def test_an_image_that_is_none_is_named(pairs, photos):
    (photos / "a.png").write_bytes(b"no image")
    write(photos / "t.json", [CREPE | {"bbox_x": 0, "bbox_y": 0, "bbox_w": 2, "bbox_h": 2}])
    with pytest.raises(DataError, match=r"image 'a\.png\[0, 0, 2, 2\]' cannot be read"):
        pairs(f"set={photos}?table=t.json")


def test_kinds_have_one_name_each():
    assert canonical_kind("Swapped attribute") == canonical_kind("swap-att") == "swap_attribute"
    assert canonical_kind("flickr30k_order") == "order"
    assert canonical_kind("relation") == "relation"
    assert canonical_kind("swap_rel") == "swap_relation"


@given(st.lists(st.text("abc", min_size=1, max_size=3), max_size=12))
def test_other_orders_have_the_same_words_and_are_others(words):
    orders = other_orders(words)
    assert orders == other_orders(words)
    assert len(orders) == len(set(orders)) <= 3
    for text in orders:
        assert sorted(text.split()) == sorted(words)
        assert text.split() != words
    assert bool(orders) == (len(set(words)) > 1)


def test_word_order_takes_the_first_caption_of_every_image_without_its_punctuation(photos):
    content = {"a.png": ["A man, on a Horse.", "second"], "b.png": ["Nothing"]}
    write(photos / "captions.json", content)
    found = word_order_set(load_caption_set(parse_data_option(f"set={photos}")))
    assert [found.texts[i] for i in found.true_of] == ["a man on a horse"]
    assert list(found.samples) == ["a.png"]
    assert found.kinds == ["order"]
    assert all(not PUNCTUATION.search(text) and text == text.lower() for text in found.texts)
    write(photos / "captions.json", {"a.png": ["Nothing"], "b.png": ["ha ha"]})
    with pytest.raises(DataError, match="data set 'set': no caption has words in another order"):
        word_order_set(load_caption_set(parse_data_option(f"set={photos}")))
