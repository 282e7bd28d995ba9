"""Model specs: the string after ``--model``, parsed into one frozen value. Imports nothing heavy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Self
from urllib.parse import parse_qsl, quote, urlencode

from pytest_clip_robust.errors import ModelError, did_you_mean
from pytest_clip_robust.system.files import exists, is_file, is_folder, user_path
from pytest_clip_robust.system.text import printable

CHECKPOINT_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")
ADAPTER = "+adapter:"
"""What separates the spec of a base model from the folder or repository of an adapter of PEFT."""
LONGEST = 4096

EXAMPLES = (
    "ViT-B-32@openai, ViT-B-32@runs/epoch_3.pt, local-dir:models/mine, hf-hub:org/repo, hf:org/repo or "
    "py:my.module:factory"
)


class Option(NamedTuple):
    """The values of one option: the pattern that they match, and its description for error messages."""

    pattern: str
    expected: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of model spec: ``PREFIX:NAME[@WEIGHTS][?OPTION=VALUE&...]``.

    loader: ``"module:function"``, imported when the first model of this kind is loaded. The function takes the spec
        and the keywords `device`, `precision`, `compiled` and `folded`, and returns a `LoadedModel`.
    form: how to write such a spec, for error messages. name: what NAME must match.
    takes_weights: whether ``@WEIGHTS`` can follow the name.
    options: the options that can follow; None permits every option.
    names_family: whether NAME stays the same from checkpoint to checkpoint; the name of a folder does not.
    builder: ``"module:function"`` for kinds whose loader is `LOAD_BUILT`. The function takes the spec and returns a
        `BuiltModel`, whose parameters can be changed.
    """

    loader: str
    form: str
    name: str
    takes_weights: bool = True
    options: Mapping[str, Option] | None = field(default_factory=dict)
    names_family: bool = True
    builder: str = ""


OPEN_CLIP = "open_clip"
"""The kind of a spec without a prefix."""
INTERPOLATE = "interpolate"
"""The kind of a spec that holds two others."""
LMM = "lmm"
"""The kind of large multimodal models, which answer questions about images."""

LOAD_BUILT = "pytest_clip_robust.models.assembly:load_built"
_OPEN_CLIP = "pytest_clip_robust.models.open_clip.loader:build_openclip"
_QUICK_GELU = {"quick_gelu": Option("true|false", "true or false")}
_OF_CHECKPOINTS = {
    "weights": Option(".+", "the name of a model in the checkpoint, such as ema"),
    "image_size": Option(r"[1-9]\d{0,4}", "a number of pixels"),
}

