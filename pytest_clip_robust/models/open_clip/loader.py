"""Load models of open_clip: built by its code, filled with checked parameters, used at one precision."""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2

from pytest_clip_robust.core.digest import digest
from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.arithmetic import arithmetic
from pytest_clip_robust.models.built import BuiltModel
from pytest_clip_robust.models.checkpoint import Checkpoint, read_checkpoint
from pytest_clip_robust.models.compilation import compile_towers, noise_pixels
from pytest_clip_robust.models.dense import dense_encoder
from pytest_clip_robust.models.initialisation import NoRandomNumbers
from pytest_clip_robust.models.open_clip.recipe import Recipe, recipe_for
from pytest_clip_robust.models.open_clip.text_tower import TextTower, text_tower
from pytest_clip_robust.models.parameters import StateDict
from pytest_clip_robust.models.probes import PADDED_TEXTS, PROBE_TEXTS
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.models.splitting import split
from pytest_clip_robust.system.quiet import quiet
from pytest_clip_robust.system.text import one_line


class OpenClipEncoder:
    """A DualEncoder for a model of open_clip.

    At fp32 nothing is rounded to TF32; bf16 and fp16 run under autocast, and parameters stay fp32.
    """

    def __init__(self, clip: Any, *, tokenizer: Any, identity: str, device: str, precision: str) -> None:
        self.scale = float(clip.logit_scale.exp())
        self.bias = 0.0 if getattr(clip, "logit_bias", None) is None else float(clip.logit_bias)
        self.identity = identity
        self.preprocess = image_transform_v2(PreprocessCfg(**clip.visual.preprocess_cfg), is_train=False)
        self.preprocess_steps = split(self.preprocess)
        self._clip, self._tokenizer = clip, tokenizer
        self._image_tower = clip.encode_image
        self._device, self._precision = torch.device(device), precision

    def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
        """Turn (B, 3, H, W) pixels into (B, D) features, not normalised."""
        with self._arithmetic():
            # Convolutions run up to twice as fast with channels-last memory, on CPUs and on tensor cores.
            on_device = pixels.to(self._device, non_blocking=True, memory_format=torch.channels_last)
            features: torch.Tensor = self._image_tower(on_device)
        return features

    def encode_text(self, texts: list[str]) -> torch.Tensor:
        """Turn B strings into (B, D) features, not normalised; texts longer than the context are truncated."""
        tokens = self._text_tower.shorten(self._tokenizer(texts))
        with self._arithmetic():
            return self._text_tower.encode(tokens.to(self._device))

    @cached_property
    def _text_tower(self) -> TextTower:
        probe = self._tokenizer(list(PADDED_TEXTS))
        return text_tower(self._clip, probe, precision=self._precision, arithmetic=self._arithmetic)

    def encode_dense(self, pixels: torch.Tensor) -> torch.Tensor:
        """Turn (B, 3, H, W) RGB in [0, 1] into the (B, D, h, w) features of the last block: see `dense_encoder`.

        Raises:
            ModelError: the image tower has no feature map.
        """
        with self._arithmetic():
            return self._dense(pixels)

    @cached_property
    def _dense(self) -> Callable[[torch.Tensor], torch.Tensor]:
        visual = self._clip.visual
        return dense_encoder(visual, mean=visual.preprocess_cfg["mean"], std=visual.preprocess_cfg["std"])

    def too_long(self, texts: list[str]) -> list[bool]:
        """Return for each text whether it has more tokens than the context length."""
        return [count > self._tokenizer.context_length for count in _token_counts(self._tokenizer, texts)]

    def compile(self) -> list[str]:
        """Compile both towers with torch.compile; return a note for each tower that cannot be compiled."""
        pixels = noise_pixels(self.preprocess).to(self._device, memory_format=torch.channels_last)
        tower = self._text_tower
        tokens = tower.shorten(self._tokenizer(list(PROBE_TEXTS[:2]))).to(self._device)
        self._image_tower, encode, notes = compile_towers(
            (self._image_tower, pixels),
            (tower.encode, tokens),
            precision=self._precision,
            arithmetic=self._arithmetic,
        )
        self._text_tower = tower._replace(encode=encode)
        return notes

    def _arithmetic(self) -> AbstractContextManager[None]:
        return arithmetic(self._device, self._precision)


