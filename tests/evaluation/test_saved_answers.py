"""Saved answers, matched with samples; the published predictions of ImageNet-X among them."""

from __future__ import annotations

import csv
import gzip
import json
import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from pytest_clip_robust.core.predictions import Predictions, TopAnswers
from pytest_clip_robust.datasets.images.labels import class_list
from pytest_clip_robust.errors import MeasurementError, ModelError, NotApplicableError
from pytest_clip_robust.evaluation.classes import classes_of
from pytest_clip_robust.evaluation.saved_answers import SavedAnswers
from pytest_clip_robust.models.loading import load_model
from pytest_clip_robust.models.saved_predictions import SavedPredictions
from pytest_clip_robust.models.spec import ModelSpec


def load(path):
    return load_model(ModelSpec.parse(f"predictions:{path}"), device="cpu", precision="fp32").encoder


def saved(samples, logits, **about):
    logits = np.array(logits, np.float32)
    return SavedAnswers(SavedPredictions(samples=samples, logits=logits, classes=["cat", "dog"], **about), "m")


@given(st.permutations(["a/1.png", "a/2.png", "b/1.png"]), st.randoms())
def test_answers_follow_their_samples_in_any_order(image_set, order, random):
    rows = [[i, -i] for i in range(3)]
    place = {"a/1.png": 0, "a/2.png": 1, "b/1.png": 2}
    shuffled = random.sample(order, 3)
    answers = saved(shuffled, [rows[place[one]] for one in shuffled])
    images = image_set(order, [0, 1, 0], ["cat", "dog"])
    assert answers.logits(images, classes_of(images))[:, 0].tolist() == [place[one] for one in order]


@pytest.mark.parametrize(
    ("in_file", "in_set"),
    [
        ("val/n01/x.JPEG", "val/n01/x.jpg"),
        ("x.JPEG", "val/n01/x.png"),
        ("/data/imagenet/val/n01/x.JPEG", "n01/x.JPEG"),
        ("0001_stg_dnn_0_airplane_00_airplane1-bicycle2.png", "airplane1-bicycle2.jpg"),
    ],
)
def test_names_match_without_folders_suffixes_and_trial_numbers(image_set, in_file, in_set):
    images = image_set([in_set], [1], ["cat", "dog"])
    assert saved([in_file], [[1, 2]]).rows(images).tolist() == [0]


def test_folders_tell_samples_of_one_name_apart(image_set):
    images = image_set(["cat/1.png", "dog/1.png"], [0, 1], ["cat", "dog"])
    assert saved(["dog/1.png", "cat/1.png"], [[0, 1], [1, 0]]).rows(images).tolist() == [1, 0]
    with pytest.raises(MeasurementError, match=r"2 different answers to 'cat/1\.png'"):
        saved(["x/1.png", "y/1.png"], [[0, 1], [1, 0]]).rows(images)


def test_probabilities_come_back_from_a_softmax(tmp_path, image_set):
    given_ = np.random.default_rng(0).dirichlet([0.02] * 5, size=50).astype(np.float32)
    names = [f"{i}.png" for i in range(50)]
    np.savez(tmp_path / "p.npz", samples=names, probabilities=given_, classes=list("abcde"))
    answers = SavedAnswers(load(tmp_path / "p.npz"), "m")
    images = image_set(names, [0] * 50, list("abcde"))
    logits = answers.logits(images, classes_of(images)).astype(np.float64)
    back = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert answers.normalised
    np.testing.assert_allclose(back, given_, atol=1e-6)


