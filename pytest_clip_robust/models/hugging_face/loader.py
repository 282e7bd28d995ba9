"""Load models of transformers that encode images and texts: complete weights, each family's own tokens and pixels."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import CONFIG_MAPPING, MODEL_MAPPING, AutoImageProcessor, AutoModel, AutoTokenizer

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.arithmetic import arithmetic
from pytest_clip_robust.models.built import BuiltModel
from pytest_clip_robust.models.compilation import Tower, compile_towers, noise_pixels
from pytest_clip_robust.models.dense import dense_encoder
from pytest_clip_robust.models.hugging_face.folder import model_folder, read_config
from pytest_clip_robust.models.hugging_face.images import Pixels, model_inputs
from pytest_clip_robust.models.hugging_face.resizing import as_pillow_resizes
from pytest_clip_robust.models.hugging_face.texts import Texts, text_settings
from pytest_clip_robust.models.hugging_face.weights import (
    architecture,
    check_known,
    load_complete,
    no_progress,
    runs_code,
)
from pytest_clip_robust.models.probes import PROBE_TEXTS
from pytest_clip_robust.models.protocols import PreprocessSteps
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.system.text import one_line

TOWERS = {"get_image_features": "images", "get_text_features": "texts"}


class TransformersEncoder:
    """A DualEncoder for a model of transformers.

    At fp32 nothing is rounded to TF32; bf16 and fp16 run under autocast, and parameters stay fp32.
    """

    preprocess_steps: PreprocessSteps | None = None

    def __init__(self, model: Any, *, pixels: Pixels, texts: Texts, identity: str, device: str, precision: str) -> None:
        self.scale, self.bias = _scale(model), _bias(model)
        self.identity = identity
        self.preprocess = pixels
        self._model, self._tokens = model, texts
        self._image_tower: Tower = partial(_encode_pixels, model)
        self._text_tower: Tower = partial(_encode_tokens, model)
        self._device, self._precision = torch.device(device), precision

    def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
        """Turn a batch of preprocessed images into (B, D) features, not normalised."""
        with self._arithmetic():
            # Convolutions run up to twice as fast with channels-last memory, on CPUs and on tensor cores.
            on_device = pixels.to(self._device, non_blocking=True, memory_format=torch.channels_last)
            return self._image_tower(on_device)

    def encode_text(self, texts: list[str]) -> torch.Tensor:
        """Turn B strings into (B, D) features, not normalised; texts longer than the context are truncated."""
        with self._arithmetic():
            return self._text_tower(self._tokens(texts).to(self._device))

    def too_long(self, texts: list[str]) -> list[bool]:
        """Return for each text whether it has more tokens than the context."""
        return self._tokens.too_long(texts)

    def encode_dense(self, pixels: torch.Tensor) -> torch.Tensor:
        """Turn (B, 3, H, W) RGB in [0, 1] into the (B, D, h, w) features of the last block: see `dense_encoder`.

        Raises:
            ModelError: the image tower has no known feature map.
        """
        with self._arithmetic():
            return self._dense(pixels)

    @cached_property
    def _dense(self) -> Callable[[torch.Tensor], torch.Tensor]:
        return dense_encoder(self._model, mean=self.preprocess.mean, std=self.preprocess.deviation)

    def compile(self) -> list[str]:
        """Compile both towers with torch.compile; return a note for each tower that cannot be compiled."""
        pixels = noise_pixels(self.preprocess).to(self._device, memory_format=torch.channels_last)
        tokens = self._tokens(list(PROBE_TEXTS[:2])).to(self._device)
        self._image_tower, self._text_tower, notes = compile_towers(
            (self._image_tower, pixels),
            (self._text_tower, tokens),
            precision=self._precision,
            arithmetic=self._arithmetic,
        )
        return notes

    def _arithmetic(self) -> AbstractContextManager[None]:
        return arithmetic(self._device, self._precision)


def build_transformers(spec: ModelSpec) -> BuiltModel:
    """Build a model of transformers with an image tower and a text tower, from a folder or a repository.

    Python code of a repository runs only with ``?remote_code=true``.

    Raises:
        ModelError: it does not exist, is not complete, is another kind of model, or would run its own code.
    """
    with no_progress():
        content = read_config(spec)
        _check_kind(content, spec)
        folder = model_folder(spec)
        model, notes = _load(folder, content, spec)
        _check_scale(model, spec)
        pixels = _pixels(folder, spec)
        texts, more = _texts(folder, model.config, spec)
    return BuiltModel(
        module=model,
        architecture=architecture(model, folder, spec),
        preprocess=pixels.settings(),
        text=texts.digest(),
        encoder=partial(TransformersEncoder, pixels=pixels, texts=texts),
        notes=(*notes, *more),
    )


def _check_kind(content: dict[str, Any], spec: ModelSpec) -> None:
    """Check before anything large is fetched that transformers knows the model, and that it has two towers."""
    check_known(content, spec)
    if runs_code(content, spec):
        return  # its class is known only after its code ran
    where, kind = f"model {spec.label}", str(content["model_type"])
    try:
        model = _model_class(CONFIG_MAPPING[kind])
    except KeyError:
        raise ModelError(f"{where}: model type {kind!r} has no model class; {EXPECTED}") from None
    _check_towers(model, kind, where)


EXPECTED = "expected a model with an image tower and a text tower, such as CLIP or SigLIP"


def _check_towers(model: type, kind: str, where: str) -> None:
    missing = [what for method, what in TOWERS.items() if not hasattr(model, method)]
    if missing:
        raise ModelError(
            f"{where}: {model.__name__} of model type {kind!r} has no features of {' and '.join(missing)} in a common "
            f"space; {EXPECTED}"
        )


def _model_class(config: type) -> type:
    """Return the class that AutoModel builds; where it chooses among several, the one with two towers."""
    found: Any = MODEL_MAPPING[config]
    if not isinstance(found, tuple | list):
        found = (found,)
    chosen: type = next((one for one in found if all(hasattr(one, method) for method in TOWERS)), found[0])
    return chosen


def _load(folder: Path, content: dict[str, Any], spec: ModelSpec) -> tuple[Any, list[str]]:
    """Return the model in evaluation mode with checked fp32 parameters, and notes on what was not used."""
    code = runs_code(content, spec)
    model, notes = load_complete(folder, spec, class_of=(lambda _: AutoModel) if code else _model_class, code=code)
    _check_towers(type(model), model.config.model_type, f"model {spec.label}")
    return model, notes


def _check_scale(model: Any, spec: ModelSpec) -> None:
    if not any(hasattr(model, name) for name in ("logit_scale", "temperature")):
        raise ModelError(
            f"model {spec.label}: {type(model).__name__} has neither logit_scale nor temperature, so its logits are "
            "not known; load it in your own function with py:, which states the scale"
        )


def _scale(model: Any) -> float:
    if not hasattr(model, "logit_scale"):
        return 1 / float(model.temperature)
    stored = float(model.logit_scale)
    largest = getattr(model, "max_log_logit_scale", None)
    return float(np.exp(stored if largest is None else np.clip(stored, 0, largest)))


def _bias(model: Any) -> float:
    return 0.0 if getattr(model, "logit_bias", None) is None else float(model.logit_bias)


def _pixels(folder: Path, spec: ModelSpec) -> Pixels:
    try:
        code = spec.option("remote_code") == "true"
        auto: Any = AutoImageProcessor
        processor = auto.from_pretrained(folder, local_files_only=True, trust_remote_code=code)
        pixels = Pixels(as_pillow_resizes(processor, folder, code=code, where=f"model {spec.label}"))
        pixels(Image.new("RGB", (64, 48)))
    except ModelError:
        raise
    except Exception as error:  # processors raise errors of many kinds
        raise ModelError(
            f"model {spec.label}: its image processor cannot be used: {type(error).__name__}: {one_line(error)}"
        ) from error
    return pixels


def _texts(folder: Path, config: Any, spec: ModelSpec) -> tuple[Texts, tuple[str, ...]]:
    """Return the tokenizer, and notes on its settings."""
    try:
        code = spec.option("remote_code") == "true"
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=code)
        settings, notes = text_settings(config, tokenizer)
        texts = Texts(tokenizer, settings)
        texts(list(PROBE_TEXTS))
    except Exception as error:  # tokenizers raise errors of many kinds
        raise ModelError(
            f"model {spec.label}: its tokenizer cannot be used: {type(error).__name__}: {one_line(error)}"
        ) from error
    return texts, notes


def _encode_pixels(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    return _features(model.get_image_features(**model_inputs(pixels)))


def _encode_tokens(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    inputs = dict(zip(("input_ids", "attention_mask"), tokens.unbind(dim=1), strict=False))
    return _features(model.get_text_features(**inputs))


def _features(output: Any) -> torch.Tensor:
    """Return the features in the output of transformers 5, or the output of transformers 4 itself."""
    features: torch.Tensor = output if isinstance(output, torch.Tensor) else output.pooler_output
    return features
