from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.spec import ModelSpec


@pytest.mark.parametrize(
    ("text", "kind", "name", "weights", "checkpoint"),
    [
        ("ViT-B-32", "open_clip", "ViT-B-32", "", False),
        ("ViT-B-32@openai", "open_clip", "ViT-B-32", "openai", False),
        ("ViT-B-32@runs/42/epoch_3.pt", "open_clip", "ViT-B-32", "runs/42/epoch_3.pt", True),
        ("ViT-B-32@epoch.safetensors", "open_clip", "ViT-B-32", "epoch.safetensors", True),
        ("my/config.json@a@b/c.pt", "open_clip", "my/config.json", "a@b/c.pt", True),
        ("local-dir:models/mine", "local-dir", "models/mine", "", False),
        ("local-dir:models/mine@runs/best.pt", "local-dir", "models/mine", "runs/best.pt", False),
        ("local-dir:models/mine@runs/a@b.pt?weights=ema", "local-dir", "models/mine", "runs/a@b.pt", False),
        ("hf-hub:org/repo@runs/best.pt", "hf-hub", "org/repo", "runs/best.pt", False),
        ("ViT-B-32@a/b.pt?weights=ema&image_size=336", "open_clip", "ViT-B-32", "a/b.pt", True),
        ("py:my.module:load?size=3&path=a/b@c.pt", "py", "my.module:load", "", False),
        ("hf-hub:org/repo", "hf-hub", "org/repo", "", False),
        ("hf:org/repo", "hf", "org/repo", "", False),
        ("hf:runs/a@b?remote_code=true", "hf", "runs/a@b", "", False),
        ("hf:org/repo?revision=v1.2/beta", "hf", "org/repo", "", False),
        ("py:my.module:load", "py", "my.module:load", "", False),
        ("py:my/file.py:Model.load", "py", "my/file.py:Model.load", "", False),
        ("ViT-B-32@openai+adapter:runs/lora", "open_clip", "ViT-B-32", "openai", False),
        ("ViT-B-32@a/b.pt?quick_gelu=true+adapter:org/lora", "open_clip", "ViT-B-32", "a/b.pt", True),
        ("local-dir:models/mine+adapter:a@b/c?d", "local-dir", "models/mine", "", False),
        ("hf:org/repo?revision=v2+adapter:lora", "hf", "org/repo", "", False),
        ("interpolate:RN50@openai,RN50@a/b.pt?alpha=0.5", "interpolate", "RN50@openai,RN50@a/b.pt", "", False),
        ("interpolate:hf:a/b,hf:c/d+adapter:e?alpha=1", "interpolate", "hf:a/b,hf:c/d+adapter:e", "", False),
    ],
)
def test_specs_are_parsed(text, kind, name, weights, checkpoint):
    spec = ModelSpec.parse(text)
    assert (spec.kind, spec.name, spec.weights, spec.has_checkpoint) == (kind, name, weights, checkpoint)
    assert str(spec) == text
    assert ModelSpec.parse(str(spec)) == spec


def test_the_activation_of_a_checkpoint_can_be_stated():
    assert ModelSpec.parse("ViT-B-32@a/b.pt?quick_gelu=true").option("quick_gelu") == "true"
    assert ModelSpec.parse("ViT-B-32@a/b.pt?quick_gelu=false").option("quick_gelu") == "false"
    assert ModelSpec.parse("ViT-B-32@a/b.pt").option("quick_gelu") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("@openai", "expected ARCH@WEIGHTS"),
        ("ViT-B-32@", "ends in '@'; write ARCH@WEIGHTS"),
        ("local_dir:x", "unknown prefix 'local_dir' \\(did you mean 'local-dir:'"),
        ("local-dir:", "expected local-dir:FOLDER"),
        ("hf-hub:repo", "expected hf-hub:ORGANISATION/REPOSITORY"),
        ("py:module", "expected py:MODULE:FACTORY"),
        ("py:module:not valid", "expected py:MODULE:FACTORY"),
        (
            "onnx:resnet50",
            "unknown prefix 'onnx'; the prefixes are local-dir:, hf-hub:, hf:, timm:, predictions:, features:",
        ),
        ("ViT-B-32@a/b.pt?gelu=quick", "unknown option 'gelu'; the options are quick_gelu"),
        ("ViT-B-32@a/b.pt?quick_gelu=yes", "quick_gelu='yes'; expected true or false"),
        ("ViT-B-32@a/b.pt?quick_gelu", "'quick_gelu' after '\\?' is not OPTION=VALUE"),
        ("ViT-B-32@a/b.pt?quick_gelu=true&quick_gelu=true", "an option is given twice"),
        ("ViT-B-32@openai?quick_gelu=true", "options belong to ARCH@CHECKPOINT; remove \\?quick_gelu=true"),
        ("ViT-B-32@openai?weights=ema", "options belong to ARCH@CHECKPOINT"),
        ("ViT-B-32@a/b.pt?image_size=big", "image_size='big'; expected a number of pixels"),
        ("ViT-B-32@a/b.pt?image_size=0", "image_size='0'; expected a number of pixels"),
        ("local-dir:x?wieghts=ema", "unknown option 'wieghts' \\(did you mean 'weights'"),
        ("local-dir:x@", "ends in '@'"),
        ("hf-hub:org/repo@", "ends in '@'"),
        ("hf-hub:a/b/c", "expected hf-hub:ORGANISATION/REPOSITORY"),
        ("hf:", "expected hf:ORGANISATION/REPOSITORY or hf:FOLDER"),
        ("hf:org/repo?remote_code=yes", "remote_code='yes'; expected true or false"),
        ("hf:org/repo?revision=", "revision=''; expected a branch, tag or commit"),
        ("ViT-B-32+adapter:", r"expected BASE\+adapter:FOLDER"),
        ("ViT-B-32+adapter:a+adapter:b", "with one adapter on one base model"),
        ("+adapter:lora", "is empty"),
        ("py:m:f+adapter:lora", "py: takes no adapter$"),
        ("py:m:f?a=b+adapter:lora", "py: takes no adapter; in an option of your function write %2Badapter:"),
        ("interpolate:RN50@openai?alpha=0.5", "expected interpolate:A,B"),
        ("interpolate:a,b,c?alpha=0.5", r"two models A and B that have no comma in them \(in an option: %2C\)"),
        ("interpolate:a,b", "ends without .alpha=, the share of the second model, from 0 to 1"),
        ("interpolate:a, ?alpha=0.5", "is empty"),
        ("interpolate:a,b?alpha=1.5", "alpha='1.5'; expected a number from 0 to 1"),
        ("interpolate:a,b?alpha=nan", "alpha='nan'; expected a number from 0 to 1"),
        ("interpolate:a,py:m:f?alpha=0.5", "py: models cannot be interpolated"),
        ("interpolate:a,b?alpha=.5+adapter:c", "expected a number from 0 to 1"),
        ("ViT\x1b[31m", "control characters"),
        ("x" * 5000, "of 5000 characters"),
    ],
)
def test_an_invalid_spec_shows_valid_ones(text, message):
    with pytest.raises(ModelError, match=message) as error:
        ModelSpec.parse(text)
    assert str(error.value).isprintable()


