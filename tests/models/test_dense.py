"""Dense features compared with hooks on the last block, and with the towers' own pooling and resizing."""

from __future__ import annotations

import copy
import re
import string
from functools import cache
from math import isqrt
from pathlib import Path

import numpy as np
import open_clip
import pytest
import timm
import torch
from open_clip.model import resize_pos_embed
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from PIL import Image
from timm.models.mlp_mixer import MlpMixer
from torch import nn
from transformers import (
    AlignVisionConfig,
    AlignVisionModel,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModel,
    EfficientNetConfig,
    EfficientNetModel,
    Siglip2VisionConfig,
    Siglip2VisionModel,
    SiglipVisionConfig,
    SiglipVisionModel,
    TimmWrapperConfig,
    TimmWrapperModel,
)

from pytest_clip_robust.encoding.dense.features import encode_dense
from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.dense import dense_encoder
from pytest_clip_robust.models.loading import load_model
from pytest_clip_robust.models.protocols import EncodesDensely
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.models.trunks import trunk_of

DOCS = Path(__file__).resolve().parents[2] / "docs"
MEAN, STD = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)
SMALL_VIT = {"embed_dim": 32, "depth": 2, "num_heads": 2}
SMALL_HF = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}

SMALL_STAGES = {
    "kernel_sizes": [3, 3, 5, 3],
    "in_channels": [32, 8, 12, 16],
    "out_channels": [8, 12, 16, 24],
    "strides": [2, 2, 2, 2],
    "num_block_repeats": [1, 1, 1, 2],
    "expand_ratios": [1, 2, 2, 2],
    "width_coefficient": 1.0,
    "depth_coefficient": 1.0,
    "depth_divisor": 4,
}
"""An EfficientNet with a stride of 32, 5 blocks and 24 channels at the end."""


def openclip_vit(image_size=48, **options):
    return VisionTransformer(
        image_size=image_size, patch_size=16, width=32, layers=2, heads=2, mlp_ratio=2, output_dim=32, **options
    )


def coca(**options):
    return openclip_vit(attn_pooler_queries=4, attn_pooler_heads=2, **options)


def openclip_timm(name, **options):
    """Wrap a small timm model as open_clip does, which builds only full-size ones."""
    tower = TimmModel("resnet10t", embed_dim=8, pool="avg")
    tower.trunk = timm.create_model(name, num_classes=0, **options)
    tower.head = nn.Identity()
    return tower


TOWERS = {
    "open_clip ViT": openclip_vit,
    "open_clip ViT, mean of patches": lambda: openclip_vit(pool_type="avg", final_ln_after_pool=True, no_ln_pre=True),
    "open_clip ViT, patch dropout": lambda: openclip_vit(patch_dropout=0.5, pos_embed_type="sin_cos_2d"),
    "open_clip CoCa": lambda: coca(attentional_pool=True, output_tokens=True),
    "open_clip CoCa, parallel": lambda: coca(attentional_pool="parallel"),
    "open_clip ResNet": lambda: ModifiedResNet([1, 1, 1, 1], 16, heads=4, image_size=96, width=8),
    "open_clip timm ViT": lambda: openclip_timm("vit_tiny_patch16_224", img_size=48, **SMALL_VIT),
    "timm SigLIP": lambda: timm.create_model("vit_base_patch16_siglip_224", img_size=48, **SMALL_VIT),
    "timm registers": lambda: timm.create_model("vit_small_patch14_reg4_dinov2", img_size=42, **SMALL_VIT),
    "timm EVA": lambda: timm.create_model("eva02_tiny_patch14_224", img_size=42, **SMALL_VIT),
    "timm relative": lambda: timm.create_model("vit_relpos_small_patch16_224", img_size=48, **SMALL_VIT),
    "timm mixer": lambda: MlpMixer(img_size=64, patch_size=16, embed_dim=16, num_blocks=2),
    "timm ConvNeXt": lambda: timm.create_model("convnext_atto", depths=(1, 1, 1, 1), dims=(8, 12, 16, 20)),
    "timm EfficientNet": lambda: timm.create_model("tf_efficientnet_lite0"),
    "timm FastViT": lambda: timm.create_model("fastvit_t8", layers=(1, 1, 1, 1), embed_dims=(8, 16, 32, 64)),
    "timm Swin": lambda: timm.create_model(
        "swin_tiny_patch4_window7_224",
        img_size=96,
        window_size=3,
        embed_dim=12,
        depths=(1, 1, 1, 1),
        num_heads=(1,) * 4,
    ),
    "transformers CLIP": lambda: CLIPVisionModel(CLIPVisionConfig(image_size=48, patch_size=16, **SMALL_HF)),
    "transformers SigLIP": lambda: SiglipVisionModel(SiglipVisionConfig(image_size=48, patch_size=16, **SMALL_HF)),
    "transformers SigLIP 2": lambda: Siglip2VisionModel(Siglip2VisionConfig(num_patches=9, patch_size=16, **SMALL_HF)),
    "transformers EfficientNet": lambda: EfficientNetModel(EfficientNetConfig(hidden_dim=1280, **SMALL_STAGES)),
    "transformers ALIGN": lambda: AlignVisionModel(AlignVisionConfig(hidden_dim=24, **SMALL_STAGES)),
    "transformers with timm": lambda: TimmWrapperModel(TimmWrapperConfig(architecture="tf_efficientnet_lite0")),
}
"""One small tower of every kind."""

