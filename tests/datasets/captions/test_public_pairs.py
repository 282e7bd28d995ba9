"""SugarCrepe++, What'sUp, NegBench and ColorSwap: small sets in exactly their published layouts."""

from __future__ import annotations

import csv
import json
import pickle

import pytest

from pytest_clip_robust.datasets.captions.contrast_set import ContrastSet, MatchSet
from pytest_clip_robust.datasets.captions.contrasts import load_contrast_set
from pytest_clip_robust.datasets.captions.spatial import side_in
from pytest_clip_robust.datasets.entry import parse_data_option
from pytest_clip_robust.errors import DataError


@pytest.fixture
def pairs(tmp_path):
    """Load a set as ``--clip-data`` names it."""

    def read(option):
        return load_contrast_set(parse_data_option(str(option)), cache_dir=tmp_path / "cache")

    return read


@pytest.fixture
def folder(tmp_path, png):
    """Return a function that makes images of the given names."""

    def make(*names):
        for seed, name in enumerate(names):
            path = tmp_path / "data" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(seed))
        return tmp_path / "data"

    return make


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def choices(found):
    """Say each item in words: image, kind, true caption, false captions."""
    return [
        (
            found.images.samples[image],
            kind,
            found.texts[true],
            [found.texts[j] for j in found.false_of[found.false_items == i]],
        )
        for i, (image, kind, true) in enumerate(zip(found.image_of, found.kinds, found.true_of, strict=True))
    ]


TRIPLET = {
    "id": 0,
    "filename": "000000331352.jpg",
    "caption": "a tan sink",
    "caption2": "a sink that is tan",
    "negative_caption": "a white sink",
}


def test_sugarcrepe_pp_has_two_true_captions_for_one_false_one(pairs, folder):
    images = folder("000000331352.jpg", "000000185250.jpg")
    second = TRIPLET | {"id": 1, "filename": "000000185250.jpg", "caption2": "a tan sink"}
    write(images / "scpp" / "replace_att.json", [TRIPLET, second])
    write(images / "scpp" / "swap_obj.json", [TRIPLET])
    found = pairs(f"scpp={images}?table=scpp")
    assert choices(found) == [
        ("000000331352.jpg", "replace_attribute", "a tan sink", ["a white sink"]),
        ("000000331352.jpg", "replace_attribute", "a sink that is tan", ["a white sink"]),
        ("000000185250.jpg", "replace_attribute", "a tan sink", ["a white sink"]),
        ("000000185250.jpg", "replace_attribute", "a tan sink", ["a white sink"]),
        ("000000331352.jpg", "swap_object", "a tan sink", ["a white sink"]),
        ("000000331352.jpg", "swap_object", "a sink that is tan", ["a white sink"]),
    ]
    assert {name: numbers.tolist() for name, numbers in found.groups.items()} == {
        "sugarcrepe_pp_image_to_text": [0, 0, 1, 1, 2, 2]
    }
    assert found.remarks == ()


def test_a_published_triplet_whose_false_caption_is_true_is_kept_as_wrong_and_named(pairs, folder):
    """Two of the 245 published records of swap_obj have one; the authors' code counts them as wrong."""
    images = folder("000000331352.jpg")
    write(images / "swap_obj.json", [TRIPLET, TRIPLET | {"negative_caption": "a tan sink"}])
    found = pairs(f"scpp={images}?table=swap_obj.json")
    assert len(found.samples) == 4
    remark = "items that count as wrong because their false caption is the true one: 1, such as 'a tan sink'"
    assert found.remarks == (f"data set 'scpp': {remark}",)


MUG = ["A mug on a table", "A mug under a table", "A mug to the left of a table", "A mug to the right of a table"]
CAP = [f"A cap {where} a can" for where in ("in front of", "behind", "to the left of", "to the right of")]
NAMES = {
    "on": "on",
    "under": "under",
    "left": "left_of",
    "right": "right_of",
    "front": "in-front_of",
    "behind": "behind",
}


def controlled(texts, objects, place):
    """Return the entries of a set of four images, with the true option first, as in the published file."""
    one, other = objects
    entries = []
    for text in texts:
        file = f"data/{place}/{one}_{NAMES[side_in(text)]}_{other}.jpeg"
        entries.append({"image_path": file, "caption_options": [text, *(t for t in texts if t != text)]})
    return entries


