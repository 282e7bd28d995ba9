"""ImageNet-D's folder and the showroom's own questions."""

from __future__ import annotations

from collections import Counter

import pyarrow.parquet as pq
import pytest
from stored import write_files

from pytest_clip_robust import showroom
from pytest_clip_robust.config.profile import load_profile
from pytest_clip_robust.datasets.catalog import catalog
from pytest_clip_robust.datasets.entry import merge, parse_data_option
from pytest_clip_robust.datasets.images.loading import load_image_set
from pytest_clip_robust.datasets.questions.questions import load_question_set
from pytest_clip_robust.errors import ConfigError, DataError
from pytest_clip_robust.evaluation.library import Library

HEADER = "image_dir\tgt_category\ttop1_pred_cate\ttop2_pred_cate\n"


@pytest.fixture
def imagenet_d(tmp_path, png):
    """Five images in ImageNet-D's layout: names have spaces and brackets, folders underscores."""
    pictures = {
        "background/binder_closed/bench_0.png": png(0),
        "background/pen/desert_1.png": png(1),
        "texture/pen/dotted_0.png": png(2),
        "material/coffee_or_french_press/brass_0.png": png(3),
    }
    tables = {
        "questions/background.csv": HEADER
        + "background/binder_closed/bench_0.png\tbinder (closed)\tbench\tenvelope\n"
        + "background/pen/desert_1.png\tpen\tpen\tcan opener\n",
        "questions/texture.csv": HEADER + "texture/pen/dotted_0.png\tpen\tlipstick\tpen\n",
        "questions/material.csv": HEADER
        + "material/coffee_or_french_press/brass_0.png\tcoffee or french press\tcoffee or french press\tkettle\n",
    }
    return write_files(tmp_path / "ImageNet-D", pictures | tables)


def test_imagenet_d_asks_for_the_true_name_or_clip_s_first_other_name(questions, imagenet_d):
    found = questions(f"d={imagenet_d}")
    assert list(found.options) == [
        ("binder (closed)", "bench"),
        ("pen", "can opener"),
        ("pen", "lipstick"),
        ("coffee or french press", "kettle"),
    ]
    assert found.truths.tolist() == [0] * 4  # the published protocol needs the true name first
    assert list(found.texts) == [""] * 4
    assert list(found.kinds) == ["background", "background", "texture", "material"]
    assert found.kind_names == ("background", "texture", "material")
    assert list(found.part("texture").images.samples) == ["texture/pen/dotted_0.png"]
    assert found.remarks == ()
    assert questions(f"d={imagenet_d}?format=imagenet-d").fingerprint == found.fingerprint
    assert (found.protocol, found.part("texture").protocol) == ("imagenet-d", "imagenet-d")


def test_a_kind_of_imagenet_d_can_be_missing_and_is_named(questions, imagenet_d):
    (imagenet_d / "questions" / "texture.csv").unlink()
    found = questions(f"d={imagenet_d}")
    assert found.kind_names == ("background", "material")
    assert found.remarks == (
        f"data set 'd': no {imagenet_d / 'questions' / 'texture.csv'}, so there are no questions of kind 'texture'",
    )


def test_synonyms_of_imagenet_d_are_a_file_of_classes(questions, imagenet_d, tmp_path):
    (tmp_path / "synonyms.txt").write_text("binder (closed)|binder\ncoffee or french press|coffee maker\n")
    found = questions(f"d={imagenet_d}?classes={tmp_path / 'synonyms.txt'}")
    assert found.synonyms == {"binder (closed)": ("binder",), "coffee or french press": ("coffee maker",)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "image_dir\tgt_category\ttop1_pred_cate\n",
            r"no column 'top2_pred_cate'; it has image_dir, gt_category, top1",
        ),
        (HEADER + "texture/pen/x.png\tpen\tlipstick\tpen\n", r"line 2: no image texture/pen/x\.png in "),
        (HEADER + "texture/pen/dotted_0.png\tpen\tpen\tPen\n", "line 2: options 0 and 1, 'pen' and 'Pen', differ only"),
        (HEADER + "texture/pen/dotted_0.png\tpen\t\tpen\n", "line 2: option 1 is ''; expected a text"),
        (HEADER + "texture/pen/dotted_0.png\tpen\tlipstick\n", "line 2: 3 values under a header of 4 columns"),
    ],
)
def test_what_is_wrong_with_imagenet_d_is_one_line(questions, imagenet_d, content, message):
    (imagenet_d / "questions" / "texture.csv").write_text(content)
    with pytest.raises(DataError, match=rf"^data set 'd': .*texture\.csv[:,] {message}") as caught:
        questions(f"d={imagenet_d}")
    assert "\n" not in str(caught.value)