def build_openclip(spec: ModelSpec) -> BuiltModel:
    """Build a model that open_clip knows, from its tag, checkpoint, folder or hub repository.

    Raises:
        ModelError: it cannot be built as it was trained; the message names the spec and what to do.
    """
    recipe = recipe_for(spec)
    checkpoint = read_checkpoint(recipe.checkpoint, wanted=recipe.wanted)
    recipe = _fitted(recipe, checkpoint.parameters)
    clip = _build(recipe, spec)
    notes = [*recipe.notes, *checkpoint.notes, *_resized(clip, checkpoint.parameters)]
    _check_preprocess(clip, spec)
    _check_parameters(clip, checkpoint, recipe, spec)
    _fill(clip, checkpoint, recipe, spec)
    tokenizer, text = _tokenizer(recipe, spec)
    _check_context(clip, tokenizer, spec)
    return BuiltModel(
        module=clip,
        architecture=_architecture(clip, recipe),
        preprocess=clip.visual.preprocess_cfg,
        text=text,
        encoder=partial(OpenClipEncoder, tokenizer=tokenizer),
        notes=tuple(notes),
    )


def _fitted(recipe: Recipe, parameters: StateDict) -> Recipe:
    """Add what the parameters themselves say of their architecture: a bias, a separate text tower, the context."""
    config = open_clip.get_model_config(recipe.name) or {}
    overrides, notes = dict(recipe.overrides), list(recipe.notes)
    if "logit_bias" in parameters and "init_logit_bias" not in config:
        overrides.setdefault("init_logit_bias", 0.0)
    if "text.token_embedding.weight" in parameters and not config.get("custom_text", False):
        overrides["force_custom_text"] = True
    text = config.get("text_cfg", {})
    own = overrides.get("force_context_length", text.get("context_length", 77))
    positions = [name for name in ("positional_embedding", "text.positional_embedding") if name in parameters]
    if positions and not text.get("hf_model_name"):
        context = parameters[positions[0]].shape[0] - bool(text.get("embed_cls", False))
        if context != own:
            overrides["force_context_length"] = context
            notes.append(
                f"the checkpoint's text tower takes {context} tokens, {recipe.name} {own}: built for {context}"
            )
    return replace(recipe, overrides=overrides, notes=tuple(notes))


def _build(recipe: Recipe, spec: ModelSpec) -> Any:
    try:
        with NoRandomNumbers():
            return open_clip.create_model(
                recipe.name,
                load_weights=False,
                pretrained_text=False,
                precision="fp32",
                force_preprocess_cfg=dict(recipe.preprocess),
                **recipe.overrides,
            )
    except Exception as error:  # timm and transformers raise errors of many kinds
        raise ModelError(f"model {spec.label}: open_clip cannot build {recipe.name}: {one_line(error)}") from error


def _check_preprocess(clip: Any, spec: ModelSpec) -> None:
    settings = clip.visual.preprocess_cfg
    try:
        split(image_transform_v2(PreprocessCfg(**settings), is_train=False))
    except Exception as error:  # open_clip asserts, and torchvision raises errors of many kinds
        raise ModelError(f"model {spec.label}: its preprocessing {settings} is not valid: {one_line(error)}") from error


def _check_parameters(clip: Any, checkpoint: Checkpoint, recipe: Recipe, spec: ModelSpec) -> None:
    """Refuse what open_clip and torch would replace or convert without an error."""
    where = f"model {spec.label}: {checkpoint.path}"
    if getattr(clip, "logit_bias", None) is not None and "logit_bias" not in checkpoint.parameters:
        raise ModelError(
            f"{where} has no logit_bias, which {recipe.name} has: it is not a checkpoint of a model that was trained "
            "with the sigmoid loss, or it was saved incompletely"
        )
    if _lacks_texts(checkpoint.parameters):
        raise ModelError(
            f"{where} has an image tower and no text tower, such as a captioner, or WiSE-FT's ImageEncoder without "
            "keep_lang: save it with the text tower of the model that it was trained from, or load its own classifier "
            "in your function with py:"
        )
    own = clip.state_dict()
    for name, tensor in checkpoint.parameters.items():
        wanted = own.get(name, own.get(f"text.{name}"))
        is_number = tensor.is_floating_point() and not tensor.is_quantized
        if wanted is not None and wanted.is_floating_point() and not is_number:
            raise ModelError(
                f"{where} is quantised: {name!r} is stored as {str(tensor.dtype).removeprefix('torch.')}; save it as "
                "fp32, bf16 or fp16"
            )


TEXT_TOWERS = ("transformer.", "text.", "text_encoder.", "text_model.")
"""How the names of a text tower start in open_clip and in the libraries whose names it knows."""


def _lacks_texts(parameters: StateDict) -> bool:
    """Return whether a checkpoint has an image tower of open_clip and no text tower."""
    names = parameters.keys()
    return any(one.startswith("visual.") for one in names) and not any(one.startswith(TEXT_TOWERS) for one in names)