def test_published_predictions_of_imagenet_x_are_read_as_they_are(shared, image_set):
    folder = shared / "data" / "imagenetx"
    with gzip.open(folder / "filename_label.csv.gz", "rt") as file:
        truth = {row["file_name"]: int(row["label"]) for row in csv.DictReader(file)}
    listed = class_list("imagenet-1k")
    images = image_set(truth, list(truth.values()), listed.names, ids=listed.ids)
    correct = {}
    for model in ("ResNet50", "ViT"):
        top = SavedAnswers(load(folder / f"{model}.csv.gz"), model).top(images)
        correct[model] = top.answers == images.labels
        assert 0.3 < top.confidence.mean() < 1
    assert round(correct["ResNet50"].mean(), 4) == 0.7613
    golden = json.loads((shared / "golden" / "golden.json").read_text())["mcnemar_imagenet_val"]["ResNet50_vs_ViT"]
    only = {int((correct[a] & ~correct[b]).sum()) for a, b in (("ResNet50", "ViT"), ("ViT", "ResNet50"))}
    assert only <= {value for value in golden.values() if isinstance(value, int)}


def test_published_decisions_on_cue_conflict_images_give_their_shape_bias(shared, image_set):
    from pytest_clip_robust.properties.shape_bias import shape_bias
    from pytest_clip_robust.scoring.cues import SIXTEEN, CueAnswers

    golden = json.loads((shared / "golden" / "golden.json").read_text())["shape_bias"]
    with (shared / "data" / "cue_conflict" / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    images = image_set([row["file"] for row in rows], [SIXTEEN.index(row["shape"]) for row in rows], SIXTEEN)
    files = sorted((shared / "golden" / "cue_conflict_decisions").glob("*.csv"))
    assert len(files) == 4
    for path in files:
        top = SavedAnswers(load(path), path.stem).top(images)
        found = shape_bias(
            CueAnswers(
                dataset="cues",
                answers=top.answers,
                shapes=images.labels,
                textures=np.array([SIXTEEN.index(row["texture"]) for row in rows]),
                class_names=SIXTEEN,
                samples=images.samples,
            )
        )
        assert found.value == pytest.approx(golden[path.name]["shape_bias"], abs=1e-12)


def test_an_answer_outside_of_the_set_is_wrong_and_one_outside_of_the_list_is_an_error(image_set):
    images = image_set(["a", "b"], [0, 1], ["cat", "dog"])
    words = SavedPredictions(samples=["a", "b"], answers=["cat", "lion"])
    assert SavedAnswers(words, "m").top(images).answers.tolist() == [0, -1]
    listed = SavedPredictions(samples=["a", "b"], answers=["0", "7"], classes=["cat", "dog", "ship"])
    with pytest.raises(MeasurementError, match="1 answers that are not among the 3 classes of m, such as '7'"):
        SavedAnswers(listed, "m").top(images)


def test_confidences_rank_only_among_the_same_classes(image_set):
    images = image_set(["a", "b"], [0, 1], ["cat", "dog"])
    answers = SavedPredictions(
        samples=["a", "b"], answers=["cat", "dog"], confidence=np.array([0.25, 0.5]), classes=["cat", "dog"]
    )
    assert SavedAnswers(answers, "m").top_among(images, classes_of(images)).tolist() == pytest.approx(
        np.log([0.25, 0.5])
    )
    more = SavedPredictions(
        samples=["a", "b"], answers=["cat", "dog"], confidence=np.array([0.25, 0.5]), classes=["cat", "dog", "ship"]
    )
    with pytest.raises(NotApplicableError, match="m answered among 3 classes, not the 2 of 'photos'"):
        SavedAnswers(more, "m").top_among(images, classes_of(images))


WIDE = "sample,cat,dog\na.png,1.5,0\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "cannot be read"),
        ("a.csv", "sample,cat,dog\n", "it has no rows"),
        ("a.csv", "cat,dog\n1,2\n", "no column with the names of the samples, but .*; call it sample or file_name"),
        ("a.csv", "sample,label\na.png,3\n", "neither logits, probabilities nor answers, but sample, label"),
        ("a.csv", "sample,cat,cat\na.png,1,2\n", "it has two columns 'cat'"),
        (
            "a.csv",
            "sample,logit_cat,logit_dog\na.png,nan,2\n",
            "1 of 1 rows have NaN or infinite values, the first is row 0",
        ),
        (
            "a.csv",
            "sample,prob_cat,prob_dog\na.png,0.9,0.9\n",
            r"add up to 1\.8 to 1\.8 per sample .* \(are they logits\?\)",
        ),
        (
            "a.csv",
            "sample,answer,confidence\na.png,cat,1.2\n",
            r"1 of 1 confidences are not in 0\.\.1, first 1\.2 in row 0",
        ),
        ("a.npz", b"PK no zip", "cannot be read"),
        ("a.parquet", b"PAR1", "cannot be read"),
        ("a.txt", "sample,cat,dog\n", r"expected a file that ends in \.npz, \.parquet, \.csv"),
    ],
)
def test_damaged_and_wrong_files_are_one_line(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ModelError, match=message) as error:
        load(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("objects", [True, False])
def test_arrays_of_objects_are_never_unpickled(tmp_path, objects):
    samples = np.array(["a", "b"], dtype=object if objects else str)
    np.savez(tmp_path / "a.npz", samples=samples, logits=np.eye(2), classes=["cat", "dog"])
    if objects:
        with pytest.raises(ModelError, match=r"cannot be read: .*allow_pickle"):
            load(tmp_path / "a.npz")
    else:
        assert load(tmp_path / "a.npz").samples == ["a", "b"]


def test_numbers_of_lists_of_other_lengths_are_an_error(tmp_path):
    parquet.write_table(pa.table({"sample": ["a", "b"], "logits": [[1.0, 2.0], [1.0]]}), tmp_path / "a.parquet")
    with pytest.raises(ModelError, match="lists of column 'logits' have 1 to 2 numbers; expected one length"):
        load(tmp_path / "a.parquet")


def test_classes_without_names_are_asked_for(tmp_path):
    np.savez(tmp_path / "a.npz", samples=["a"], logits=np.ones((1, 7)))
    with pytest.raises(ModelError, match=r"names of its 7 classes are not known; .*\?classes=FILE"):
        load(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", samples=["a"], logits=np.ones((1, 1000)))
    assert load(tmp_path / "b.npz").classes == "imagenet-1k"
    np.savez(tmp_path / "c.npz", samples=["a"], logits=np.ones((1, 3)), classes=["x", "y"])
    with pytest.raises(ModelError, match="2 names of classes for 3 values per sample"):
        load(tmp_path / "c.npz")


def test_names_of_samples_that_look_like_numbers_stay_as_they_are(tmp_path):
    (tmp_path / "a.csv").write_text("sample,cat,dog\n0012,1.5,0\n")
    assert load(tmp_path / "a.csv").samples == ["0012"]


def top(answers, confidence=None):
    return TopAnswers(answers=np.array(answers), confidence=None if confidence is None else np.array(confidence))


def predicted(answers, confidence=None):
    return Predictions(
        dataset="d",
        logits=np.full((2, 2), np.nan, np.float32),
        labels=np.array([0, 1]),
        class_names=("cat", "dog"),
        class_ids=("cat", "dog"),
        samples=["a", "b"],
        top=top(answers, confidence),
    )


def test_logits_that_are_not_known_are_never_used():
    found = predicted([0, -1], [0.5, 0.9])
    assert found.answers.tolist() == [0, -1]
    assert found.rows(np.array([False, True])).answers.tolist() == [-1]
    with pytest.raises(NotApplicableError, match="energy needs the logits of all classes"):
        found.all_logits("energy")
    with pytest.raises(NotApplicableError, match=re.escape("'d' restricted to 1 classes needs the logits")):
        found.restricted_to(["cat"])


@pytest.mark.parametrize(
    ("answers", "confidence", "message"),
    [
        ([0, 2], None, r"answers span 0\.\.2, expected -1\.\.1"),
        ([0], None, r"\(1,\) answers"),
        ([0, 1], [0.5, np.nan], r"a confidence is NaN or outside of 0\.\.1"),
    ],
)
def test_answers_are_checked(answers, confidence, message):
    with pytest.raises(MeasurementError, match=message):
        predicted(answers, confidence)