def test_what_is_not_imagenet_d_is_refused(questions, imagenet_d, tmp_path):
    with pytest.raises(DataError, match=r"no .*background\.csv, nor that of another kind: texture, material"):
        questions(f"d={tmp_path}?format=imagenet-d")
    with pytest.raises(DataError, match="no folder /no/where; format 'imagenet-d' needs a folder"):
        questions("d=/no/where?format=imagenet-d")
    with pytest.raises(DataError, match="no split 'test': ImageNet-D has kinds and no splits; leave out split=test"):
        questions(f"d={imagenet_d}?split=test")
    for kind in ("background", "texture", "material"):
        (imagenet_d / "questions" / f"{kind}.csv").write_text(HEADER)
    with pytest.raises(DataError, match="no questions in "):
        questions(f"d={imagenet_d}")
    with pytest.raises(DataError, match=r"format 'imagenet-d' is only read as questions; add \?role=questions"):
        load_image_set(parse_data_option(f"d={imagenet_d}?format=imagenet-d"))


def test_the_catalogue_has_both_sets(imagenet_d):
    known = catalog()
    assert {known[name].role for name in ("imagenet-d", "showroom-questions")} == {"questions"}
    with pytest.raises(
        DataError, match="data set 'imagenet-d' has no location; give one with --clip-data imagenet-d=/"
    ):
        load_question_set(known["imagenet-d"])
    mine = merge(known["imagenet-d"], parse_data_option(f"imagenet-d={imagenet_d}"))
    assert len(load_question_set(mine)) == 4


def test_the_showroom_s_questions_are_about_images_of_other_subsets(questions):
    found = questions("set=showroom:questions")
    rows = pq.read_table(showroom.data_file("questions")).to_pylist()
    assert len(found) == len(rows) > 100
    pictures = {
        (subset, row["image"]["path"]): row["image"]["bytes"]
        for subset in ("id", "factors")
        for row in pq.read_table(showroom.data_file(subset), columns=["image"]).to_pylist()
    }
    for i, row in enumerate(rows):
        image = int(found.image_of[i])
        assert found.images.samples[image] == f"{row['source']}/{row['sample']}"
        assert found.images.read(image) == pictures[row["source"], row["sample"]]
        assert found.options[i] == tuple(row["options"])
        assert (found.truths[i], found.texts[i], found.kinds[i]) == (row["answer"], row["question"], row["kind"])
    assert Counter(found.kinds) == Counter(row["kind"] for row in rows)
    assert len(set(found.samples)) == len(found)
    assert found.remarks == ()


def test_other_subsets_of_the_showroom_hold_no_questions(questions):
    with pytest.raises(
        DataError, match="no column 'source' in showroom:id; the showroom's questions are in showroom:q"
    ):
        questions("set=showroom:id")


def test_a_run_reads_its_questions_once_and_reports_them():
    profile = load_profile(None, ["showroom-questions=showroom:questions"])
    assert profile.sets("questions") == ("showroom-questions",)
    library = Library(profile, cache=None, notice=pytest.fail)
    found = library.questions("showroom-questions")
    assert library.questions("showroom-questions") is found
    assert library.summary() == {
        "showroom-questions": {
            "images": len(found.images),
            "fingerprint": found.fingerprint,
            "licence": catalog()["showroom-questions"].licence,
            "questions": len(found),
        }
    }
    with pytest.raises(ConfigError, match="no data set 'showroom-question' in this run"):
        library.questions("showroom-question")
