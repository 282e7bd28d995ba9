from __future__ import annotations

from types import SimpleNamespace

import open_clip
import pytest
import transformers
from torch import nn
from transformers_folders import BUILD, built

from pytest_clip_robust.core.checks import Status
from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.check.batch import embedded_batch
from pytest_clip_robust.models.check.texts import check_context, check_tokens
from pytest_clip_robust.models.hugging_face.texts import Texts, text_settings

TEXTS = embedded_batch().texts


class OpenClip:
    """As the encoder of open_clip models holds its parts."""

    def __init__(self, tokenizer, embeddings):
        self._tokenizer, self.module = tokenizer, nn.Embedding(embeddings, 2)

    def encode_text(self, texts):
        raise NotImplementedError


class Transformers:
    """As the encoder of models of transformers holds its parts."""

    def __init__(self, tokenizer, config):
        self._tokens = Texts(tokenizer, text_settings(config, tokenizer)[0])
        self.module = nn.Embedding(getattr(config, "text_config", config).vocab_size, 2)

    def encode_text(self, texts):
        raise NotImplementedError


def test_the_tokenizer_of_open_clip_passes():
    check = check_tokens(OpenClip(open_clip.SimpleTokenizer(), 49408), TEXTS)
    assert check.status == Status.OK
    assert check.measured == "16 of 16 texts survive, 0 unknown tokens, 49,408 tokens for 49,408 embeddings"


@pytest.mark.parametrize("family", BUILD)
def test_the_tokenizers_of_transformers_pass(family):
    model, tokenizer, _ = built(family)
    check = check_tokens(Transformers(tokenizer, model.config), TEXTS)
    # The config of this SigLIP 2 says that it has the 256,000 tokens of Gemma, which are not made for a test.
    assert check.status == (Status.WARNING if family == "SigLIP 2" else Status.OK), check


def test_tokens_without_embeddings_fail():
    check = check_tokens(OpenClip(open_clip.SimpleTokenizer(), 3000), TEXTS)
    assert check.status == Status.FAILED
    assert check.fix == "token 49407 has no embedding: use the tokenizer that the model was trained with"


def test_a_tokenizer_of_another_language_fails():
    """One that knows no lower-case letters: every word becomes the token for unknown text."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"ABCDEFG.猫的"]
    tokenizer = transformers.BertTokenizer(
        vocab={name: i for i, name in enumerate(names)}, model_max_length=40, do_lower_case=False
    )
    config = transformers.BertConfig(vocab_size=len(names), max_position_embeddings=40)
    check = check_tokens(Transformers(tokenizer, config), TEXTS)
    assert check.status == Status.FAILED
    assert check.measured.startswith("0 of 16 texts survive, 81 unknown tokens")
    assert "'a photo of a chair.' becomes" in check.fix


def test_a_tokenizer_with_far_fewer_tokens_than_embeddings_is_a_warning():
    check = check_tokens(OpenClip(open_clip.SimpleTokenizer(), 250_000), TEXTS)
    assert check.status == Status.WARNING
    assert "49,408 tokens for 250,000 embeddings" in check.measured


def test_truncation_that_removes_the_end_token_fails():
    class Cut(open_clip.SimpleTokenizer):
        def __call__(self, texts, context_length=None):
            return super().__call__(texts, 100)[:, :77]

    check = check_tokens(OpenClip(Cut(), 49408), TEXTS)
    assert check.status == Status.FAILED
    assert check.fix.startswith("truncation removes the end token")


def test_a_tokenizer_that_raises_is_an_error_of_one_line():
    class Broken(open_clip.SimpleTokenizer):
        def __call__(self, texts, context_length=None):
            raise ValueError("no merges")

    with pytest.raises(ModelError, match=r"^its tokenizer failed: ValueError: no merges$"):
        check_tokens(OpenClip(Broken(), 49408), TEXTS)


def test_tokenizers_that_are_not_known_are_not_judged():
    encoder = SimpleNamespace(encode_text=len, too_long=lambda texts: [len(one) > 30 for one in texts])
    assert check_tokens(encoder, TEXTS).status == Status.NOT_APPLICABLE
    assert check_tokens(SimpleNamespace(), TEXTS).status == Status.NOT_APPLICABLE
    assert check_context(SimpleNamespace(encode_text=len), TEXTS, []).status == Status.NOT_APPLICABLE
    assert check_context(SimpleNamespace(), TEXTS, []).status == Status.NOT_APPLICABLE


def test_prompts_that_are_truncated_are_a_warning():
    encoder = SimpleNamespace(encode_text=len, too_long=lambda texts: [len(one) > 30 for one in texts])
    check = check_context(encoder, TEXTS, ["a cat", "a very long prompt about a cat"])
    assert (check.status, check.measured) == (Status.OK, "truncated: 0 of 16 texts of the batch, 0 of 2 prompts")
    check = check_context(encoder, TEXTS, ["a cat", "a very long prompt about a cat."])
    assert check.status == Status.WARNING
    assert check.measured.endswith("1 of 2 prompts")
    assert "'a very long prompt about a cat.'" in check.fix


def test_a_context_that_is_too_short_for_any_text_fails():
    encoder = SimpleNamespace(encode_text=len, too_long=lambda texts: [len(one) > 5 for one in texts])
    check = check_context(encoder, TEXTS, [])
    assert check.status == Status.FAILED
    assert "'a photo of a chair.' does not fit" in check.fix
