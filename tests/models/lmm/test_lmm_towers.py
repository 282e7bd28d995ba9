"""The CLIP tower behind a large multimodal model, as configs in the published forms state it."""

from __future__ import annotations

import pytest
import transformers as hf

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.lmm.towers import tower_of
from pytest_clip_robust.models.spec import ModelSpec

SPEC = ModelSpec.parse("lmm:org/some-lmm")


def test_the_spec_comes_first():
    spec = ModelSpec.parse("lmm:org/some-lmm?tower=ViT-B-32@openai")
    assert tower_of(spec, {"mm_vision_tower": "openai/clip-vit-large-patch14"}) == ("ViT-B-32@openai", "the spec")


@pytest.mark.parametrize(
    "config",
    [
        {"mm_vision_tower": "openai/clip-vit-large-patch14-336"},
        {"vision_config": {"_name_or_path": "openai/clip-vit-large-patch14-336"}},
    ],
)
def test_a_name_in_a_config_is_a_repository_of_transformers(config):
    assert tower_of(SPEC, config) == ("hf:openai/clip-vit-large-patch14-336", "its config")


def test_a_tower_of_the_showroom_is_named_without_a_repository():
    assert tower_of(SPEC, {"mm_vision_tower": "showroom-clip"}) == ("showroom-clip", "its config")


@pytest.mark.parametrize(("size", "tower"), [(336, "ViT-L-14-336@openai"), (224, "ViT-L-14@openai")])
def test_the_towers_of_llava_are_known_by_their_size(size, tower):
    vision = {
        "hidden_size": 1024,
        "num_attention_heads": 16,
        "patch_size": 14,
        "image_size": size,
        "model_type": "clip_vision_model",
    }
    config = hf.LlavaConfig(vision_config=vision).to_dict()
    assert tower_of(SPEC, config) == (tower, "its size, which is that of LLaVA's")
    assert tower_of(SPEC, config | {"model_type": "vipllava"}) == ("", "")
    assert tower_of(SPEC, config | {"vision_config": vision | {"model_type": "siglip_vision_model"}}) == ("", "")


@pytest.mark.parametrize(
    "config",
    [{}, {"mm_vision_tower": "  "}, {"mm_vision_tower": 5}, {"mm_vision_tower": None}, {"vision_config": "siglip"}],
)
def test_a_config_that_names_no_tower_states_none(config):
    assert tower_of(SPEC, config) == ("", "")


def test_a_name_that_is_no_spec_is_an_error_with_a_way_out():
    with pytest.raises(
        ModelError, match=r"^model lmm:org/some-lmm: the tower that its config names: .*; give [?]tower=SPEC$"
    ):
        tower_of(SPEC, {"mm_vision_tower": "a?b=c"})
