"""Checks of large multimodal models, on the showroom's own and on models with one fault each."""

from __future__ import annotations

import re

import numpy as np
import pytest

from pytest_clip_robust.core.checks import Status
from pytest_clip_robust.models.check.questions import check_questions
from pytest_clip_robust.models.check.run import check_loaded
from pytest_clip_robust.models.loading import load_unchecked
from pytest_clip_robust.models.spec import ModelSpec


class Answering:
    """Sees which picture it is asked about: the name of the same position is the most likely one."""

    identity, tower, notice = "fake", "ViT-B-32@openai", print

    def __init__(self):
        self.seen, self.answer, self.noise = {}, (1, 2), 0.0

    def sums(self, images, question, candidates):
        rows = [self.seen.setdefault(image.tobytes(), len(self.seen)) for image in images]
        found = -5.0 - np.abs(np.array(rows)[:, None] - np.arange(len(candidates)))
        return found + self.noise * len(images)

    def sizes(self, question, candidates):
        return np.ones(len(candidates), np.int64), np.array([len(one) for one in candidates])

    def generate(self, images, questions, *, limit):
        return [self.answer[:limit] for _ in images]

    def text(self, tokens):
        return "chair" if tokens else ""


def rows_of(model, precision="fp32"):
    found = check_questions(model, precision)
    assert all(bool(row.fix) == (row.status in {Status.FAILED, Status.WARNING}) for row in found)
    return {row.name: row for row in found}


def test_the_showroom_s_model_passes_all_checks():
    loaded = load_unchecked(ModelSpec.parse("lmm:showroom-lmm"), device="cpu", precision="fp32")
    rows = {row.name: row for row in check_loaded(loaded)}
    assert {row.status for row in rows.values()} == {Status.OK}
    assert rows["parameters"].measured == "all 4,884,928 loaded"
    assert rows["tower"].measured == "showroom-clip"
    assert rows["matching"].measured.startswith("16 of 16 pictures")


def test_a_sound_model_passes():
    assert {row.status for row in rows_of(Answering()).values()} == {Status.OK}


def test_a_tower_that_is_not_known_is_not_applicable():
    model = Answering()
    model.tower = ""
    row = rows_of(model)["tower"]
    assert (row.status, "add ?tower=SPEC" in row.measured) == (Status.NOT_APPLICABLE, True)


@pytest.mark.parametrize(("noise", "precision", "status"), [
    (1.0, "fp32", Status.FAILED), (0.01, "fp32", Status.FAILED), (0.01, "bf16", Status.OK), (0.005, "fp16", Status.OK),
])  # fmt: skip
def test_answers_that_depend_on_the_batch_fail(noise, precision, status):
    model = Answering()
    model.noise = noise
    row = rows_of(model, precision)["batches"]
    assert row.status == status
    assert re.fullmatch(r"asked together and one by one, differs by [\d.e+-]+ nats", row.measured)


def test_answers_that_change_fail():
    model = Answering()
    steady, count = model.sums, iter(range(1000))
    model.sums = lambda *asked: steady(*asked) + 0.01 * next(count)
    assert rows_of(model)["repeat"].status == Status.FAILED


def test_numbers_that_are_not_finite_fail():
    model = Answering()
    steady = model.sums
    model.sums = lambda *asked: np.where(steady(*asked) < -18, np.nan, steady(*asked))
    row = rows_of(model)["finite"]
    assert (row.status, row.measured.split()[0] != "0") == (Status.FAILED, True)


@pytest.mark.parametrize(("answer", "fix"), [((), "the answer is empty"), (tuple(range(99)), "the answer has no end")])
def test_free_text_without_words_or_end_is_a_warning(answer, fix):
    model = Answering()
    model.answer = answer
    row = rows_of(model)["free text"]
    assert (row.status, row.fix.startswith(fix)) == (Status.WARNING, True)


def test_a_model_that_guesses_is_a_warning():
    model = Answering()
    model.sums = lambda images, question, candidates: np.zeros((len(images), len(candidates)))
    row = rows_of(model)["matching"]
    assert (row.status, row.measured) == (Status.WARNING, "1 of 16 pictures (p 0.6)")


def test_a_fast_way_that_is_not_used_is_a_warning_and_no_other_notice():
    model, told = Answering(), []
    model.notice = own = told.append
    steady = model.sums

    def slow(*asked):
        model.notice("model m: reusing the pass over an image fails, so every candidate has one of its own")
        return steady(*asked)

    model.sums = slow
    row = rows_of(model)["fast ways"]
    assert row.status == Status.WARNING
    assert row.fix.startswith("model m: reusing the pass over an image fails")
    assert not told
    assert model.notice is own