def test_a_folder_with_an_at_sign_is_recognised_if_it_exists(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a@b").mkdir()
    (tmp_path / "a@b" / "config.json").touch()
    for text, name, weights in (
        ("local-dir:a@b", "a@b", ""),
        ("local-dir:a@b@c@d.pt", "a@b", "c@d.pt"),
        ("a@b/config.json@c.pt", "a@b/config.json", "c.pt"),
    ):
        spec = ModelSpec.parse(text)
        assert (spec.name, spec.weights) == (name, weights)
        assert str(spec) == text


@pytest.mark.parametrize("kind", ["", "local-dir:", "hf-hub:org/", "py:"])
@pytest.mark.parametrize("text", ["x" * 4000, "~nobody-at-all/x", "y" * 300 + "@" + "z" * 300, "?" * 9, "@" * 9])
def test_texts_that_cannot_be_paths_are_specs_or_one_line(kind, text):
    message = ""
    try:
        str(ModelSpec.parse(kind + text))
    except ModelError as error:
        message = str(error)
    assert "\n" not in message


def test_a_published_model_is_known_as_one():
    assert ModelSpec.parse("ViT-B-32@openai").is_published
    adapted, mixed = "ViT-B-32@openai+adapter:x", "interpolate:RN50@openai,RN50@openai?alpha=0.5"
    for text in ("ViT-B-32@a/b.pt", "local-dir:x", "hf-hub:a/b", "py:a:b", adapted, mixed):
        assert not ModelSpec.parse(text).is_published


PIECES = ["interpolate:", "+adapter:", "hf:", "local-dir:", "py:m:f", "RN50", "@", "a/b.pt", "?", "&", ",", "%2C"]
PIECES += ["alpha=0.5", "weights=ema", "quick_gelu=true", " ", "x"]


def test_adapters_and_parts_are_named_with_their_options():
    spec = ModelSpec.parse("ViT-B-32@a/b.pt?quick_gelu=true+adapter:runs/lora?x")
    assert (spec.adapter, spec.option("quick_gelu")) == ("runs/lora?x", "true")
    text = "interpolate:RN50@a.pt?weights=a%2Cb,RN50@b.pt?weights=ema+adapter:c?alpha=.25"
    mixed = ModelSpec.parse(text)
    first, second = mixed.parts
    assert (first.option("weights"), second.option("weights"), second.adapter) == ("a,b", "ema", "c")
    assert mixed.option("alpha") == ".25"
    assert str(mixed) == text


@given(st.text(max_size=60) | st.lists(st.sampled_from(PIECES), max_size=10).map("".join))
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
        ("hf:org/ViT-B-16-x?revision=v2", "ViT-B-16-x"),
        ("ViT-B-32@openai+adapter:runs/lora", "ViT-B-32"),
        ("interpolate:RN50@openai,RN50@a/b.pt?alpha=0.5", "RN50"),
        ("interpolate:RN50@openai,RN50x4@openai?alpha=0.5", ""),
    ],
)
def test_a_family_is_the_same_for_every_checkpoint_and_is_not_a_path(text, family):
    assert ModelSpec.parse(text).family == family


def test_a_repository_of_transformers_names_its_family_and_a_folder_does_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert ModelSpec.parse("hf:org/model").family == "model"
    (tmp_path / "org" / "model").mkdir(parents=True)
    assert not ModelSpec.parse("hf:org/model").family
