"""A fast way that is wrong without an error is found on the first question, and is not used then."""

from __future__ import annotations

import copy
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_lmms import asked, build, built, photo
from transformers.cache_utils import DynamicLayer

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.lmm import likelihood, passes
from pytest_clip_robust.models.lmm.guard import GROWTH, TOLERANCES, Guard, largest_difference

QUESTION = "What type of object is in this photo?"
NAMES = ["boat", "boat house", "dog", "German shepherd dog", "tabby cat"]
REUSE = (
    r"model lmm:\w+: reusing the pass over an image changes log-probabilities by ([\d.e+-]+) nats \(expected at most "
)


@pytest.fixture(scope="module")
def expected():
    """The likelihoods and answers of a model that nothing is wrong with."""
    model = asked("llava")
    return model.likelihoods(photo(), QUESTION, NAMES).sums, model.answers(*SEVERAL, limit=6)


SEVERAL = ([photo(), photo(31, 64, seed=1)], [QUESTION, "Is it a dog, a tabby cat, a house or a boat?"])


def noticed(family="llava", **options):
    """Return a model and the list of its notices."""
    notices = []
    return asked(family, notice=notices.append, **options), notices


# four errors that nothing reports, each put into the code that scores


def test_a_cache_that_is_written_twice_is_noticed(expected, monkeypatch):
    model, notices = noticed(memory=1)  # one candidate per pass
    monkeypatch.setattr(passes, "copies", lambda cache, rows: cache)
    found = model.likelihoods(photo(), QUESTION, NAMES)
    check(notices, REUSE, at_least=0.5)
    np.testing.assert_allclose(found.sums, expected[0], atol=1e-5)


def test_answers_that_are_padded_on_the_left_are_noticed(expected, monkeypatch):
    right = likelihood.padded

    def left(answers):
        tokens, mask = right(answers)
        order = torch.stack([row.argsort(stable=True) for row in mask])
        return tokens.gather(1, order), mask.gather(1, order)

    def rest(passes, prefix, group):  # which reads the right places of such rows
        tokens, mask = left(group)
        scores = passes.behind(prefix, tokens, likelihood.attended(prefix, mask))
        lengths = [len(one) - 1 for one in group]
        rows = zip(scores, lengths, group, strict=True)
        return [[row[torch.arange(-n, 0), torch.tensor(answer[1:])].double().numpy() for row, n, answer in rows]]

    model, notices = noticed()
    monkeypatch.setattr(likelihood, "_rest", rest)
    found = model.likelihoods(photo(), QUESTION, NAMES)
    check(notices, REUSE, at_least=0.05)
    np.testing.assert_allclose(found.sums, expected[0], atol=1e-5)


def test_a_boolean_mask_that_attention_adds_is_noticed(expected, monkeypatch):
    def pairs(prefix, mask):
        rows, length = mask.shape
        before = torch.ones(rows, 1, length, prefix.mask.shape[1], dtype=torch.bool)
        own = torch.ones(length, length, dtype=torch.bool).tril() & mask.bool()[:, None]
        return torch.cat([before, own[:, None]], dim=-1)

    monkeypatch.setattr(likelihood, "attended", pairs)
    module, processor = build("llava")
    module.set_attn_implementation("sdpa")
    model, notices = noticed(parts=(module, processor))
    np.testing.assert_allclose(model.likelihoods(photo(), QUESTION, NAMES).sums, expected[0], atol=1e-5)
    assert not notices  # such a mask is right for this kind of attention
    module.set_attn_implementation("eager")
    model, notices = noticed(parts=(module, processor))
    np.testing.assert_allclose(model.likelihoods(photo(), QUESTION, NAMES).sums, expected[0], atol=1e-5)
    check(notices, REUSE, at_least=0.05)


def test_questions_that_are_padded_on_the_right_are_noticed(expected):
    model, notices = noticed()
    model._inputs.padding_side = "right"
    assert model.answers(*SEVERAL, limit=6) == expected[1]
    check(notices, r"model lmm:llava: generating for several images at once changes log-probabilities by ([\d.]+) nats")


def test_images_whose_caches_are_exchanged_are_noticed(expected, monkeypatch):
    def exchanged(cache, times):
        copied = copy.deepcopy(cache)
        for layer in copied.layers:
            layer.keys, layer.values = (one.repeat(times, 1, 1, 1) for one in (layer.keys, layer.values))
        return copied

    monkeypatch.setattr(passes, "copies", exchanged)
    model, notices = noticed()
    found = model.sums(SEVERAL[0], QUESTION, NAMES)
    check(notices, r"model lmm:llava: one pass over several images changes log-probabilities by ([\d.e+-]+) nats")
    assert notices[0].endswith("so each image has passes of its own")
    np.testing.assert_allclose(found[0], expected[0], atol=1e-5)
    assert len(model.sums(SEVERAL[0], QUESTION, NAMES)) == 2
    assert len(notices) == 1  # one image at a time is right


def test_positions_that_qwen_counts_otherwise_are_noticed(monkeypatch):
    monkeypatch.setattr(passes, "_shift", lambda module, rows: torch.zeros(rows, dtype=torch.long))
    model, notices = noticed("qwen2_vl")
    found = model.likelihoods(photo(), QUESTION, NAMES)
    check(notices, REUSE)
    monkeypatch.undo()
    np.testing.assert_allclose(found.sums, asked("qwen2_vl").likelihoods(photo(), QUESTION, NAMES).sums, atol=1e-5)


def check(notices, pattern, at_least=TOLERANCES["fp32"]):
    (notice,) = notices
    match = re.match(pattern, notice)
    assert match, notice
    assert float(match[1]) > at_least
    assert "\n" not in notice


