"""Trunks of image towers of any library: the layers before final normalisation, pooling and projection.

Towers are recognised by the attributes that are used, so that no library is imported for the model of another.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.system.quiet import quiet
from pytest_clip_robust.system.text import one_line

Size = tuple[int, int]
"""Height and width."""

WRAPPERS = ("visual", "trunk", "vision_model", "timm_model")
"""Attributes that hold the image tower: of open_clip and its wrapper around timm, of transformers and its wrapper."""

KEPT_SIZES = 16
"""Number of image sizes for which a resized copy of a tower is cached: each has its own position embeddings."""


class LastBlock(Protocol):
    """The output of a tower's last block."""

    def __call__(self, pixels: Tensor, /) -> Tensor:
        """Turn normalised (B, 3, H, W) pixels into (B, D, h, w) features."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trunk:
    """A trunk that takes images whose height and width are multiples of `cell`.

    cell: height and width in pixels of one cell of its feature map. pyramid: each stage has a coarser map.
    fixed: the only image size that it takes; None if it takes several.
    """

    last_block: LastBlock
    cell: Size
    pyramid: bool = False
    fixed: Size | None = None


def trunk_of(tower: nn.Module) -> Trunk:
    """Return the trunk of an image tower of open_clip, timm or transformers (CLIP, SigLIP, SigLIP 2 and EfficientNet).

    Raises:
        ModelError: the tower has no feature map, or is of another library.
    """
    for wrapped in WRAPPERS:
        tower = getattr(tower, wrapped, tower)
    if hasattr(tower, "positional_embedding") and hasattr(tower, "forward_intermediates"):
        return _openclip_vit(tower)
    if hasattr(tower, "attnpool") and hasattr(tower, "forward_intermediates"):
        return _openclip_resnet(tower)
    if hasattr(tower, "feature_info") and hasattr(tower, "forward_intermediates"):
        return _timm(tower)
    if hasattr(getattr(tower, "embeddings", None), "patch_embedding") and hasattr(tower, "encoder"):
        return _transformers(tower)
    if hasattr(tower, "embeddings") and hasattr(getattr(tower, "encoder", None), "blocks"):
        return _transformers_stages(tower)
    raise ModelError(
        f"image tower {type(tower).__name__} has no known feature map: expected an image tower of open_clip, a timm "
        "model with forward_intermediates, or a CLIP, SigLIP or ALIGN model of transformers"
    )


def _openclip_vit(tower: Any) -> Trunk:
    from timm.layers.pos_embed import resample_abs_pos_embed  # noqa: PLC0415 - takes seconds, and only ViTs need it

    def resized(size: Size) -> Any:
        sized = _copy_sharing_parameters(tower)
        grid = [pixels // cell for pixels, cell in zip(size, tower.patch_size, strict=True)]
        positions = resample_abs_pos_embed(tower.positional_embedding[None], new_size=grid, old_size=tower.grid_size)
        sized.positional_embedding = nn.Parameter(positions[0].detach(), requires_grad=False)
        return sized

    def last_block(sized: Any, pixels: Tensor) -> Tensor:
        intermediates = sized.forward_intermediates(pixels, indices=1, intermediates_only=True)
        features: Tensor = intermediates["image_intermediates"][0]
        return features

    return Trunk(last_block=_at_any_size(resized, last_block), cell=tower.patch_size)


def _openclip_resnet(tower: Any) -> Trunk:
    def last_block(pixels: Tensor) -> Tensor:
        intermediates = tower.forward_intermediates(pixels, indices=1, intermediates_only=True)
        features: Tensor = intermediates["image_intermediates"][0]
        return features

    return Trunk(last_block=last_block, cell=(32, 32), pyramid=True)


def _timm(tower: Any) -> Trunk:
    def resized(size: Size) -> Any:
        sized = _copy_sharing_parameters(tower)
        with quiet():
            sized.set_input_size(size)
        return sized

    def last_block(sized: Any, pixels: Tensor) -> Tensor:
        features: Tensor = sized.forward_intermediates(pixels, indices=1, intermediates_only=True)[0]
        return features

    reductions = [stage["reduction"] for stage in tower.feature_info]
    cell, pyramid = (reductions[-1], reductions[-1]), reductions[0] != reductions[-1]
    if hasattr(tower, "set_input_size"):
        return Trunk(last_block=_at_any_size(resized, last_block), cell=cell, pyramid=pyramid)
    return Trunk(
        last_block=lambda pixels: last_block(tower, pixels), cell=cell, pyramid=pyramid, fixed=_timm_fixed_size(tower)
    )


def _timm_fixed_size(tower: Any) -> Size | None:
    """Return the only image size that a timm model takes, or None if its size is only a recommendation."""
    config = getattr(tower, "pretrained_cfg", None) or {}
    built_for = [size for module in tower.modules() if isinstance(size := getattr(module, "img_size", None), tuple)]
    if not config.get("fixed_input_size", bool(built_for)):
        return None
    height, width = built_for[0] if built_for else config["input_size"][1:]
    return height, width


def _transformers(vision: Any) -> Trunk:
    patch = vision.embeddings.patch_size
    takes_patches = isinstance(
        vision.embeddings.patch_embedding, nn.Linear
    )  # SigLIP 2 NaFlex, with native aspect ratios

    def last_block(pixels: Tensor) -> Tensor:
        height, width = pixels.shape[2] // patch, pixels.shape[3] // patch
        if takes_patches:
            shape = torch.tensor([[height, width]], device=pixels.device).expand(len(pixels), -1)
            tokens = vision.embeddings(_patches(pixels, patch), shape)
        else:
            tokens = vision.embeddings(pixels, interpolate_pos_encoding=True)
        if hasattr(vision, "pre_layrnorm"):  # CLIP only; transformers spells it so
            tokens = vision.pre_layrnorm(tokens)
        tokens = vision.encoder(inputs_embeds=tokens).last_hidden_state
        patches: Tensor = tokens[:, tokens.shape[1] - height * width :]  # a class token comes first
        return patches.transpose(1, 2).reshape(len(pixels), -1, height, width)

    return Trunk(last_block=last_block, cell=(patch, patch))


def _transformers_stages(vision: Any) -> Trunk:
    """Return the trunk of an EfficientNet, which is the image tower of ALIGN as well."""

    def last_block(pixels: Tensor) -> Tensor:
        features: Tensor = vision.embeddings(pixels)
        for block in vision.encoder.blocks:
            features = block(features)
        return features

    stride = 2 * prod(vision.config.strides)  # the stem has a stride of 2
    return Trunk(last_block=last_block, cell=(stride, stride), pyramid=True)


def _patches(pixels: Tensor, patch: int) -> Tensor:
    """Cut (B, C, H, W) images into (B, N, patch * patch * C) patches, with channels last as SigLIP 2 expects."""
    cut = pixels.unfold(2, patch, patch).unfold(3, patch, patch)  # (B, C, h, w, patch, patch)
    return cut.permute(0, 2, 3, 4, 5, 1).flatten(3).flatten(1, 2)


def _at_any_size(resized: Callable[[Size], Any], last_block: Callable[[Any, Tensor], Tensor]) -> LastBlock:
    """Return the last block of a tower that must be resized for each image size."""
    kept = lru_cache(KEPT_SIZES)(resized)

    def at_any_size(pixels: Tensor) -> Tensor:
        size = (pixels.shape[2], pixels.shape[3])
        try:
            with torch.inference_mode(mode=False), torch.no_grad():  # the cached copy may be used in any mode later
                sized = kept(size)
        except Exception as error:  # each tower raises another kind of error
            raise ModelError(f"the image tower cannot take {size[1]}x{size[0]} images: {one_line(error)}") from error
        return last_block(sized, pixels)

    return at_any_size


def _copy_sharing_parameters(tower: Any) -> Any:
    """Copy a tower without copying its parameters, so that resizing the copy leaves the tower unchanged.

    Buffers are copied, because timm writes into some of them.
    """
    shared = {id(parameter): parameter for parameter in tower.parameters()}
    own = {id(buffer): buffer.clone() for buffer in tower.buffers()}
    return copy.deepcopy(tower, shared | own)
