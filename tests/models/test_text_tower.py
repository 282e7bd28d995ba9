from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.hf_model import HFTextEncoder
from torch import nn
from transformers import BertConfig, RobertaConfig

from pytest_clip_robust.models.open_clip.text_tower import text_tower
from pytest_clip_robust.models.probes import PADDED_TEXTS

CONTEXT, VOCABULARY, START, END = 16, 100, 98, 99
TEXT = {"context_length": CONTEXT, "vocab_size": VOCABULARY, "width": 64, "heads": 2, "layers": 2}
VISION = {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 32}
EOS = {"pool_type": "eos", "eos_id": END}
LENGTHS = st.lists(st.integers(0, CONTEXT - 2), min_size=1, max_size=5)


def tokens_of(lengths, *, padding=0, seed=0):
    """Return tokens as open_clip's tokenizers make them: start, words, end, and padding up to the context."""
    numbers = torch.Generator().manual_seed(seed)
    rows = torch.full((len(lengths), CONTEXT), padding)
    for row, length in zip(rows, lengths, strict=True):
        row[0], row[length + 1] = START, END
        row[1 : length + 1] = torch.randint(1, START, (length,), generator=numbers)
    return rows


def clip_of(*, custom=False, **text):
    torch.manual_seed(0)
    kind = open_clip.CustomTextCLIP if custom else open_clip.CLIP
    clip = kind(32, open_clip.CLIPVisionCfg(**VISION), open_clip.CLIPTextCfg(**TEXT, **text)).eval()
    for parameter in clip.parameters():  # every token has an influence worth mentioning
        nn.init.normal_(parameter, std=0.3)
    return clip


def hugging_face(config):
    torch.manual_seed(0)
    text = HFTextEncoder("", 32, config=config, pooler_type="mean_pooler", proj_type="linear").eval()
    return SimpleNamespace(text=text, encode_text=text, logit_scale=torch.zeros(()))


SMALL = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 40,
}
TOWERS = {
    "CLIP": clip_of,
    "own end token": lambda: clip_of(**EOS),
    "separate tower": lambda: clip_of(custom=True),
    "separate tower with own end token": lambda: clip_of(custom=True, **EOS),
    "linear projection": lambda: clip_of(custom=True, proj_bias=True),
    "BERT": lambda: hugging_face(BertConfig(**SMALL)),
    "RoBERTa": lambda: hugging_face(RobertaConfig(**SMALL, pad_token_id=0)),
}


def made(clip, probe=None, **how):
    tokens = tokens_of([3, 5]) if probe is None else probe
    return text_tower(clip, tokens, **{"precision": "fp32", "arithmetic": nullcontext, **how})


@pytest.fixture(scope="module", params=TOWERS)
def clip(request):
    return TOWERS[request.param]()


@pytest.fixture(scope="module")
def tower(clip):
    return made(clip)


@settings(max_examples=20)
@given(LENGTHS, st.integers(0, 9))
def test_features_are_the_same_without_padding(clip, tower, lengths, seed):
    tokens = tokens_of(lengths, seed=seed)
    short = tower.shorten(tokens)
    assert short.shape == (len(lengths), max(lengths) + 2)
    assert short.is_contiguous()
    with torch.inference_mode():
        found, expected = tower.encode(short), clip.encode_text(tokens)
    assert (1 - torch.cosine_similarity(found.double(), expected.double())).max() < 1e-6
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("padding", [0, END])
def test_the_end_is_the_first_of_several_equal_tokens(padding):
    tokens = tokens_of([3, 7], padding=padding)
    assert made(clip_of(), tokens).shorten(tokens).shape == (2, 9)


@pytest.mark.parametrize(
    "text",
    [
        {"no_causal_mask": True},
        {"pool_type": "last"},
        {"embed_cls": True},
        {"output_tokens": True},
    ],
    ids=str,
)
def test_a_tower_whose_features_depend_on_padding_gets_it(text):
    clip = clip_of(custom=True, **text)
    tower, tokens = made(clip), tokens_of([3, 5])
    assert tower.shorten(tokens) is tokens
    assert tower.encode == clip.encode_text


def test_a_subclass_gets_padding_as_it_may_use_it():
    class Own(open_clip.transformer.TextTransformer):
        pass

    clip = clip_of(custom=True)
    clip.text.__class__ = Own
    assert made(clip).encode == clip.encode_text


def without_a_mask(clip):
    clip.attn_mask.zero_()


def with_nan(clip):
    clip.ln_final.weight.data.fill_(float("nan"))


def with_an_own_forward(clip):
    whole = clip.encode_text

    def encode_text(tokens):
        if tokens.shape[1] < CONTEXT:
            raise RuntimeError("too few tokens")
        return whole(tokens)

    clip.encode_text = encode_text


@pytest.mark.parametrize("change", [without_a_mask, with_nan, with_an_own_forward])
def test_a_tower_whose_features_would_change_gets_padding(change):
    clip = clip_of()
    change(clip)
    tower, tokens = made(clip), tokens_of([3, 5])
    assert tower.shorten(tokens) is tokens
    assert tower.encode == clip.encode_text


def test_the_model_itself_keeps_its_positions():
    clip = clip_of()
    tower, tokens = made(clip), tokens_of([3, 5])
    with torch.inference_mode():
        tower.encode(tower.shorten(tokens))
        whole = tower.encode(tokens)
    assert clip.positional_embedding.shape[0] == len(clip.attn_mask) == CONTEXT
    assert isinstance(clip.positional_embedding, nn.Parameter)
    assert torch.equal(whole, clip.encode_text(tokens))


def test_the_trial_of_a_model_with_few_positions_has_padding_as_well():
    tokens = open_clip.SimpleTokenizer(context_length=CONTEXT)(list(PADDED_TEXTS))
    assert int(tokens.argmax(dim=1).max()) < CONTEXT - 2


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_low_precision_changes_features_by_rounding_only(precision):
    clip, kind = clip_of(), {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    tower = made(clip, precision=precision, arithmetic=lambda: torch.autocast("cpu", kind))
    assert tower.shorten(tokens_of([3])).shape == (1, 5)
