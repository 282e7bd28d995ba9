"""Load image classifiers of timm: built by its code with all of its parameters, used at one precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property, partial
from typing import Any
from unittest.mock import patch

import timm
import torch
from numpy.typing import NDArray
from timm.data.config import resolve_data_config
from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset
from timm.data.transforms_factory import create_transform

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.arithmetic import arithmetic
from pytest_clip_robust.models.built import BuiltModel
from pytest_clip_robust.models.checkpoint import check_finite, read_checkpoint
from pytest_clip_robust.models.compilation import CannotCompileError, Tower, compile_tower, noise_pixels
from pytest_clip_robust.models.dense import dense_encoder
from pytest_clip_robust.models.initialisation import NoRandomNumbers
from pytest_clip_robust.models.parameters import StateDict
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.models.splitting import split
from pytest_clip_robust.models.timm.sources import Source, find_source
from pytest_clip_robust.system.text import one_line

IMAGENET_CLASSES = 1000
IMAGENET = "imagenet-1k"

SAME = 1e-4
"""Relative difference below which the head on the features equals the whole model."""


class TimmClassifier:
    """An image encoder with a head of its own, made of a model of timm.

    Features are those before the head. If the head is more than one layer on them, as in distilled models with two
    heads, the `whole` model is the tower, and the logits themselves are the features.

    At fp32 nothing is rounded to TF32; bf16 and fp16 run under autocast, and parameters stay fp32.
    """

    def __init__(
        self,
        model: Any,
        *,
        settings: Mapping[str, Any],
        classes: str | Sequence[str],
        whole: bool,
        identity: str,
        device: str,
        precision: str,
    ) -> None:
        self.identity, self.classes = identity, classes
        self.preprocess = create_transform(**settings, is_training=False)
        self.preprocess_steps = split(self.preprocess)
        self._model, self._settings = model, settings
        self._device, self._precision = torch.device(device), precision
        self._head = None if whole else model.get_classifier()
        self._tower: Tower = model if self._head is None else partial(_features, model)

    def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
        """Turn (B, 3, H, W) pixels into the (B, D) features before the head."""
        with self._arithmetic():
            on_device = pixels.to(self._device, non_blocking=True, memory_format=torch.channels_last)
            return self._tower(on_device)

    def classify(self, features: NDArray[Any]) -> NDArray[Any]:
        """Turn (B, D) features into the head's (B, C) logits."""
        if self._head is None:
            return features
        with torch.inference_mode(), self._arithmetic():
            logits: NDArray[Any] = self._head(torch.from_numpy(features).to(self._device)).float().cpu().numpy()
        return logits

    def encode_dense(self, pixels: torch.Tensor) -> torch.Tensor:
        """Turn (B, 3, H, W) RGB in [0, 1] into the (B, D, h, w) features of the last block: see `dense_encoder`.

        Raises:
            ModelError: the model has no feature map.
        """
        with self._arithmetic():
            return self._dense(pixels)

    @cached_property
    def _dense(self) -> Callable[[torch.Tensor], torch.Tensor]:
        return dense_encoder(self._model, mean=self._settings["mean"], std=self._settings["std"])

    def compile(self) -> list[str]:
        """Compile the image tower with torch.compile; return a note if it cannot be compiled."""
        pixels = noise_pixels(self.preprocess).to(self._device, memory_format=torch.channels_last)
        try:
            self._tower = compile_tower(self._tower, pixels, precision=self._precision, arithmetic=self._arithmetic)
        except CannotCompileError as error:
            return [f"its image tower is not compiled: {error}"]
        return []

    def _arithmetic(self) -> AbstractContextManager[None]:
        return arithmetic(self._device, self._precision)


def build_timm(spec: ModelSpec) -> BuiltModel:
    """Build the classifier that `spec` names, with all of its parameters.

    Raises:
        ModelError: it does not exist, cannot be read, has no head, or its classes are not known.
    """
    source = find_source(spec)
    plain = _plain(source, spec)
    checkpoint = read_checkpoint(source.checkpoint, wanted=spec.option("weights") or "", known=plain.state_dict())
    model = _built(source, checkpoint.parameters, plain, spec)
    checkpoint.check_unchanged()
    settings = _preprocessing(model, source, spec)
    classes, notes = _classes(model, spec)
    whole = not head_is_a_layer(model, settings)
    if whole:
        notes.append("its head is more than one layer on its features, so its logits are used as features")
    return BuiltModel(
        module=model,
        architecture=[model.pretrained_cfg["architecture"], getattr(model, "_model_args", {})],
        preprocess=settings,
        text="",
        encoder=partial(TimmClassifier, settings=settings, classes=classes, whole=whole),
        notes=(*source.notes, *checkpoint.notes, *notes),
    )


