"""Greedy answers are those of the library's own passes, whatever else a model's settings ask for."""

from __future__ import annotations

import pytest
import torch
from tiny_lmms import BUILD, START, asked, build, built, photo, processed, prompt_of

from pytest_clip_robust.errors import DataError, ModelError
from pytest_clip_robust.models.lmm.generation import end_tokens

QUESTION = "What type of object is in this photo?"
OTHERS = ["Is it a dog, a tabby cat, a house or a boat?", "Dog?"]
PHOTOS = [photo(), photo(31, 64, seed=1), photo(40, 40, seed=2)]

every_family = pytest.mark.parametrize("family", BUILD)


@torch.no_grad()
def library(family, image, question, limit):
    """Return the most probable tokens, one after the other, by the library's passes without a cache."""
    model, processor = built(family)
    ends = end_tokens(model, processor.tokenizer)
    inputs, found = dict(processed(family, prompt_of(family, question), image)), []
    while len(found) < limit and (not found or found[-1] not in ends):
        logits = model(**inputs).logits[0, -1]
        logits[model.config.image_token_id] = -torch.inf  # a text cannot hold another image
        found.append(int(logits.argmax()))
        for name, value in {
            "input_ids": found[-1],
            "attention_mask": 1,
            "token_type_ids": int(family == "paligemma"),
            "mm_token_type_ids": 0,
        }.items():
            if name in inputs:
                inputs[name] = torch.cat([inputs[name], inputs[name].new_tensor([[value]])], dim=1)
    return processor.tokenizer.decode(found, skip_special_tokens=True).strip()


@every_family
def test_answers_are_those_of_the_librarys_passes(family):
    notices = []
    model = asked(family, notice=notices.append)
    questions = [QUESTION, *OTHERS]
    expected = [library(family, image, question, 10) for image, question in zip(PHOTOS, questions, strict=True)]
    together = model.answers(PHOTOS, questions, limit=10)
    assert together == expected
    alone = [model.answers([image], [question], limit=10)[0] for image, question in zip(PHOTOS, questions, strict=True)]
    assert alone == expected
    assert len(set(expected)) > 1  # releases of transformers start with other random numbers
    assert model.answers(PHOTOS, questions, limit=10) == expected
    assert not notices  # the fast ways were used


def test_the_settings_of_a_checkpoint_do_not_change_the_answer():
    model, processor = build("llava")
    expected = asked("llava").answers([photo()], [QUESTION], limit=12)
    sampling = {"do_sample": True, "temperature": 5.0, "num_beams": 3, "repetition_penalty": 9.0, "max_length": 3}
    model.generation_config.update(**sampling)
    assert asked("llava", parts=(model, processor)).answers([photo()], [QUESTION], limit=12) == expected


def test_answers_end_with_any_end_token_and_have_no_special_tokens():
    model, processor = build("llava")
    own = processor.tokenizer
    tokens = tuple(asked("llava")._generated(batch(asked("llava")), 6)[0].tokens)
    model.generation_config.eos_token_id = [tokens[3], own.eos_token_id]
    shorter = asked("llava", parts=(model, processor))
    assert shorter._generated(batch(shorter), 6)[0].tokens == tokens[: tokens.index(tokens[3]) + 1]
    assert shorter.text((own.eos_token_id, *own(" dog ").input_ids, own.eos_token_id)) == "dog"


def batch(model):
    from pytest_clip_robust.models.lmm.model import Batch

    return Batch(model._tensors, [model._wording.ask(QUESTION).prompt], [photo()])


def test_end_tokens_are_those_of_model_tokenizer_and_template():
    model, processor = build("llava")
    own = processor.tokenizer
    named = {own.convert_tokens_to_ids(token) for token in ("</s>", "<|im_end|>", "<end_of_turn>")}
    model.generation_config.eos_token_id = 17
    assert set(end_tokens(model, own)) == named | {17}
    model.generation_config.eos_token_id = None
    assert set(end_tokens(model, own)) == named
    assert own.convert_tokens_to_ids(START) not in named


def test_an_answer_has_at_most_as_many_tokens_as_asked_for():
    model = asked("llava")
    texts = [model._generated(batch(model), limit)[0].tokens for limit in (1, 2, 5)]
    assert [len(text) for text in texts] == [1, 2, 5]
    assert texts[2][:2] == texts[1]


def test_an_answer_ends_at_the_end_of_the_context():
    model = asked("llava")
    used = batch(model).alone[0]["input_ids"].shape[1]
    model.context = used + 2
    assert len(model._generated(batch(model), 9)[0].tokens) == 2
    model.context = used
    with pytest.raises(
        DataError, match=rf"the answer 'of at least one token' needs 1 tokens, and .* take {used} of the"
    ):
        model.answers([photo()], [QUESTION], limit=9)


def test_every_image_needs_a_question():
    with pytest.raises(ValueError, match=r"2 images, and 1 questions"):
        asked("llava").answers(PHOTOS[:2], [QUESTION], limit=2)


def test_a_limit_below_one_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="limit=0"):
        asked("llava").answers([photo()], [QUESTION], limit=0)


def test_no_images_have_no_answers():
    assert asked("llava").answers([], [], limit=5) == []


def test_a_model_that_cannot_generate_is_an_error_of_one_line(monkeypatch):
    model, processor = build("llava")

    def generate(*_, **__):
        raise ValueError("no way\nto do this")

    monkeypatch.setattr(model, "generate", generate)
    with pytest.raises(ModelError, match=r"^model lmm:llava: a pass fails: ValueError: no way to do this$"):
        asked("llava", parts=(model, processor)).answers([photo()], [QUESTION], limit=5)