# a cache that is wrong wherever it is used


def test_without_a_usable_cache_every_answer_is_that_of_whole_passes(expected, monkeypatch):
    update = DynamicLayer.update

    def wrong(layer, keys, values, *args, **options):
        old = layer.get_seq_length() if layer.is_initialized else 0
        keys, values = update(layer, keys, values, *args, **options)
        return (keys, values * 0.9) if old else (keys, values)

    monkeypatch.setattr(DynamicLayer, "update", wrong)
    model, notices = noticed()
    np.testing.assert_allclose(model.likelihoods(photo(), QUESTION, NAMES).sums, expected[0], atol=1e-5)
    assert model.answers(*SEVERAL, limit=6) == expected[1]
    assert [notice.split(" changes")[0] for notice in notices] == [
        "model lmm:llava: reusing the pass over an image",
        "model lmm:llava: generating for several images at once",
        "model lmm:llava: generating with a cache",
    ]
    assert notices[0].endswith("so every candidate has a pass over the image of its own, which takes longer")
    assert model.answers(*SEVERAL, limit=6) == expected[1]
    assert len(notices) == 3  # each is said once


def test_a_cache_that_cannot_be_copied_is_not_used(expected, monkeypatch):
    def copies(cache, rows):
        raise ModelError("model lmm:llava: a state of this kind has no copies")

    monkeypatch.setattr(passes, "copies", copies)
    model, notices = noticed()
    np.testing.assert_allclose(model.likelihoods(photo(), QUESTION, NAMES).sums, expected[0], atol=1e-5)
    (notice,) = notices
    assert "reusing the pass over an image fails (a state of this kind has no copies), so every" in notice


def test_candidates_of_one_token_are_tested_with_longer_ones(expected, monkeypatch):
    monkeypatch.setattr(passes, "copies", lambda cache, rows: cache)
    model, notices = noticed(memory=1)
    model.likelihoods(photo(), QUESTION, ["boat", "dog"])  # behind which no pass is needed
    check(notices, REUSE)


def test_only_the_first_question_costs_whole_passes():
    module, model = built("llava")[0], asked("llava")
    counted = []
    hook = module.register_forward_pre_hook(lambda _, __, inputs: counted.append(inputs), with_kwargs=True)
    for _ in range(2):
        model.likelihoods(photo(), QUESTION, NAMES)
        counted.append({})
    hook.remove()
    kinds = ["image" if "pixel_values" in inputs else "text" if inputs else "|" for inputs in counted]
    assert kinds == ["image", "text", *["image"] * 6, "image", "text", "|", "image", "text", "|"]


# the guard itself

ROWS = [np.array([-1.0, -2.0]), np.array([-3.0])]


def guard(precision="fp32"):
    notices = []
    return Guard("a way", "another is used", precision=precision, notice=notices.append, where="model m"), notices


def shifted(by):
    return [row + by for row in ROWS]


@pytest.mark.parametrize("precision", TOLERANCES)
def test_differences_up_to_the_tolerance_of_the_precision_are_rounding(precision):
    within, notices = guard(precision)
    assert within.allows(10, fast=lambda: shifted(0.9 * TOLERANCES[precision]), whole=lambda: ROWS)
    assert not notices
    beyond, notices = guard(precision)
    assert not beyond.allows(10, fast=lambda: shifted(1.1 * TOLERANCES[precision]), whole=lambda: ROWS)
    assert len(notices) == 1
    assert notices[0].endswith(f"(expected at most {TOLERANCES[precision]:g} at {precision}), so another is used")


@pytest.mark.parametrize("found", [shifted(np.nan), [], ROWS[:1], ROWS[::-1]])
def test_what_cannot_be_compared_is_refused(found):
    refusing, notices = guard()
    assert not refusing.allows(10, fast=lambda: found, whole=lambda: ROWS)
    assert len(notices) == 1


def test_a_refused_way_is_never_tried_again():
    refusing, notices = guard()
    assert not refusing.allows(10, fast=lambda: shifted(1), whole=lambda: ROWS)
    for length in (1, 10, 1000):
        assert not refusing.allows(length, fast=unexpected, whole=unexpected)
    assert len(notices) == 1


def unexpected():
    raise AssertionError


def test_a_much_longer_question_is_tested_again():
    testing, _ = guard()
    counted = []

    def fast():
        counted.append(1)
        return ROWS

    assert testing.allows(10, fast=fast, whole=lambda: ROWS)
    assert testing.allows(int(10 * GROWTH), fast=unexpected, whole=unexpected)
    assert testing.allows(int(10 * GROWTH) + 1, fast=fast, whole=lambda: ROWS)
    assert not testing.allows(100, fast=lambda: shifted(1), whole=lambda: ROWS)
    assert len(counted) == 2


def test_a_model_that_fails_in_both_ways_is_an_error_and_no_notice():
    failing, notices = guard()

    def fails():
        raise ModelError("model m: a pass fails")

    with pytest.raises(ModelError, match="model m: a pass fails"):
        failing.allows(10, fast=fails, whole=fails)
    assert not notices


@given(st.lists(st.lists(st.floats(-50, 0), max_size=4), max_size=4), st.floats(0, 10))
def test_the_largest_difference_is_that_of_the_worst_token(rows, by):
    arrays = [np.array(row) for row in rows]
    moved = [row - by for row in arrays]
    worst = by if any(map(len, rows)) else 0
    assert largest_difference(moved, arrays) == pytest.approx(worst, abs=1e-9)
    assert largest_difference(arrays, moved) == largest_difference(moved, arrays)
