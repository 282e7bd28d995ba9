"""Likelihoods of candidates behind one image are those of the library's own passes, and cost one image pass."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers as hf
from hypothesis import given
from hypothesis import strategies as st
from tiny_lmms import BUILD, TURNS, asked, build, built, photo, processed, prompt_of, template

from pytest_clip_robust.errors import DataError, ModelError
from pytest_clip_robust.models.lmm.likelihood import Cost, grouped
from pytest_clip_robust.models.lmm.passes import Passes, bytes_per_token
from pytest_clip_robust.system.quiet import quiet

QUESTION = "What type of object is in this photo?"
NAMES = ["boat", "boat house", "dog", "German shepherd dog", "Zoë's café 猫"]
"""A name that begins another, one of many tokens, and one with more bytes than characters."""

every_family = pytest.mark.parametrize("family", BUILD)


def gap(family):
    """Return what is between the prompt of a family and an answer."""
    return "" if prompt_of(family, "").endswith("\n") or family in {"paligemma", "llava_onevision"} else " "


@torch.no_grad()
def library(family, name, image, question=QUESTION):
    """Return the log-probability of each token of a name, by the library's pass over text, name and image."""
    model, processor = built(family)
    prompt = prompt_of(family, question)
    before = processed(family, prompt, image)["input_ids"].shape[1]
    if family == "paligemma":  # its processor has an argument for answers, and ends them itself
        with quiet():
            inputs = processor(text=[prompt], images=[[image]], suffix=[name], return_tensors="pt")
        inputs.pop("labels")
        end = 1
    else:
        inputs, end = processed(family, f"{prompt}{gap(family)}{name}", image), 0
    scores = model(**inputs).logits[0].log_softmax(-1)
    places = range(before, inputs["input_ids"].shape[1] - end)
    return np.array([scores[place - 1, inputs["input_ids"][0, place]].item() for place in places])


@every_family
def test_likelihoods_are_those_of_the_librarys_passes(family):
    notices = []
    model = asked(family, notice=notices.append)
    found = model.likelihoods(photo(), QUESTION, NAMES)
    expected = [library(family, name, photo()) for name in NAMES]
    np.testing.assert_allclose(found.sums, [one.sum() for one in expected], rtol=2e-6, atol=1e-5)
    assert found.tokens.tolist() == [len(one) for one in expected]
    assert found.bytes.tolist() == [4, 10, 3, 19, 16]
    assert not notices  # the fast way was used
    other = model.likelihoods(photo(31, 64, seed=1), QUESTION, NAMES).sums
    np.testing.assert_allclose(other, [library(family, name, photo(31, 64, seed=1)).sum() for name in NAMES], atol=1e-5)
    assert np.abs(other - found.sums).max() > 0.01  # the image matters


@every_family
def test_any_number_of_candidates_costs_one_image_pass(family, monkeypatch):
    model, module = asked(family), built(family)[0]
    many = [f"{size} {thing}" for size in ("big", "old", "wet") for thing in ("boat", "tabby cat", "dog", "hat")]
    whole = model.likelihoods(photo(), QUESTION, many)
    counted = []
    hook = module.register_forward_pre_hook(lambda _, __, inputs: counted.append(inputs), with_kwargs=True)
    again = model.likelihoods(photo(), QUESTION, many)
    rows = [len(inputs["input_ids"]) for inputs in counted]
    assert ["pixel_values" in inputs for inputs in counted] == [True] + [False] * (len(counted) - 1)
    assert rows == [1, len(many)]
    np.testing.assert_allclose(again.sums, whole.sums, rtol=0, atol=1e-5)
    counted.clear()
    monkeypatch.setattr(model, "_memory", 1)  # not even two candidates fit into a pass
    single = model.likelihoods(photo(), QUESTION, many)
    hook.remove()
    assert [len(inputs["input_ids"]) for inputs in counted] == [1] * (1 + len(many))
    np.testing.assert_allclose(single.sums, whole.sums, rtol=0, atol=1e-5)


@every_family
def test_several_images_have_the_likelihoods_of_single_ones(family):
    notices = []
    model = asked(family, notice=notices.append)
    images = [photo(), photo(seed=1), photo(seed=2), photo(31, 64, seed=3), photo(seed=4)]
    single = np.stack([model.likelihoods(image, QUESTION, NAMES).sums for image in images])
    assert np.abs(np.diff(single, axis=0)).max(axis=1).min() > 0.01  # the images differ
    for chosen in ([0, 1, 2], [3, 0], [4, 3, 2, 1, 0], [1], []):
        found = model.sums([images[one] for one in chosen], QUESTION, NAMES)
        np.testing.assert_allclose(found, single[chosen].reshape(-1, len(NAMES)), rtol=2e-6, atol=1e-5)
    assert not notices