def test_whatsup_s_controlled_images_are_pairs_and_sets(pairs, folder):
    entries = controlled(MUG, ("mug", "table"), "controlled_images") + controlled(
        CAP, ("cap", "can"), "controlled_images"
    )
    names = [entry["image_path"].removeprefix("data/") for entry in entries]
    images = folder(*names)
    write(images / "controlled_images_dataset.json", entries)
    expected = [1, *[0] * 3]
    for location in (images, images / "controlled_images", images.parent):
        table = images / "controlled_images_dataset.json"
        found = pairs(f"a={location}?table={table}")
        assert len(found.images) == len(found.samples) == 8
        assert choices(found)[0][1:] == ("on", MUG[0], MUG[1:])
        assert list(found.kinds) == ["on", "under", "left", "right", "front", "behind", "left", "right"]
        assert found.groups["whatsup_pair"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
        assert found.groups["whatsup_set"].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
        assert [
            int(text == MUG[0]) for text in (found.texts[i] for i in (*found.true_of[:1], *found.false_of[:3]))
        ] == expected


def test_whatsup_s_images_of_coco_and_visual_genome_are_lists_with_numbers(pairs, folder):
    images = folder("val2017/000000000139.jpg", "vg_images/2370799.jpg", "val2017/000000000285.jpg")
    write(
        images / "coco_qa_two_obj.json",
        [
            [139, "A photo of a person to the left of a dog", "A photo of a person to the right of a dog"],
            [285, "A photo of a cup above a dog", "A photo of a cup below a dog"],
        ],
    )
    write(
        images / "vg_qa_one_obj.json",
        [[2370799, "A photo of a cup on the top", "A photo of a cup on the bottom"]],
    )
    found = pairs(f"coco={images / 'val2017'}?table={images / 'coco_qa_two_obj.json'}")
    assert [(one[1], len(one[3])) for one in choices(found)] == [("left", 1), ("above", 1)]
    assert found.groups == {}
    found = pairs(f"vg={images / 'vg_images'}?table={images / 'vg_qa_one_obj.json'}")
    assert choices(found) == [("2370799", "top", "A photo of a cup on the top", ["A photo of a cup on the bottom"])]


def test_relations_are_read_from_captions():
    assert [side_in(text) for text in MUG] == ["on", "under", "left", "right"]
    assert side_in("A photo of a lamp on top of a table") == "top"
    assert side_in("A photo of a bench on the right.") == "right"
    assert side_in("A button mug") == ""


QUESTION = {
    "image_path": "data/coco/images/val2017/000000397133.jpg",
    "caption_0": "There is a cat, but no dog",
    "caption_1": "There is a cat",
    "caption_2": 'A dog, in "quotes"',
    "caption_3": "No cat",
    "correct_answer": "2",
    "correct_answer_template": "positive",
}


def write_csv(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def test_negbench_s_questions_name_the_true_caption_by_number(pairs, folder):
    images = folder("000000397133.jpg", "000000037777.jpg")
    other = {"image_path": "data/coco/images/val2017/000000037777.jpg", "correct_answer": "0"}
    rows = [
        QUESTION,
        QUESTION | other | {"correct_answer_template": "hybrid"},
        QUESTION | other | {"correct_answer": 3, "correct_answer_template": "negative"},
    ]
    write_csv(images / "COCO_val_mcq_llama3.1_rephrased.csv", rows)
    found = pairs(f"neg={images}?table=COCO_val_mcq_llama3.1_rephrased.csv")
    texts = [QUESTION[f"caption_{i}"] for i in range(4)]
    coco = "data/coco/images/val2017/"
    assert choices(found) == [
        (f"{coco}000000397133.jpg", "affirmation", texts[2], [texts[0], texts[1], texts[3]]),
        (f"{coco}000000037777.jpg", "hybrid", texts[0], texts[1:]),
        (f"{coco}000000037777.jpg", "negation", texts[3], texts[:3]),
    ]


SWAP = {"id": 0, "caption_1": "a red cup, a blue hat", "caption_2": "a blue cup, a red hat"}


def test_colorswap_is_read_as_winoground(pairs, folder, tmp_path, png):
    import datasets

    names = {"image_1": "images/img_0_1.png", "image_2": "images/img_0_2.png"}
    images = folder(*names.values())
    write(images / "test.json", [SWAP | names | {"image_source": "midjourney", "caption_source": "human"}])
    listed = pairs(f"swap={images}?table=test.json")
    columns = {name: [{"bytes": png(i), "path": None}] for i, name in enumerate(names)}
    table = datasets.Dataset.from_dict(columns | {key: [value] for key, value in SWAP.items()})
    for column in columns:
        table = table.cast_column(column, datasets.Image(decode=False))
    table.to_parquet(tmp_path / "swap.parquet")
    for found in (listed, pairs(f"swap={tmp_path / 'swap.parquet'}")):
        assert isinstance(found, MatchSet)
        assert found.image_of.tolist() == [[0, 1]]
        assert [found.texts[i] for i in found.text_of[0]] == [SWAP["caption_1"], SWAP["caption_2"]]
        assert [pickle.loads(pickle.dumps(found.images.read))(i) for i in (0, 1)] == [png(0), png(1)]


NOTE = {"file_name": "a.png", "type": "SCAM", "id": "SCAM_7", "object_label": "clock", "attack_word": "taxi"}


def test_scam_has_versions_of_photographs(pairs, folder, tmp_path, png):
    import datasets

    versions = ("NoSCAM", "SCAM", "SynthSCAM")
    images = folder("images/train/a.png", "images/train/b.png", "images/train/c.png") / "images" / "train"
    lines = [
        NOTE | {"file_name": f"{letter}.png", "type": version, "id": f"{version}_7", "postit_area_pct": 3.1}
        for letter, version in zip("abc", versions, strict=True)
    ]
    (images / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    columns = {key: [line[key] for line in lines] for key in ("type", "id", "object_label", "attack_word")}
    table = datasets.Dataset.from_dict({"image": [{"bytes": png(i), "path": None} for i in range(3)], **columns})
    table.cast_column("image", datasets.Image(decode=False)).to_parquet(tmp_path / "scam.parquet")
    for found in (pairs(f"scam={images}?table=metadata.jsonl"), pairs(f"scam={tmp_path / 'scam.parquet'}")):
        assert [one[1:] for one in choices(found)] == [(version, "clock", ["taxi"]) for version in versions]
        assert found.groups["photo"].tolist() == [0, 0, 0]
        assert len(found.images) == 3


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([TRIPLET | {"caption2": ""}], "entry 0: caption2: caption 0 is empty"),
        ([TRIPLET | {"negative_caption": ["a", "b"]}], "entry 0: 2 false captions; expected one with 'caption2'"),
        (
            [TRIPLET, {key: value for key, value in TRIPLET.items() if key != "caption2"}],
            "entry 1 is not of the layout of .*entry 0; give them as two data sets",
        ),
        (
            [{"image_path": "a.png", "caption_options": ["one"]}],
            "entry 0: 1 captions to choose from; expected 2 or more",
        ),
        (
            [{"image_path": "a.png", "caption_options": ["one", "two", "one"]}],
            "entry 0: two captions to choose from are 'one'; expected different ones",
        ),
        (
            controlled(MUG, ("mug", "table"), "x")[:3],
            "0 images have the true caption 'A mug to the right of a table'; ",
        ),
        (
            [*controlled(MUG, ("mug", "table"), "x")[:3], controlled(MUG, ("mug", "table"), "x")[0]],
            "(0|2) images have the true caption 'A mug .*'; expected 1, because a set of four images has one for each",
        ),
        ([QUESTION | {"correct_answer": "4"}], "entry 0: correct_answer is '4'; expected one of 0, 1, 2, 3"),
        ([QUESTION | {"correct_answer": None}], "entry 0: correct_answer is None; expected one of 0, 1, 2, 3"),
        ([QUESTION | {"caption_1": "  "}], "entry 0: caption_1: caption 0 is empty"),
        ([QUESTION | {"caption_1": "No cat"}], "entry 0: two captions to choose from are 'No cat'; expected different"),
        ([NOTE | {"attack_word": "clock"}], "entry 0: the false caption 'clock' is the true one"),
        ([NOTE | {"object_label": None}], "entry 0: object_label has no caption"),
        ([NOTE | {"type": ""}], "entry 0: no 'type'; expected the version of the photograph, such as SCAM or NoSCAM"),
        ([[139, "one"]], r"entry 0: \"\[139, 'one'\]\"; expected an object with an image and captions"),
        ([[140, "one", "two"]], "entry 0: no image 140 in "),
        ([[True, "one", "two"]], "entry 0: image True; expected the name of an image file"),
        (
            [SWAP | {"image_1": "a.png", "image_2": "a.png", "caption_2": SWAP["caption_1"]}],
            "entry 0: both captions are 'a red cup, a blue hat'",
        ),
        ([SWAP | {"image_1": "a.png", "image_2": "lost.png"}], r"entry 0: no image lost\.png in "),
    ],
)
def test_what_is_wrong_is_said_in_one_line(pairs, folder, records, message):
    names = [entry["image_path"] for entry in controlled(MUG, ("mug", "table"), "x")]
    images = folder("a.png", "000000331352.jpg", "000000397133.jpg", *names)
    write(images / "t.json", records)
    with pytest.raises(DataError, match=message) as caught:
        pairs(f"set={images}?table=t.json")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("data set 'set': ")


def test_the_identity_of_older_sets_is_as_before(pairs, folder):
    """Baselines name a set by its fingerprint, which must not change with the groups of other sets."""
    images = folder("a.png")
    (images / "a.png").write_bytes(b"a")
    write(images / "t.json", [{"filename": "a.png", "caption": "a cat", "negative_caption": "a dog"}])
    found = pairs(f"set={images}?table=t.json")
    assert isinstance(found, ContrastSet)
    assert found.groups == {}
    assert found.fingerprint == "34a841f79113433721c0034919277428cd404fedae6ed0e529716f708d979bf1"
