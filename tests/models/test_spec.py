from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.spec import ModelKind, ModelSpec


@pytest.mark.parametrize(
    ("text", "kind", "name", "weights", "checkpoint"),
    [
        ("ViT-B-32", ModelKind.OPEN_CLIP, "ViT-B-32", "", False),
        ("ViT-B-32@openai", ModelKind.OPEN_CLIP, "ViT-B-32", "openai", False),
        ("ViT-B-32@runs/42/epoch_3.pt", ModelKind.OPEN_CLIP, "ViT-B-32", "runs/42/epoch_3.pt", True),
        ("ViT-B-32@epoch.safetensors", ModelKind.OPEN_CLIP, "ViT-B-32", "epoch.safetensors", True),
        ("my/config.json@a@b/c.pt", ModelKind.OPEN_CLIP, "my/config.json", "a@b/c.pt", True),
        ("local-dir:models/mine", ModelKind.LOCAL_DIR, "models/mine", "", False),
        ("hf-hub:org/repo", ModelKind.HF_HUB, "org/repo", "", False),
        ("py:my.module:load", ModelKind.PYTHON, "my.module:load", "", False),
        ("py:my/file.py:Model.load", ModelKind.PYTHON, "my/file.py:Model.load", "", False),
    ],
)
def test_specs_are_parsed(text, kind, name, weights, checkpoint):
    spec = ModelSpec.parse(text)
    assert (spec.kind, spec.name, spec.weights, spec.has_checkpoint) == (kind, name, weights, checkpoint)
    assert str(spec) == text
    assert ModelSpec.parse(str(spec)) == spec


def test_the_activation_of_a_checkpoint_can_be_said():
    assert ModelSpec.parse("ViT-B-32@a/b.pt?quick_gelu=true").quick_gelu is True
    assert ModelSpec.parse("ViT-B-32@a/b.pt?quick_gelu=false").quick_gelu is False
    assert ModelSpec.parse("ViT-B-32@a/b.pt").quick_gelu is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("@openai", "lacks a part"),
        ("ViT-B-32@", "lacks a part"),
        ("local_dir:x", "unknown kind 'local_dir' \\(did you mean 'local-dir:'"),
        ("local-dir:", "expected a folder"),
        ("hf-hub:repo", "expected hf-hub:ORGANISATION/REPOSITORY"),
        ("py:module", "expected py:MODULE:FACTORY"),
        ("py:module:not valid", "expected py:MODULE:FACTORY"),
        ("timm:resnet50", "not supported yet"),
        ("ViT-B-32@a/b.pt?gelu=quick", "'gelu=quick' is not one of quick_gelu=true or quick_gelu=false"),
        ("ViT-B-32@openai?quick_gelu=true", "a tag knows its activation"),
        ("ViT\x1b[31m", "control characters"),
        ("x" * 5000, "of 5000 characters"),
    ],
)
def test_what_is_no_spec_says_what_one_looks_like(text, message):
    with pytest.raises(ModelError, match=message) as error:
        ModelSpec.parse(text)
    assert str(error.value).isprintable()


@given(st.text(max_size=60))
def test_any_text_is_a_spec_or_an_error_of_one_printable_line(text):
    message = ""
    try:
        spec = ModelSpec.parse(text)
    except ModelError as error:
        message = str(error)
    else:
        assert ModelSpec.parse(str(spec)) == spec
        assert spec.label.isprintable()
    assert message.isprintable()


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ("ViT-B-32@runs/42/epoch_3.pt", "ViT-B-32"),
        ("ViT-B-32@openai", "ViT-B-32"),
        ("configs/mine.json@best.safetensors", "mine"),
        ("hf-hub:org/ViT-B-16-x", "ViT-B-16-x"),
        ("py:my.module:load", "my.module.load"),
        ("py:models/mine.py:load", "mine.load"),
        ("showroom-clip", "showroom-clip"),
        ("local-dir:runs/42", ""),
    ],
)
def test_a_family_stays_from_checkpoint_to_checkpoint_and_is_no_path(text, family):
    assert ModelSpec.parse(text).family == family
