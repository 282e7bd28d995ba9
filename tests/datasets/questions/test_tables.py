"""Questions as listings and tables, FOCI's files of options, and what is wrong with them."""

from __future__ import annotations

import json
import pickle

import pytest
from stored import write_parquet, write_table, write_tar

from pytest_clip_robust.errors import DataError

ONE = {
    "image": "a.png",
    "question": "What is it?",
    "options": ["cat", "hot dog", "dog"],
    "answer": "dog",
    "kind": "food",
}


def told(found):
    """Say each question in words: image, text, options, true option, kind."""
    return [
        (found.images.samples[image], text, *options, options[truth], kind)
        for image, text, options, truth, kind in zip(
            found.image_of, found.texts, found.options, found.truths, found.kinds, strict=True
        )
    ]


def write_lines(path, *records):
    path.write_text("".join(f"{json.dumps(one)}\n" for one in records))


TOLD = [
    ("a.png", "What is it?", "cat", "hot dog", "dog", "dog", "food"),
    ("b.png", "What is it?", "cat", "hot dog", "dog", "cat", "food"),
    ("a.png", "Which?", "red", "blue", "blue", ""),
]
RECORDS = [
    ONE,
    {**ONE, "image": "b.png", "answer": "cat"},
    {"image": "a.png", "question": "Which?", "options": ["red", "blue"], "answer": "blue"},
]


def test_a_listing_is_json_lines_json_or_csv(questions, photos, tmp_path):
    write_lines(photos / "questions.jsonl", *RECORDS)
    found = questions(f"set={photos}")
    assert told(found) == TOLD
    assert found.images.read(1) == (photos / "b.png").read_bytes()
    assert found.kind_names == ("food",)
    write_lines(tmp_path / "other.jsonl", *RECORDS)
    (photos / "list.json").write_text(json.dumps(RECORDS))
    rows = [list(ONE), *([one.get(key, "") for key in ONE] for one in RECORDS)]
    as_json = [[json.dumps(one) if isinstance(one, list) else one for one in row] for row in rows]
    write_table(photos, as_json, "json.csv")
    write_table(photos, [list(map(str, row)) for row in rows], "pandas.csv")
    for option in (
        photos / "questions.jsonl",
        f"{photos}?table={tmp_path / 'other.jsonl'}",
        photos / "list.json",
        photos / "json.csv",
        photos / "pandas.csv",
    ):
        again = questions(f"set={option}")
        assert told(again) == TOLD
        assert again.fingerprint == found.fingerprint


def test_parquet_holds_images_or_names_their_files(questions, photos, png):
    columns = {name: [one.get(name) for one in RECORDS] for name in ONE}
    write_parquet(photos / "files.parquet", columns)
    pictures = [{"bytes": png("ab".index(one["image"][0])), "path": None} for one in RECORDS]
    write_parquet(photos / "bytes" / "0.parquet", columns | {"image": pictures}, image="image")
    write_lines(photos / "questions.jsonl", *RECORDS)
    digests = questions(f"set={photos}").images.digests
    for option in (photos / "files.parquet", photos / "bytes"):
        found = questions(f"set={option}")
        assert [one[1:] for one in told(found)] == [one[1:] for one in TOLD]
        assert found.image_of.tolist() == [0, 1, 0]  # equal pictures are one
        assert found.images.digests == digests
        assert pickle.loads(pickle.dumps(found.images.read))(1) == png(1)


def test_options_can_have_a_column_each(questions, photos):
    """As in MMBench and many spreadsheets; a question can have fewer options than the table has columns."""
    rows = [["image", "question", "A", "B", "C", "answer"], ["a.png", "Q", "cat", "dog", "", "B"]]
    write_table(photos, [*rows, ["b.png", "Q", "cat", "dog", "bird", "C"]], "q.csv")
    expected = [("a.png", "Q", "cat", "dog", "dog", ""), ("b.png", "Q", "cat", "dog", "bird", "bird", "")]
    assert told(questions(f"set={photos / 'q.csv'}")) == expected
    for names in (
        ["option_0", "option_1", "option_2"],
        ["Option A", "Option B", "Option C"],
        ["choice9", "choice10", "choice11"],
    ):
        shuffled = [["image", names[2], names[0], "answer", names[1]]]
        write_table(
            photos, [*shuffled, ["a.png", "", "cat", "1", "dog"], ["b.png", "bird", "cat", "2", "dog"]], "q.csv"
        )
        assert [one[2:] for one in told(questions(f"set={photos / 'q.csv'}"))] == [one[2:] for one in expected]
    write_parquet(photos / "q.parquet", {"image": ["a.png"], "A": ["cat"], "B": ["dog"], "C": [None], "answer": ["a"]})
    assert told(questions(f"set={photos / 'q.parquet'}"))[0][1:] == ("", "cat", "dog", "cat", "")
    write_table(photos, [["image", "A", "B", "C", "answer"], ["a.png", "cat", "", "dog", "A"]], "q.csv")
    with pytest.raises(DataError, match=r"q\.csv, line 2: option 1 is ''; expected a text that is not empty"):
        questions(f"set={photos / 'q.csv'}")


