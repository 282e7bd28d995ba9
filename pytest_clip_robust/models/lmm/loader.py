"""Load large multimodal models of transformers: known families, complete weights, a processor that takes images."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    MODEL_MAPPING,
    AutoModelForImageTextToText,
    AutoProcessor,
)

from pytest_clip_robust import showroom
from pytest_clip_robust.core.digest import digest
from pytest_clip_robust.errors import ModelError, did_you_mean
from pytest_clip_robust.models.arithmetic import DTYPES
from pytest_clip_robust.models.card.facts import Claim, card_of
from pytest_clip_robust.models.checkpoint import content_digest
from pytest_clip_robust.models.compilation import noise_image
from pytest_clip_robust.models.convolutions import speed_up_convolutions
from pytest_clip_robust.models.hugging_face.folder import model_folder, read_config
from pytest_clip_robust.models.hugging_face.images import MAJOR, VOLATILE
from pytest_clip_robust.models.hugging_face.resizing import as_pillow_resizes
from pytest_clip_robust.models.hugging_face.weights import (
    architecture,
    check_known,
    load_complete,
    no_progress,
    runs_code,
)
from pytest_clip_robust.models.lmm.families import FAMILIES, Family
from pytest_clip_robust.models.lmm.model import MultimodalModel
from pytest_clip_robust.models.lmm.towers import tower_of
from pytest_clip_robust.models.probes import PROBE_TEXTS
from pytest_clip_robust.models.protocols import LoadedModel
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.system.notice import Notice, log_notice
from pytest_clip_robust.system.quiet import quiet
from pytest_clip_robust.system.text import one_line

QUESTION = "What is in this photo?"
"""What a model is asked when it is loaded."""
NOT_PROCESSING = VOLATILE | {"tokenizer", "chat_template", "tokenizer_class", "transformers_version"}
"""Entries of a processor's settings that say where it came from, or that have a digest of their own."""


def load_multimodal(
    spec: ModelSpec, *, device: str, precision: str, compiled: bool = False, folded: bool = True
) -> LoadedModel:
    """Load the model of a folder, of a repository of the hub, or of the showroom, as a model of a run.

    Raises:
        ModelError: see `load_lmm`.
    """
    model = load_lmm(spec, device=device, precision=precision, folded=folded)
    notes = [*model.notes, *([f"its tower is {model.tower}, says {model.stated}"] if model.tower else [])]
    if compiled:
        notes.append("torch.compile is not used for large multimodal models")
    return LoadedModel(
        spec=spec,
        encoder=model,
        weights=model.identity,
        preprocess=model.identity,
        text=model.identity,
        precision=precision,
        device=device,
        notes=tuple(notes),
        card=card_of([Claim(source="weights", facts={"parameters": model.parameters})]),
    )


def load_lmm(
    spec: ModelSpec,
    *,
    device: str,
    precision: str,
    memory: int | None = None,
    folded: bool = True,
    notice: Notice = log_notice,
) -> MultimodalModel:
    """Load the model that ``lmm:...`` names, and ask it about two images.

    precision: ``"fp32"``, ``"bf16"`` or ``"fp16"``, the type of the parameters: 7 billion of them need 26 GiB at fp32
        and 13 GiB at the others.
    memory: for the caches of one pass, in bytes; by default 1 GiB on the CPU and 4 GiB on other devices.
    folded: whether a convolutional tower is made faster, which replaces layers: see `speed_up_convolutions`.
    notice: gets a line if a fast way is not used because it does not give what whole passes give.

    Raises:
        ModelError: it does not exist, is not complete, is of another kind, has no usable processor or chat template,
            would run its own code, does not fit into memory, or does not look at the image.
    """
    where, dtype = f"model {spec.label}", DTYPES.get(precision, torch.float32)
    if spec.name in showroom.lmm_names():
        spec = replace(spec, name=str(showroom.lmm_folder(spec.name)))
    with no_progress(), quiet():
        content = read_config(spec)
        family = _family(content, spec)
        folder = model_folder(spec)
        code = runs_code(content, spec)
        module, notes = load_complete(folder, spec, class_of=_class_of(code=code), code=code, dtype=dtype)
        processor = _processor(folder, code=code, where=where)
        weights = content_digest(module.state_dict(), architecture(module, folder, spec))
        model = MultimodalModel(
            module.to(device),
            processor,
            family,
            identity=digest([weights, processor_digest(processor)]),
            tower=tower_of(spec, content),
            precision=precision,
            device=device,
            where=where,
            memory=memory,
            notes=notes,
            notice=notice,
        )
        scores = _fold(model, module, precision) if folded else None
        model.check([noise_image(), Image.new("RGB", (64, 48), "navy")], QUESTION, scores=scores)
    return model