LAST_BLOCKS = {
    "open_clip ViT": "transformer.resblocks.1",
    "open_clip CoCa": "transformer.resblocks.1",
    "open_clip ResNet": "layer4",
    "open_clip timm": "trunk.blocks.1",
    "timm ConvNeXt": "stages.3",
    "timm EfficientNet": "blocks.6",
    "timm FastViT": "stages.3",
    "timm Swin": "layers.3",
    "timm": "blocks.1",
    "transformers EfficientNet": "encoder.blocks.4",
    "transformers ALIGN": "encoder.blocks.4",
    "transformers with timm": "timm_model.blocks.6",
    "transformers": "encoder.layers.1",
}
"""The beginning of a tower's name, and the module whose output its dense features are."""

PYRAMIDS = (
    *("open_clip ResNet", "timm ConvNeXt", "timm EfficientNet", "timm FastViT", "timm Swin"),
    *("transformers EfficientNet", "transformers ALIGN", "transformers with timm"),
)
FIXED = {"timm mixer": (4, 4)}
"""The grids of towers that take only one image size."""

every_tower = pytest.mark.parametrize("name", TOWERS)


@cache
def tower_of(name):
    torch.manual_seed(len(name))
    with torch.inference_mode(mode=False):
        tower = TOWERS[name]().eval()
    for parameter in tower.parameters():  # many start at 0 or 1, where mistakes do not show
        parameter.data += 0.05 * torch.randn_like(parameter)
    return tower


def encoder_of(name):
    return dense_encoder(tower_of(name), mean=MEAN, std=STD)


def images(*size, count=1, seed=0):
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(seed))


def native_size(name):
    return 64 if name in FIXED else 42 if name in {"timm registers", "timm EVA"} else 96 if name in PYRAMIDS else 48