def test_columns_can_have_other_names(questions, photos):
    record = {"photo": "a.png", "prompt": " Which? ", "choices": ["red", "blue"], "correct": 1, "answer": "red"}
    write_lines(photos / "q.jsonl", record)
    keys = "image=photo&caption=prompt&label=correct"
    expected = ("a.png", "Which?", "red", "blue", "blue", "")
    assert told(questions(f"set={photos / 'q.jsonl'}?{keys}")) == [expected]
    write_parquet(photos / "q.parquet", {key: [value] for key, value in record.items()})
    assert told(questions(f"set={photos / 'q.parquet'}?{keys}"))[0][1:] == expected[1:]
    with pytest.raises(
        DataError, match="no column 'corect'; it has photo, prompt, choices, correct, answer; name the an"
    ):
        questions(f"set={photos / 'q.parquet'}?image=photo&label=corect")


def test_an_answer_that_is_a_class_is_read_by_its_name(questions, photos):
    import datasets

    columns = {"image": ["a.png", "b.png"], "options": [["dog", "cat"], ["cat", "dog"]], "label": [1, 0]}
    write_parquet(photos / "q.parquet", columns, features={"label": datasets.ClassLabel(names=["cat", "dog"])})
    assert [one[-2] for one in told(questions(f"set={photos / 'q.parquet'}"))] == ["dog", "cat"]


def test_a_split_can_be_a_column_or_a_folder(questions, photos):
    write_lines(
        photos / "questions.jsonl", *({**one, "split": split} for one, split in zip(RECORDS, "tvv", strict=True))
    )
    assert told(questions(f"set={photos}?split=v")) == TOLD[1:]
    (photos / "test").mkdir()
    for name in ("a.png", "b.png"):
        (photos / name).rename(photos / "test" / name)
    (photos / "questions.jsonl").unlink()
    write_lines(photos / "test" / "questions.jsonl", *RECORDS)
    assert told(questions(f"set={photos}?split=test")) == TOLD


def test_synonyms_come_from_a_list_of_classes(questions, photos, tmp_path):
    write_lines(photos / "questions.jsonl", *RECORDS)
    (tmp_path / "names.txt").write_text("Hot Dog|frankfurter|hot dog in a bun\ndog\nsofa|couch\n")
    found = questions(f"set={photos}?classes={tmp_path / 'names.txt'}")
    assert found.synonyms == {"hot dog": ("frankfurter", "hot dog in a bun")}
    assert questions(f"set={photos}").synonyms == {}


FOCI = {
    "hot dog": [
        {"image": "n07697537/1.png", "options": ["hot dog", "dog", "bagel", "bun"], "groundtruth": "hot dog"},
        {"image": "n07697537/2.png", "options": ["hot dog", "bagel", "dog", "cat"], "groundtruth": "hot dog"},
    ],
    "dog": [{"image": "n02084071/1.png", "options": ["dog", "cat", "hot dog", "bun"], "groundtruth": "dog"}],
}