def _fold(model: MultimodalModel, module: torch.nn.Module, precision: str) -> torch.Tensor | None:
    """Make a convolutional tower faster; return what the changed model says of the noise image, if it was changed."""
    scores = torch.empty(0)

    def ask() -> torch.Tensor:
        nonlocal scores
        scores = model.next_token(noise_image(), QUESTION)
        return scores

    return scores if speed_up_convolutions(module, ask, precision=precision) else None


def processor_digest(processor: Any) -> str:
    """Return a digest of everything that turns a question and an image into tensors, and of transformers' version."""
    tokenizer = processor.tokenizer
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    special = sorted((number, str(token)) for number, token in tokenizer.added_tokens_decoder.items() if token.special)
    tokens = [tokenizer(text)["input_ids"] for text in PROBE_TEXTS]
    templates = [getattr(one, "chat_template", None) for one in (processor, tokenizer)]
    parts = [_settings(processor), _settings(processor.image_processor), templates]
    return digest([parts, sorted(vocabulary.items()), special, tokens, MAJOR])


def _family(content: dict[str, Any], spec: ModelSpec) -> Family:
    """Return the family of a model, before anything large is fetched."""
    check_known(content, spec)
    kind, where = str(content.get("model_type")), f"model {spec.label}"
    if runs_code(content, spec):
        return Family(name=kind)
    if kind in FAMILIES:
        return FAMILIES[kind]
    config = CONFIG_MAPPING[kind]
    known = ", ".join(family.name for family in FAMILIES.values())
    if config in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        raise ModelError(
            f"{where}: model type {kind!r}{did_you_mean(kind, FAMILIES)} answers questions about images in a way that "
            f"was not tested; expected one of {known}"
        )
    clip = config in MODEL_MAPPING and hasattr(config, "sub_configs") and "vision_config" in config.sub_configs
    hint = f"; for the features of a model such as CLIP write hf:{spec.name}" if clip else ""
    raise ModelError(
        f"{where}: model type {kind!r} does not answer questions about images{hint}; expected one of {known}"
    )


def _class_of(*, code: bool) -> Any:
    return (lambda _: AutoModelForImageTextToText) if code else MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING.__getitem__


def _processor(folder: Path, *, code: bool, where: str) -> Any:
    try:
        auto: Any = AutoProcessor
        processor = auto.from_pretrained(folder, local_files_only=True, trust_remote_code=code)
    except ImportError as error:  # the message of transformers has several lines about installing it
        package = _package(str(error))
        raise ModelError(f"{where}: its processor needs a package that is not installed: {package}") from error
    except Exception as error:  # processors raise errors of many kinds
        raise ModelError(f"{where}: its processor cannot be used: {type(error).__name__}: {one_line(error)}") from error
    for part, what in (("image_processor", "images"), ("tokenizer", "texts")):
        if getattr(processor, part, None) is None:
            raise ModelError(
                f"{where}: its processor, {type(processor).__name__}, has no part for {what}; copy "
                "processor_config.json and preprocessor_config.json from the model that it was trained from"
            )
    processor.image_processor = as_pillow_resizes(processor.image_processor, folder, code=code, where=where)
    return processor


def _package(message: str) -> str:
    return "num2words; run pip install num2words" if "num2words" in message else one_line(message)


def _settings(part: Any) -> object:
    """Return the settings of a processor as JSON, with the names of its class."""
    found = json.loads(json.dumps(part.to_dict(), sort_keys=True, default=str))
    return [type(part).__name__, {key: value for key, value in found.items() if key not in NOT_PROCESSING}]