def head_is_a_layer(model: Any, settings: Mapping[str, Any]) -> bool:
    """Return whether the model equals its classifier on its features, tried on noise."""
    head = model.get_classifier()
    if not callable(head):
        return False
    noise = torch.rand(2, *settings["input_size"], generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        try:
            through_head, whole = head(_features(model, noise)), model(noise)
        except (RuntimeError, TypeError, ValueError):  # features of another shape than the head takes
            return False
    return through_head.shape == whole.shape and bool((through_head - whole).norm() <= SAME * whole.norm())


def _features(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    features: torch.Tensor = model.forward_head(model.forward_features(pixels), pre_logits=True)
    return features


def _plain(source: Source, spec: ModelSpec) -> Any:
    """Return the architecture without parameters."""
    try:
        with torch.device("meta"):
            return timm.create_model(source.name, pretrained=False)
    except Exception as error:  # timm raises errors of many kinds
        raise ModelError(f"model {spec.label}: timm cannot build {source.name}: {one_line(error)}") from error


def _built(source: Source, parameters: StateDict, plain: Any, spec: ModelSpec) -> Any:
    """Return the model in evaluation mode with checked parameters."""
    where = f"model {spec.label}"
    try:
        overlay = {"state_dict": dict(parameters), "source": "", "num_classes": _count_classes(plain, parameters)}
        with _nothing_left_out(), NoRandomNumbers():
            model = timm.create_model(
                source.name, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=overlay["num_classes"]
            )
    except Exception as error:  # timm and torch raise errors of many kinds
        raise ModelError(
            f"{where}: {source.checkpoint} does not fit {source.name}: {one_line(error, longest=300)}"
        ) from error
    if not model.num_classes:
        raise ModelError(f"{where}: {source.name} has no head; name it in a CLIP of open_clip, or give a fine-tune")
    check_finite(model.state_dict(), f"{where}: {source.checkpoint}")
    return model.eval().requires_grad_(requires_grad=False)


def _count_classes(model: Any, parameters: StateDict) -> int:
    """Return the number of classes of a checkpoint: the rows of its classifier, else that of the architecture."""
    names = model.pretrained_cfg.get("classifier") or ()
    for name in (names,) if isinstance(names, str) else names:
        if (weight := parameters.get(f"{name}.weight")) is not None:
            return int(weight.shape[0]) - int(model.pretrained_cfg.get("label_offset") or 0)
    return int(model.num_classes)


@contextmanager
def _nothing_left_out() -> Iterator[None]:
    """Make timm load parameters strictly: some of its models accept a part of them and leave the rest random."""
    load = torch.nn.Module.load_state_dict

    def strictly(self: torch.nn.Module, state_dict: Mapping[str, Any], strict: bool = True, **options: Any) -> Any:  # noqa: ARG001, FBT001, FBT002 - torch's own signature
        return load(self, state_dict, strict=True, **options)

    with patch.object(torch.nn.Module, "load_state_dict", strictly):
        yield


def _preprocessing(model: Any, source: Source, spec: ModelSpec) -> dict[str, Any]:
    """Return the settings of the image transform: of the training run, else of the tag or the architecture."""
    try:
        resolve: Any = resolve_data_config
        settings: dict[str, Any] = resolve(dict(source.arguments), model=model)
        create_transform(**settings, is_training=False)
    except Exception as error:  # timm asserts, and torchvision raises errors of many kinds
        raise ModelError(f"model {spec.label}: its preprocessing is not valid: {one_line(error)}") from error
    return settings


def _classes(model: Any, spec: ModelSpec) -> tuple[str | list[str], list[str]]:
    """Return the head's classes, as the spec or the folder names them, else as their number tells, and notes."""
    if stated := spec.option("classes"):
        return stated, []
    named = model.pretrained_cfg.get("label_names")
    if named:
        names = [str(name) for name in named]
        if len(names) != model.num_classes:
            raise ModelError(f"model {spec.label}: {len(names)} label_names for a head of {model.num_classes} classes")
        return names, []
    subset = infer_imagenet_subset({"num_classes": model.num_classes})
    if subset is None:
        raise ModelError(
            f"model {spec.label}: the names of its {model.num_classes} classes are not known; write "
            f"{spec}{'&' if spec.options else '?'}classes=FILE with one id or name per line, in the order of the head"
        )
    note = f"its {model.num_classes:,} classes are taken to be those of {subset}; ?classes=FILE states others"
    if model.num_classes == IMAGENET_CLASSES:
        return IMAGENET, [note] if spec.weights else []
    known: Any = ImageNetInfo(subset)
    return list(known.label_names()), [note]