def test_foci_s_options_are_read_as_they_are(questions, tmp_path, png):
    root = tmp_path / "images"
    for seed, name in enumerate(["n07697537/1.png", "n07697537/2.png", "n02084071/1.png"]):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(png(seed))
    path = tmp_path / "imagenet-ViT-L-14-laion2b_s32b_b82k-4.json"
    path.write_text(json.dumps(FOCI))
    found = questions(f"foci={root}?table={path}")
    assert told(found) == [
        (one["image"], "", *one["options"], one["groundtruth"], "") for group in FOCI.values() for one in group
    ]
    assert found.truths.tolist() == [0, 0, 0]
    assert found.remarks == ()
    # The files for ImageNet-21K name images by absolute paths on their authors' machine.
    moved = {name: [{**one, "image": f"/media/cache/{one['image']}"} for one in group] for name, group in FOCI.items()}
    path.write_text(json.dumps(moved))
    again = questions(f"foci={root}?table={path}")
    assert again.fingerprint == found.fingerprint
    absolute = {name: [{**one, "image": f"{root}/{one['image']}"} for one in group] for name, group in FOCI.items()}
    path.write_text(json.dumps(absolute))
    assert questions(f"foci={tmp_path}?table={path}").fingerprint == found.fingerprint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": "bird"}, r"answer 'bird' is neither one of the options, \['cat', 'hot dog', 'dog'\], nor"),
        ({"answer": 3}, "answer 3 is neither"),
        ({"answer": None}, "it has no answer; write the text of the true option"),
        ({"options": ["cat", "Cat "], "answer": 0}, "options 0 and 1, 'cat' and 'Cat ', differ only in case and white"),
        ({"options": ["cat"]}, r"1 options, \['cat'\]; expected at least two"),
        ({"options": []}, r"0 options, \[\]; expected at least two"),
        ({"options": ["cat", ""]}, "option 1 is ''; expected a text that is not empty"),
        ({"options": [1, 2]}, "option 0 is 1; expected a text that is not empty"),
        ({"options": "cat, dog"}, r"options 'cat, dog'; expected a list, such as \[\"cat\", \"dog\"\]"),
        ({"options": None}, "it has no options, but image, question, options, answer, kind; expected 'options' with a"),
        ({"image": "c.png"}, r"no image c\.png in "),
        ({"image": None}, "image None; expected the name of an image file"),
        ({"image": "/"}, r"image ''; expected the name of an image file"),
        ({"question": ["What?"]}, r"question \['What\?'\]; expected a text"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(questions, photos, change, message):
    write_lines(photos / "questions.jsonl", RECORDS[1], {**ONE, **change})
    with pytest.raises(DataError, match=rf"^data set 'set': .*questions\.jsonl, line 2: {message}") as caught:
        questions(f"set={photos}")
    assert "\n" not in str(caught.value)


def test_what_is_wrong_in_a_table_is_said_in_one_line(questions, photos):
    columns = {"image": ["a.png", "b.png"], "options": [["cat", "dog"]] * 2, "answer": [0, 2]}
    for change, message in (
        ({}, "row 1: answer 2 is neither one of the options"),
        ({"options": [["cat", "dog"], ["cat"]]}, "row 1: 1 options"),
        ({"answer": [0, None]}, "row 1: it has no answer"),
        (
            {"answer": [0, 1], "image": ["a.png", "c.png"]},
            r"image 'row 1: c\.png' cannot be read: .*c\.png, which does",
        ),
        ({"answer": [0, 1], "image": ["a.png", None]}, "column 'image' has no image in this row"),
    ):
        write_parquet(photos / "q.parquet", columns | change)
        with pytest.raises(DataError, match=f"^data set 'set': .*{message}") as caught:
            questions(f"set={photos / 'q.parquet'}")
        assert "\n" not in str(caught.value)
    for names, message in (
        (("image", "options"), "no column 'answer'; it has image, options; name the answers with [?]label="),
        (("image", "answer"), "no column holds options; it has image, answer; expected 'options' with a list per row"),
        (("options", "answer"), "no column looks like the image; it has options, answer"),
    ):
        write_parquet(photos / "q.parquet", {name: columns[name] for name in names})
        with pytest.raises(DataError, match=f"^data set 'set': {message}"):
            questions(f"set={photos / 'q.parquet'}")


def test_a_set_without_questions_or_listing_is_one_line(questions, photos, tmp_path, png):
    with pytest.raises(
        DataError, match=r"neither \.parquet nor \.tar files; name the listing of its images with \?table="
    ):
        questions(f"set={photos}")
    (photos / "questions.jsonl").write_text("\n")
    with pytest.raises(DataError, match="data set 'set': no entries in "):
        questions(f"set={photos}")
    with pytest.raises(DataError, match=r"no listing missing\.jsonl in "):
        questions(f"set={photos}?table=missing.jsonl")
    with pytest.raises(DataError, match=r"exclude=\['cat'\] leaves out classes, but questions have none"):
        questions(f"set={photos}?exclude=cat")


def test_a_link_to_a_missing_image_is_an_error(questions, photos):
    (photos / "b.png").unlink()
    (photos / "b.png").symlink_to(photos / "gone.png")
    write_lines(photos / "questions.jsonl", *RECORDS)
    with pytest.raises(DataError, match=r"line 2: no image b\.png in "):
        questions(f"set={photos}")


def test_a_tar_has_a_question_in_a_json_file_per_image(questions, tmp_path, png):
    members = {}
    for i, one in enumerate(RECORDS[:2]):
        asked = {key: one[key] for key in ("question", "options", "answer", "kind")}
        members |= {f"{i}.png": png(i), f"{i}.json": json.dumps(asked).encode()}
    write_tar(tmp_path / "q.tar", members)
    found = questions(f"set={tmp_path / 'q.tar'}")
    assert [one[1:] for one in told(found)] == [one[1:] for one in TOLD[:2]]
    assert found.images.read(1) == png(1)
    write_tar(tmp_path / "q.tar", {"0.png": png(0), "0.txt": b"cat"})
    with pytest.raises(DataError, match="no column 'answer'; it has "):
        questions(f"set={tmp_path / 'q.tar'}")