def _fill(clip: Any, checkpoint: Checkpoint, recipe: Recipe, spec: ModelSpec) -> None:
    """Load the parameters with open_clip, which also knows the names of its older releases and of other libraries.

    It reads a file; parameters that it would not find in the original are written to a temporary one.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = checkpoint.path
        if not checkpoint.plain:
            file = Path(folder, "checkpoint.pt")
            torch.save(checkpoint.parameters, file)
        try:
            open_clip.load_checkpoint(clip, str(file), strict=True, weights_only=True)
        except (RuntimeError, KeyError, AttributeError, ValueError) as error:
            raise ModelError(
                f"model {spec.label}: {checkpoint.path} does not fit {recipe.name}: {_mismatch(str(error))}; "
                "name the architecture that it was trained as"
            ) from error
    checkpoint.check_unchanged()


def _mismatch(message: str) -> str:
    """Summarise torch's long list of mismatched parameters in a few words."""
    parts = []
    for title, what in (("Missing key", "lacks"), ("Unexpected key", "has unknown")):
        found = re.search(rf"{title}\(s\) in state_dict: (.*)", message)
        if found:
            names = re.findall(r'"([^"]+)"', found[1])
            parts.append(f"it {what} {len(names)} parameters, first {names[0]!r}")
    shapes = re.findall(r"size mismatch for (\S+): .*?\[([\d, ]*)\].*?\[([\d, ]*)\]", message)
    if shapes:
        name, has, wants = shapes[0]
        parts.append(f"{len(shapes)} have another shape, first {name!r} with ({has}) for ({wants})")
    return "; ".join(parts) or one_line(message)


def _resized(clip: Any, parameters: StateDict) -> list[str]:
    """Return a note for each position embedding that open_clip interpolates because the sizes differ."""
    own = clip.state_dict()
    notes = []
    for name in ("visual.positional_embedding",):
        if name in own and name in parameters and own[name].shape != parameters[name].shape:
            has, wants = tuple(parameters[name].shape), tuple(own[name].shape)
            notes.append(f"{name} of the checkpoint has {has} and was interpolated to {wants}{_own_size(clip, has)}")
    return notes


def _own_size(clip: Any, has: tuple[int, ...]) -> str:
    """Return how to measure at the image size that the position embeddings were trained for, if it is square."""
    patch, side = getattr(clip.visual, "patch_size", None), math.isqrt(has[0] - 1)
    if patch is None or side**2 != has[0] - 1:
        return ": it was trained at another image size"
    return f": it was trained at another image size; write ?image_size={side * patch[0]} to measure at that one"


def _tokenizer(recipe: Recipe, spec: ModelSpec) -> tuple[Any, str]:
    """Return the tokenizer and its digest."""
    try:
        text = (open_clip.get_model_config(recipe.name) or {}).get("text_cfg", {})
        # Without an answer, transformers would ask the user whether it may run the repository's code.
        options = {"trust_remote_code": False} if text.get("hf_tokenizer_name") else {}
        tokenizer = open_clip.get_tokenizer(recipe.name, recipe.overrides.get("force_context_length"), **options)
        return tokenizer, _text_digest(tokenizer)
    except Exception as error:  # transformers raises errors of many kinds
        raise ModelError(
            f"model {spec.label}: its tokenizer cannot be loaded ({one_line(error)}); "
            "put the tokenizer's files into a folder with the model and write local-dir:DIR"
        ) from error


def _check_context(clip: Any, tokenizer: Any, spec: ModelSpec) -> None:
    wanted = getattr(clip, "context_length", None) or getattr(getattr(clip, "text", None), "context_length", None)
    given = getattr(tokenizer, "context_length", None)
    if wanted is not None and given is not None and given != wanted:
        raise ModelError(f"model {spec.label}: its tokenizer makes {given} tokens, but its text tower takes {wanted}")


def _architecture(clip: Any, recipe: Recipe) -> object:
    """Return the settings that shape features in addition to the parameters, such as the activation function."""
    config = open_clip.get_model_config(recipe.name)
    return [config, dict(recipe.overrides), type(clip).__name__]


def _text_digest(tokenizer: Any) -> str:
    """Return a digest of the tokens of a few test texts, and of the vocabulary if the tokenizer has one."""
    vocabulary: dict[str, int] = getattr(getattr(tokenizer, "tokenizer", None), "get_vocab", dict)()
    tokens = tokenizer(list(PROBE_TEXTS)).tolist()
    return digest([type(tokenizer).__name__, tokens, sorted(vocabulary.items())])


def _token_counts(tokenizer: Any, texts: list[str]) -> list[int]:
    """Return the number of tokens of each text before truncation, including the start and end tokens."""
    if isinstance(tokenizer, open_clip.SimpleTokenizer):
        return [len(tokenizer.encode(text)) + 2 for text in texts]
    clean = getattr(tokenizer, "clean_fn", str)
    with quiet():  # transformers warns about texts that are too long
        return [len(ids) for ids in tokenizer.tokenizer([clean(text) for text in texts]).input_ids]