def normalised(pixels):
    return (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def ordinary_pass(tower, pixels):
    """Run the tower in the usual way."""
    if isinstance(tower, Siglip2VisionModel):
        rows = pixels.unflatten(3, (-1, 16)).unflatten(2, (-1, 16)).permute(0, 2, 4, 3, 5, 1)
        patches = rows.reshape(len(pixels), -1, 16 * 16 * 3)
        shapes = torch.tensor([[pixels.shape[2] // 16, pixels.shape[3] // 16]] * len(pixels))
        return tower(patches, torch.ones(patches.shape[:2]), shapes)
    return tower(pixels)


def hooked(name, pixels):
    """Return the (B, D, h, w) output of the last block in an ordinary pass of normalised pixels."""
    tower = tower_of(name)
    block = next(block for start, block in LAST_BLOCKS.items() if name.startswith(start))
    outputs = []
    hook = tower.get_submodule(block).register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    with torch.inference_mode():
        ordinary_pass(tower, pixels)
    hook.remove()
    (output,) = outputs
    if name == "timm Swin":
        return output.permute(0, 3, 1, 2)
    if output.ndim == 4:
        return output
    side = isqrt(output.shape[1])
    assert output.shape[1] - side**2 in {0, 1, 5}  # class and register tokens come first
    return output[:, -(side**2) :].mT.unflatten(2, (side, side))


def doubled(features):
    """Interpolate (B, D, h, w) linearly to twice the cells, one axis after the other, with NumPy's own function."""
    grown = features.numpy()
    for axis in (2, 3):
        cells = grown.shape[axis]
        centres = (np.arange(2 * cells) + 0.5) / 2 - 0.5
        grown = np.apply_along_axis(lambda row, at, n: np.interp(at, np.arange(n), row), axis, grown, centres, cells)
    return torch.from_numpy(grown).float()


def relative(features, others):
    return float((features - others).norm() / others.norm())


def assert_near(features, expected, *, tolerance=1e-5):
    assert features.shape == expected.shape
    assert relative(features, expected) < tolerance


@every_tower
def test_dense_features_are_the_last_blocks_output_in_an_ordinary_pass(name):
    pixels = images(native_size(name), native_size(name), count=2)
    with torch.inference_mode():
        features = encoder_of(name)(pixels)
    expected = hooked(name, normalised(pixels))
    if name in PYRAMIDS:
        torch.testing.assert_close(features, doubled(expected))
    else:
        assert torch.equal(features, expected)
    assert features.std() > 0.01


def test_a_tower_with_mean_pooling_returns_the_mean_of_its_dense_features():
    name = "open_clip ViT, mean of patches"
    tower, pixels = tower_of(name), images(48, 48, count=2)
    with torch.inference_mode():
        features = encoder_of(name)(pixels)
        assert_near(tower.ln_post(features.mean((2, 3))) @ tower.proj, tower(normalised(pixels)))


def test_attention_pools_them_to_the_towers_own_features():
    pixels = normalised(images(96, 96, count=2))
    with torch.inference_mode():
        resnet = tower_of("open_clip ResNet")
        assert_near(resnet.attnpool(trunk_of(resnet).last_block(pixels)), resnet(pixels))
        siglip = tower_of("timm SigLIP")
        tokens = trunk_of(siglip).last_block(pixels[:, :, :48, :48]).flatten(2).mT
        assert_near(siglip.forward_head(siglip.norm(tokens)), siglip(pixels[:, :, :48, :48]))
        siglip = tower_of("transformers SigLIP")
        tokens = trunk_of(siglip).last_block(pixels[:, :, :48, :48]).flatten(2).mT
        assert_near(siglip.head(siglip.post_layernorm(tokens)), siglip(pixels[:, :, :48, :48]).pooler_output)


def test_the_last_stage_pools_to_the_towers_own_features():
    pixels = normalised(images(96, 96, count=2))
    with torch.inference_mode():
        convnext = tower_of("timm ConvNeXt")
        stage = trunk_of(convnext).last_block(pixels)
        assert_near(convnext.forward_head(convnext.norm_pre(stage)), convnext(pixels))
        efficientnet = tower_of("timm EfficientNet")
        stage = trunk_of(efficientnet).last_block(pixels)
        head = efficientnet.bn2(efficientnet.conv_head(stage))
        assert_near(efficientnet.forward_head(head), efficientnet(pixels))
        align = tower_of("transformers ALIGN")
        assert_near(trunk_of(align).last_block(pixels).mean((2, 3)), align(pixels).pooler_output)


def test_position_embeddings_are_interpolated_as_open_clip_does_for_another_resolution():
    tower, other = tower_of("open_clip ViT"), openclip_vit(image_size=80).eval()
    state = {f"visual.{name}": value for name, value in tower.state_dict().items()}
    resize_pos_embed(state, nn.ModuleDict({"visual": other}))
    other.load_state_dict({name.removeprefix("visual."): value for name, value in state.items()})
    pixels = images(80, 80)
    with torch.inference_mode():
        features, expected = (dense_encoder(one, mean=MEAN, std=STD)(pixels) for one in (tower, other))
    assert torch.equal(features, expected)


@pytest.mark.parametrize("size", [(80, 48), (32, 96), (48, 48)])
@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_small_patch16_dinov3"])
def test_position_embeddings_are_interpolated_as_timm_does_on_the_fly(name, size):
    torch.manual_seed(0)
    tower = timm.create_model(name, img_size=48, **SMALL_VIT).eval()
    dynamic = timm.create_model(name, img_size=48, dynamic_img_size=True, **SMALL_VIT).eval()
    dynamic.load_state_dict(tower.state_dict())
    pixels = images(*size)
    with torch.inference_mode():
        features = dense_encoder(tower, mean=MEAN, std=STD)(pixels)
        expected = dynamic.forward_intermediates(normalised(pixels), intermediates_only=True)[-1]
    assert_near(features, expected)


@pytest.mark.parametrize(("size", "cells"), [((80, 48), (5, 3)), ((16, 64), (1, 4))])
def test_position_embeddings_are_interpolated_as_transformers_does(size, cells):
    tower, pixels = tower_of("transformers CLIP"), images(*size)
    with torch.inference_mode():
        features = encoder_of("transformers CLIP")(pixels)
        tokens = tower(normalised(pixels), interpolate_pos_encoding=True).last_hidden_state  # before its final norm
    assert torch.equal(features, tokens[:, 1:].mT.unflatten(2, cells))


@pytest.mark.parametrize("size", [(32, 32), (50, 75), (101, 33)])
@every_tower
def test_every_size_of_image_has_the_nearest_whole_number_of_cells(name, size):
    cell = 14 if name in {"timm registers", "timm EVA"} else 16
    fixed = FIXED.get(name)
    if name == "timm relative" and not hasattr(tower_of(name), "set_input_size"):  # timm before 1.0.31
        fixed = (3, 3)
    expected = fixed or tuple(round(pixels / cell) for pixels in size)
    with torch.inference_mode():
        features = encoder_of(name)(images(*size))
    assert tuple(features.shape[2:]) == expected
    assert features.dtype == torch.float32
    assert torch.isfinite(features).all()


def test_an_image_between_two_grids_is_resized_whole():
    pixels = images(70, 90)
    resized = torch.from_numpy(
        np.stack(
            [
                np.asarray(Image.fromarray(plane).resize((96, 64), Image.Resampling.BICUBIC))
                for plane in pixels[0].numpy()
            ]
        )
    )
    with torch.inference_mode():
        features, expected = (encoder_of("open_clip ViT")(one) for one in (pixels, resized[None].clamp(0, 1)))
    assert_near(features, expected, tolerance=1e-4)


# With their random weights, images all but vanish in the others; tests/showroom compares their regions with timm's.
@pytest.mark.parametrize("corner", [(0, 0), (0, -1), (-1, 0), (-1, -1)])
@pytest.mark.parametrize("name", [name for name in TOWERS if name not in PYRAMIDS[-3:]])
def test_a_change_in_a_corner_shows_in_that_corner(name, corner):
    size = (64, 64) if name in FIXED else (64, 128)
    pixels = images(*size)
    painted = pixels.clone()
    rows, columns = (slice(0, 12) if end == 0 else slice(-12, None) for end in corner)
    painted[:, :, rows, columns] = 1 - painted[:, :, rows, columns].round()
    with torch.inference_mode():
        change = (encoder_of(name)(painted) - encoder_of(name)(pixels)).norm(dim=1)[0]
    assert change[corner] == change.max() > 0
    assert change[corner] > 1.1 * change.mean()


@pytest.mark.parametrize("name", ["open_clip ResNet", "timm ConvNeXt"])
def test_features_of_a_convolutional_tower_move_with_the_image(name):
    empty = torch.full((1, 3, 640, 640), 0.5)
    image = empty.clone()
    image[:, :, 304:336, 304:336] = images(32, 32)
    far_from_the_border = (..., slice(12, -12), slice(12, -12))
    with torch.inference_mode():
        nothing, here, there = (encoder_of(name)(one) for one in (empty, image, image.roll((32, -64), (2, 3))))
    response, moved = here - nothing, there - nothing
    assert_near(moved[far_from_the_border], response.roll((2, -4), (2, 3))[far_from_the_border], tolerance=1e-3)
    assert relative(moved, response) > 0.5


@every_tower
def test_an_image_has_the_same_features_in_any_batch_and_in_any_order(name):
    pixels, encode = images(64, 64, count=3), encoder_of(name)
    with torch.inference_mode():
        together = encode(pixels)
        assert torch.equal(encode(pixels), together)
        for position in range(3):
            assert_near(encode(pixels[position : position + 1]), together[position : position + 1])


@every_tower
def test_the_tower_is_not_changed(name):
    tower = tower_of(name)
    before = {key: value.clone() for key, value in [*tower.named_parameters(), *tower.named_buffers()]}
    pixels = normalised(images(native_size(name), native_size(name)))
    expected = hooked(name, pixels)
    with torch.inference_mode():
        dense_encoder(tower, mean=MEAN, std=STD)(images(80, 112))
    after = dict([*tower.named_parameters(), *tower.named_buffers()])
    assert after.keys() == before.keys()
    assert all(torch.equal(value, before[key]) for key, value in after.items())
    assert torch.equal(hooked(name, pixels), expected)


def test_resized_towers_share_the_parameters():
    tower = openclip_vit().eval()
    encode, pixels = dense_encoder(tower, mean=MEAN, std=STD), images(80, 80)
    with torch.inference_mode():
        before = encode(pixels)
        tower.transformer.resblocks[0].mlp.c_fc.weight.mul_(2)
        assert not torch.equal(encode(pixels), before)


def test_gradients_flow_even_if_the_size_was_first_used_in_inference_mode():
    encode = dense_encoder(openclip_vit().eval(), mean=MEAN, std=STD)
    pixels = images(64, 64).requires_grad_()
    with torch.inference_mode():
        expected = encode(pixels)
    features = encode(pixels)
    features.sum().backward()
    assert_near(features.detach(), expected)
    assert pixels.grad.norm() > 0


def test_a_half_precision_tower_receives_its_own_type():
    tower = copy.deepcopy(tower_of("transformers CLIP")).bfloat16()
    with torch.inference_mode():
        features = dense_encoder(tower, mean=MEAN, std=STD)(images(64, 64))
        expected = encoder_of("transformers CLIP")(images(64, 64))
    assert features.dtype == torch.float32
    assert_near(features, expected, tolerance=0.05)


@pytest.mark.parametrize("tower", [nn.Linear(3, 3), nn.Sequential(nn.Conv2d(3, 8, 3))], ids=["linear", "sequential"])
def test_a_tower_without_a_feature_map_is_refused(tower):
    with pytest.raises(ModelError, match=rf"image tower {type(tower).__name__} has no (known )?feature map") as error:
        dense_encoder(tower, mean=MEAN, std=STD)
    assert "\n" not in str(error.value)


def test_a_tower_whose_last_block_returns_a_vector_is_refused(monkeypatch):
    tower = copy.deepcopy(tower_of("timm ConvNeXt"))
    tower.forward_intermediates = lambda pixels, **_: [pixels.flatten(1)]
    with pytest.raises(ModelError, match=r"its last block returns shape \(1, 12288\); expected \(B, D, h, w\)"):
        dense_encoder(tower, mean=MEAN, std=STD)(images(64, 64))


def test_a_tower_in_training_mode_is_refused():
    encode = dense_encoder(openclip_vit(patch_dropout=0.5), mean=MEAN, std=STD)
    with pytest.raises(ModelError, match=r"image tower VisionTransformer is in training mode: call its \.eval\(\)"):
        encode(images(48, 48))


def test_a_size_that_the_tower_refuses_is_one_line():
    tower = copy.deepcopy(tower_of("timm Swin"))

    def refuse(size):
        raise AssertionError(f"no windows\nin {size}")

    tower.set_input_size = refuse
    with pytest.raises(ModelError, match="the image tower cannot take 96x64 images: no windows in"):
        dense_encoder(tower, mean=MEAN, std=STD)(images(64, 96))


def test_the_image_tower_of_a_whole_model_is_found():
    clip = CLIPModel(
        CLIPConfig(
            vision_config={"image_size": 48, "patch_size": 16, **SMALL_HF},
            text_config={"vocab_size": 99, **SMALL_HF},
        )
    ).eval()
    with torch.inference_mode():
        features, expected = (
            dense_encoder(one, mean=MEAN, std=STD)(images(64, 64)) for one in (clip, clip.vision_model)
        )
    assert torch.equal(features, expected)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_loaded_model_has_dense_features_in_its_precision(folder, precision):
    spec = ModelSpec.parse(f"local-dir:{folder}")
    encoder = load_model(spec, device="cpu", precision=precision).encoder
    assert isinstance(encoder, EncodesDensely)
    visual = open_clip.create_model(f"local-dir:{folder}").eval().visual
    pixels = images(64, 96, count=2)
    with torch.inference_mode():
        features = encoder.encode_dense(pixels)
        expected = dense_encoder(visual, mean=[0.5] * 3, std=[0.5] * 3)(pixels)
    assert features.shape == (2, 64, 4, 6)
    assert features.dtype == torch.float32
    assert (relative(features, expected) < 1e-6) == (precision == "fp32")
    assert relative(features, expected) < 0.02


def test_the_showrooms_model_has_dense_features():
    encoder = load_model(ModelSpec.parse("showroom-clip"), device="cpu", precision="fp32").encoder
    with torch.inference_mode():
        assert encoder.encode_dense(images(128, 160)).shape == (1, 320, 8, 10)


@pytest.fixture
def clip_folder(tmp_path):
    """A small CLIP of transformers with a tokenizer of letters, in ``models/clip``."""
    folder = tmp_path / "models" / "clip"
    folder.mkdir(parents=True)
    letters = [*string.ascii_lowercase, "."]
    vocabulary = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    numbers = {token: number for number, token in enumerate(vocabulary)}
    tokenizer = CLIPTokenizer(vocab=numbers, merges=[], model_max_length=77)
    edges = {"size": {"shortest_edge": 48}, "crop_size": {"height": 48, "width": 48}}
    CLIPProcessor(image_processor=CLIPImageProcessor(**edges), tokenizer=tokenizer).save_pretrained(folder)
    start, end = len(vocabulary) - 2, len(vocabulary) - 1
    text = {"vocab_size": len(vocabulary), "bos_token_id": start, "eos_token_id": end, "pad_token_id": end, **SMALL_HF}
    vision = {"image_size": 48, "patch_size": 16, **SMALL_HF}
    torch.manual_seed(0)
    CLIPModel(CLIPConfig(vision_config=vision, text_config=text)).save_pretrained(folder)
    return folder


def test_the_example_in_the_docs_is_a_model_with_dense_features(clip_folder, tmp_path, monkeypatch):
    if not DOCS.is_dir():
        pytest.skip("the docs are not part of a source distribution")
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "models.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    (example,) = (block for block in blocks if "dense_encoder" in block)
    (tmp_path / "mine.py").write_text(example)
    monkeypatch.chdir(tmp_path)
    model = load_model(ModelSpec.parse("py:mine.py:load"), device="cpu", precision="fp32")
    pictures = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), np.uint8)
    features = encode_dense(model, pictures)
    processor = CLIPImageProcessor.from_pretrained(clip_folder)
    inputs = processor(list(pictures), do_resize=False, do_center_crop=False, return_tensors="pt")
    with torch.inference_mode():
        tower = CLIPModel.from_pretrained(clip_folder).vision_model
        tokens = tower(**inputs, interpolate_pos_encoding=True).last_hidden_state
    assert_near(features, tokens[:, 1:].mT.unflatten(2, (4, 6)))