KINDS = {
    OPEN_CLIP: Kind(
        loader=LOAD_BUILT,
        builder=_OPEN_CLIP,
        form="ARCH@WEIGHTS",
        name=r".+",
        options=_QUICK_GELU | _OF_CHECKPOINTS,
    ),
    "local-dir": Kind(
        loader=LOAD_BUILT,
        builder=_OPEN_CLIP,
        form="local-dir:FOLDER[@FILE]",
        name=r".+",
        options=_OF_CHECKPOINTS,
        names_family=False,
    ),
    "hf-hub": Kind(
        loader=LOAD_BUILT,
        builder=_OPEN_CLIP,
        form="hf-hub:ORGANISATION/REPOSITORY[@FILE]",
        name=r"[^/]+/[^/]+",
        options=_OF_CHECKPOINTS,
    ),
    "hf": Kind(
        loader=LOAD_BUILT,
        builder="pytest_clip_robust.models.hugging_face.loader:build_transformers",
        form="hf:ORGANISATION/REPOSITORY or hf:FOLDER",
        name=r".+",
        takes_weights=False,
        options={
            "revision": Option(r"[\w./-]+", "a branch, tag or commit"),
            "remote_code": Option("true|false", "true or false"),
        },
    ),
    "timm": Kind(
        loader=LOAD_BUILT,
        builder="pytest_clip_robust.models.timm.loader:build_timm",
        form="timm:NAME[@FILE], timm:FOLDER or timm:ORGANISATION/REPOSITORY",
        name=r".+",
        options={
            "classes": Option(".+", "a class list, or a file with one class per line"),
            "weights": _OF_CHECKPOINTS["weights"],
        },
    ),
    "predictions": Kind(
        loader="pytest_clip_robust.models.saved_predictions:load_predictions",
        form="predictions:FILE",
        name=r".+",
        takes_weights=False,
        options={"classes": Option(".+", "a class list, or a file with one class per line")},
        names_family=False,
    ),
    "features": Kind(
        loader="pytest_clip_robust.models.feature_pack:load_features",
        form="features:FOLDER",
        name=r".+",
        takes_weights=False,
        names_family=False,
    ),
    "py": Kind(
        loader="pytest_clip_robust.models.custom:load_custom",
        form="py:MODULE:FACTORY or py:FILE.py:FACTORY",
        name=r".+:[^\W\d]\w*(\.[^\W\d]\w*)*",
        takes_weights=False,
        options=None,
    ),
    INTERPOLATE: Kind(
        loader=LOAD_BUILT,
        builder="pytest_clip_robust.models.interpolation:build_interpolation",
        form="interpolate:A,B?alpha=NUMBER with two models A and B that have no comma in them (in an option: %2C)",
        name=r"[^,]+,[^,]+",
        takes_weights=False,
        options={"alpha": Option(r"[01](\.0+)?|0?\.\d+", "a number from 0 to 1")},
    ),
    LMM: Kind(
        loader="pytest_clip_robust.models.lmm.loader:load_multimodal",
        form="lmm:FOLDER or lmm:ORGANISATION/REPOSITORY",
        name=r".+",
        takes_weights=False,
        options={
            "tower": Option(".+", "the spec of the CLIP model whose image tower it is built on"),
            "revision": Option(r"[\w./-]+", "a branch, tag or commit"),
            "remote_code": Option("true|false", "true or false"),
        },
    ),
}
"""All kinds of models, by prefix. A new kind needs one entry here and the module that its `loader` names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A parsed model spec.

    kind: a key of KINDS.
    name: the open_clip architecture or config file, the folder, the repository, or ``module:factory``.
    weights: an open_clip tag, or the path of a checkpoint; ``""`` if the spec names none.
    options: pairs of option and value, in the spec's order.
    adapter: the folder or repository of an adapter of PEFT that is put on the model, or ``""``.
    """

    kind: str
    name: str
    weights: str = ""
    options: tuple[tuple[str, str], ...] = ()
    adapter: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a model spec.

        Raises:
            ModelError: `text` is not a model spec; the message shows examples of valid ones.

        >>> ModelSpec.parse("ViT-B-32@openai").weights
        'openai'
        >>> ModelSpec.parse("ViT-B-32@runs/epoch_3.pt?quick_gelu=true").option("quick_gelu")
        'true'
        """
        _check_text(text)
        base, plus, adapter = ("", "", "") if text.startswith(f"{INTERPOLATE}:") else text.partition(ADAPTER)
        if plus:
            spec = cls.parse(base)
            _check_adapter(adapter, spec, text)
            return replace(spec, adapter=adapter)
        kind, rest = _split_prefix(text)
        body, question, query = _split_options(rest, kind)
        name, at, weights = _split_weights(body, kind)
        if at and not weights:
            raise ModelError(f"model spec {text!r} ends in '@'; write {KINDS[kind].form}")
        if not re.fullmatch(KINDS[kind].name, name):
            raise ModelError(f"model spec {text!r}: expected {KINDS[kind].form}; write {EXAMPLES}")
        spec = cls(kind=kind, name=name, weights=weights, options=_read_options(query, kind, text) if question else ())
        if spec.options and kind == OPEN_CLIP and not spec.has_checkpoint:
            raise ModelError(f"model spec {text!r}: options belong to ARCH@CHECKPOINT; remove ?{query}")
        if kind == INTERPOLATE:
            _check_interpolation(spec, text)
        if (tower := spec.option("tower")) is not None and kind == LMM:
            _check_tower(tower, text)
        return spec

    @property
    def parts(self) -> tuple[ModelSpec, ...]:
        """The two models that are interpolated, or nothing for every other kind.

        >>> [str(one) for one in ModelSpec.parse("interpolate:ViT-B-32,ViT-B-32@a/b.pt?alpha=0.5").parts]
        ['ViT-B-32', 'ViT-B-32@a/b.pt']
        """
        return tuple(ModelSpec.parse(one) for one in self.name.split(",")) if self.kind == INTERPOLATE else ()

    @property
    def has_checkpoint(self) -> bool:
        """Whether `weights` is the path of a file rather than an open_clip tag."""
        if self.kind != OPEN_CLIP or not self.weights:
            return False
        looks_like_a_path = "/" in self.weights or "\\" in self.weights
        ends = (*CHECKPOINT_SUFFIXES, ".index.json")
        return looks_like_a_path or self.weights.endswith(ends) or is_file(user_path(self.weights))

    @property
    def is_published(self) -> bool:
        """Whether the spec names a published architecture and tag, rather than a file, folder, repository or module."""
        return self.kind == OPEN_CLIP and not self.has_checkpoint and not self.adapter

    @property
    def label(self) -> str:
        """The spec as a string without control characters, for reports."""
        return printable(str(self))

    @property
    def family(self) -> str:
        """The part of the name that is the same for every checkpoint of a model, as a valid folder name.

        It is ``""`` for folders, and for kinds whose specs do not contain one.

        >>> ModelSpec.parse("ViT-B-32@runs/42/epoch_3.pt").family
        'ViT-B-32'
        """
        if self.parts:
            families = {one.family for one in self.parts}
            return families.pop() if len(families) == 1 else ""
        if not KINDS[self.kind].names_family or (self.kind in {"hf", "timm", LMM} and is_folder(user_path(self.name))):
            return ""
        name = self.name.rpartition("/")[2].removesuffix(".json")
        return re.sub(r"[^\w.-]", "_", name.replace(".py:", ".").replace(":", "."), flags=re.ASCII).lstrip(".")

    def option(self, name: str) -> str | None:
        """Return the value of an option, or None if the spec does not contain it."""
        return dict(self.options).get(name)

    def __str__(self) -> str:
        prefix = "" if self.kind == OPEN_CLIP else f"{self.kind}:"
        weights = f"@{self.weights}" if self.weights else ""
        query = f"?{urlencode(self.options, quote_via=quote, safe='/:@,~')}" if self.options else ""
        adapter = f"{ADAPTER}{self.adapter}" if self.adapter else ""
        return f"{prefix}{self.name}{weights}{query}{adapter}"


def _check_text(text: str) -> None:
    if not text.strip():
        raise ModelError(f"model spec {text!r} is empty; write {EXAMPLES}")
    if len(text) > LONGEST:
        raise ModelError(f"model spec of {len(text)} characters, starting {text[:40]!r}; expected at most {LONGEST}")
    if not text.isprintable():
        raise ModelError(f"model spec {text!r} has control characters; write {EXAMPLES}")


def _check_adapter(adapter: str, base: ModelSpec, text: str) -> None:
    if not KINDS[base.kind].builder:
        hint = "; in an option of your function write %2Badapter:" if base.options else ""
        raise ModelError(f"model spec {text!r}: {base.kind}: takes no adapter{hint}")
    if not adapter.strip() or ADAPTER in adapter:
        raise ModelError(f"model spec {text!r}: expected BASE{ADAPTER}FOLDER, with one adapter on one base model")


def _check_interpolation(spec: ModelSpec, text: str) -> None:
    if spec.option("alpha") is None:
        raise ModelError(f"model spec {text!r} ends without ?alpha=, the share of the second model, from 0 to 1")
    for part in spec.parts:
        if not KINDS[part.kind].builder:
            raise ModelError(f"model spec {text!r}: {part.kind}: models cannot be interpolated; write {EXAMPLES}")


def _check_tower(tower: str, text: str) -> None:
    try:
        kind = ModelSpec.parse(tower).kind
    except ModelError as error:
        raise ModelError(f"model spec {text!r}: its tower: {error}") from None
    if kind == LMM:
        raise ModelError(f"model spec {text!r}: its tower {tower!r} is not a CLIP model; write ?tower=ViT-B-32@openai")


def _split_options(rest: str, kind: str) -> tuple[str, str, str]:
    """Split at the first ``?``, or at the last one if the models that NAME names can have options themselves."""
    if kind != INTERPOLATE or "?" not in rest:
        return rest.partition("?")
    return rest.rpartition("?")


def _split_prefix(text: str) -> tuple[str, str]:
    """Return the kind and the rest of a spec."""
    prefix, colon, rest = text.partition(":")
    if colon and prefix in KINDS and prefix != OPEN_CLIP:
        return prefix, rest
    architecture = text.partition("?")[0].partition("@")[0]
    if ":" in architecture and not architecture.endswith(".json"):
        prefixes = [f"{kind}:" for kind in KINDS if kind != OPEN_CLIP]
        near = did_you_mean(f"{prefix}:", prefixes)
        raise ModelError(
            f"model spec {text!r}: unknown prefix {prefix!r}{near}; the prefixes are {', '.join(prefixes)}; "
            f"write {EXAMPLES}"
        )
    return OPEN_CLIP, text


def _split_weights(body: str, kind: str) -> tuple[str, str, str]:
    """Split NAME@WEIGHTS at the ``@`` after an existing path, else at the first one."""
    if not KINDS[kind].takes_weights or (kind != OPEN_CLIP and exists(user_path(body))):
        return body, "", ""
    for at in re.finditer("@", body):
        if exists(user_path(body[: at.start()])):
            return body[: at.start()], "@", body[at.end() :]
    return body.partition("@")


def _read_options(query: str, kind: str, text: str) -> tuple[tuple[str, str], ...]:
    try:
        options = tuple(parse_qsl(query, keep_blank_values=True, strict_parsing=True))
    except ValueError:
        raise ModelError(f"model spec {text!r}: {query!r} after '?' is not OPTION=VALUE") from None
    known = KINDS[kind].options
    for name, value in options:
        if known is not None and name not in known:
            expected = f"the options are {', '.join(known)}" if known else f"{KINDS[kind].form} takes no options"
            raise ModelError(f"model spec {text!r}: unknown option {name!r}{did_you_mean(name, known)}; {expected}")
        if known is not None and not re.fullmatch(known[name].pattern, value):
            raise ModelError(f"model spec {text!r}: {name}={value!r}; expected {known[name].expected}")
    if len(dict(options)) != len(options):
        raise ModelError(f"model spec {text!r}: an option is given twice")
    return options