def passes_of(model, module, images):
    """Return the numbers of rows of the passes over images, and of those behind them."""
    counted = []
    hook = module.register_forward_pre_hook(lambda _, __, inputs: counted.append(inputs), with_kwargs=True)
    found = model.sums(images, QUESTION, NAMES)
    hook.remove()
    return found, [(len(one["input_ids"]), "pixel_values" in one) for one in counted]


def test_several_images_share_their_passes_if_all_candidates_fit_into_one():
    model, module = asked("llava"), built("llava")[0]
    images = [photo(seed=seed) for seed in range(4)]
    model.sums(images, QUESTION, NAMES)
    longer = sum(size > 1 for size in model.sizes(QUESTION, NAMES)[0])
    found, passes = passes_of(model, module, images)
    assert passes == [(4, True), (4 * longer, False)]
    model._memory = 1
    model.sums(images, QUESTION, NAMES)  # the first question in this way is also asked in whole passes
    alone, passes = passes_of(model, module, images)
    assert [rows for rows, over_image in passes if over_image] == [1] * 4
    np.testing.assert_allclose(alone, found, rtol=0, atol=1e-5)


def test_images_of_questions_that_would_be_padded_have_passes_of_their_own():
    model, module = asked("qwen2_vl"), built("qwen2_vl")[0]
    images = [photo(), photo(112, 112, seed=1)]
    assert not model._tensors([model._wording.ask(QUESTION).border] * 2, images)["attention_mask"].all()
    model.sums(images, QUESTION, NAMES)
    _, passes = passes_of(model, module, images)
    assert [rows for rows, over_image in passes if over_image] == [1, 1]


def test_candidates_may_be_equal_and_come_in_any_order():
    model = asked("llava")
    found = model.likelihoods(photo(), QUESTION, ["dog", "boat house", "dog", " dog\n"])
    assert found.sums[0] == found.sums[2] == found.sums[3]
    assert found.bytes.tolist() == [3, 10, 3, 3]
    turned = model.likelihoods(photo(), QUESTION, ["boat house", "dog"])
    np.testing.assert_allclose(turned.sums, found.sums[[1, 0]], rtol=0, atol=1e-5)


def test_a_candidate_of_one_token_needs_no_pass_of_its_own():
    model, module = asked("llava"), built("llava")[0]
    model.likelihoods(photo(), QUESTION, ["dog"])
    counted = []
    hook = module.register_forward_pre_hook(lambda *_: counted.append(1))
    found = model.likelihoods(photo(), QUESTION, ["dog", "boat"])
    hook.remove()
    assert found.tokens.tolist() == [1, 1]
    assert len(counted) == 1


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_gives_nearly_the_same(precision):
    notices = []
    module, processor = build("llava")
    half = module.to({"bf16": torch.bfloat16, "fp16": torch.float16}[precision])
    model = asked("llava", parts=(half, processor), precision=precision, notice=notices.append)
    found = model.likelihoods(photo(), QUESTION, NAMES)
    expected = asked("llava").likelihoods(photo(), QUESTION, NAMES)
    assert not notices
    assert 1e-6 < np.abs(found.sums / found.tokens - expected.sums / expected.tokens).max() < 0.2
    assert model.cache_bytes == asked("llava").cache_bytes / 2


# memory


@given(st.lists(st.integers(1, 9), max_size=40).map(sorted), st.integers(0, 50), st.integers(1, 3000))
def test_groups_fit_into_the_memory_and_keep_every_answer(lengths, before, memory):
    cost = Cost(before=3, each=10)
    answers = [tuple(range(length)) for length in lengths]
    groups = list(grouped(answers, before=before, cost=cost, memory=memory))
    assert [one for group in groups for one in group] == answers
    for group in groups:
        assert len(group) == 1 or len(group) * (3 * before + 10 * max(map(len, group))) <= memory
    # Two neighbours are apart only if the second answer would not have fitted.
    for group, following in pairwise(groups):
        assert (len(group) + 1) * (3 * before + 10 * len(following[0])) > memory


@every_family
def test_the_memory_of_the_cache_is_known(family):
    model = asked(family)
    tokens = model._tensors([model._wording.ask(QUESTION).border], [photo()])
    layers = model._passes.prefix(tokens).cache.layers
    size = sum(one.numel() * one.element_size() for layer in layers for one in (layer.keys, layer.values))
    stated = model.cache_bytes * tokens["input_ids"].shape[1]
    assert size == stated if family != "gemma3" else 0 < size < stated  # its window is shorter than the question


def test_llava_7b_needs_half_a_mebibyte_per_token():
    assert bytes_per_token(hf.LlavaConfig(text_config=hf.LlamaConfig()), torch.float16) == 524_288


# questions and candidates that are refused


def refused(message, *, family="llava", names=("dog",), question=QUESTION, error=DataError, **options):
    with pytest.raises(error, match=message) as found:
        asked(family, **options).likelihoods(photo(), question, list(names))
    assert str(found.value).startswith(f"model lmm:{family}: ")
    assert "\n" not in str(found.value)


def test_candidates_must_be_there():
    refused(r"no candidates for question 'What type", names=())
    refused("candidate ' ' is empty", names=("dog", " "))
    refused("question '' is empty", question="")


def test_special_tokens_are_no_part_of_questions_and_candidates():
    refused("candidate 'dog</s>' contains '</s>', a special token", names=("dog</s>",))
    refused("question 'What is <image>[?]' contains '<image>', a special token", question="What is <image>?")


def test_a_candidate_longer_than_the_context_is_refused():
    refused(
        r"the answer 'dog dog .*\.\.\. needs 2000 tokens, and question and image take \d+ of the 1,024 that the model "
        "can read; shorten it, or use smaller images",
        names=("boat", "dog " * 2000),
    )


def test_the_context_may_be_filled_to_its_end():
    model = asked("llava")
    used = model._tensors([model._wording.ask(QUESTION).border], [photo()])["input_ids"].shape[1]
    model.context = used + 1
    assert model.likelihoods(photo(), QUESTION, ["dog"]).tokens == [1]
    with pytest.raises(DataError, match="the answer 'boat house' needs 2 tokens"):
        model.likelihoods(photo(), QUESTION, ["boat house"])


def test_a_candidate_that_changes_the_tokens_of_its_question_is_refused():
    turn = TURNS["llava"]._replace(answer="ASSISTANT:\n\n")  # two line breaks are one token, but not before a word
    model, processor = build("llava")
    processor.chat_template = template(turn)
    refused("candidate 'dog' changes the tokens of the question before it; write", parts=(model, processor))


def test_spaces_at_the_end_of_a_prompt_belong_to_the_answer():
    model, processor = build("llava")
    processor.chat_template = template(TURNS["llava"]._replace(answer="ASSISTANT: "))
    found = asked("llava", parts=(model, processor)).likelihoods(photo(), QUESTION, NAMES)
    np.testing.assert_allclose(found.sums, asked("llava").likelihoods(photo(), QUESTION, NAMES).sums, rtol=0, atol=1e-5)


def test_a_processor_with_tokens_of_its_own_is_refused():
    model, processor = build("llava")

    class Lowering:
        tokenizer, image_token, chat_template = processor.tokenizer, "<image>", processor.chat_template
        apply_chat_template = staticmethod(processor.apply_chat_template)

        def __call__(self, text, **options):
            return processor(text=[one.lower() for one in text], **options)

    parts = {"parts": (model, Lowering())}
    refused("its processor tokenises 'USER: <image>.* differently than its tokenizer", error=ModelError, **parts)


def test_log_probabilities_that_are_nan_are_refused():
    model, processor = build("llava")
    model.lm_head.weight.data[5] = torch.nan
    refused("its log-probabilities are NaN; check the weights", error=ModelError, parts=(model, processor))


def test_memory_that_does_not_suffice_is_an_error_of_one_line(monkeypatch):
    model, processor = build("llava")

    def forward(*_, **__):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.\nTried to allocate 20 GiB")

    monkeypatch.setattr(model.model, "forward", forward)
    refused("a pass does not fit into the memory of cpu: CUDA", error=ModelError, parts=(model, processor))


# both cache APIs of transformers


class Older(torch.nn.Module):
    """A model with the interface of older versions: ``past_key_values``, and no choice of logits."""

    def __init__(self, model):
        super().__init__()
        self.inner, self.config, self.generation_config = model, model.config, model.generation_config
        self.dtype = model.dtype

    def forward(self, input_ids, past_key_values=None, attention_mask=None, pixel_values=None, use_cache=None):
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "pixel_values": pixel_values}
        own = Passes(self.inner, shifted=False, device="cpu", where="").kept
        output = self.inner(**inputs, **{own: past_key_values}, use_cache=use_cache)
        return Output(logits=output.logits, past_key_values=getattr(output, own, None))


class Output(SimpleNamespace):
    __getitem__ = SimpleNamespace.__getattribute__


def test_the_older_cache_interface_is_used_where_the_model_has_it():
    notices = []
    model, processor = build("llava")
    older = asked("llava", parts=(Older(model), processor), notice=notices.append)
    found = older.likelihoods(photo(), QUESTION, NAMES)
    expected = asked("llava").likelihoods(photo(), QUESTION, NAMES)
    np.testing.assert_allclose(found.sums, expected.sums, rtol=0, atol=1e-5)
    assert older._passes.kept == "past_key_values"
    assert not notices


def test_what_a_tokenizer_returns_for_other_models_is_left_out():
    """Tokenizers of older versions return token types for every model, and those of PaliGemma labels."""
    model, processor = build("llava")
    processor.tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    found = asked("llava", parts=(model, processor))
    assert set(found._tensors(["USER: <image>"], [photo()])) == {"input_ids", "attention_mask", "pixel_values"}
    found.likelihoods(photo(), QUESTION, NAMES)
    kept = asked("paligemma")._tensors(["<image>a"], [photo()])
    assert set(kept) == {"input_ids", "attention_mask", "pixel_values", "token_type_ids"}
