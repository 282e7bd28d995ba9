"""Find the parameters of a CLIP model in the content of a checkpoint, under the names of the bare model.

Trainers store a model under keys such as ``state_dict`` or ``ema.shadow``, and wrap it in modules that change its
names: DistributedDataParallel, FSDP, torch.compile, LightningModule, PEFT. Instead of a list of formats, the model is
recognised by the names of its ``logit_scale`` and its image tower, at any depth and behind any prefix. Another kind of
model is recognised by all of its names.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import torch

from pytest_clip_robust.errors import ModelError, did_you_mean
from pytest_clip_robust.models.unpickling import Placeholder
from pytest_clip_robust.system.text import one_line, printable

StateDict = dict[str, torch.Tensor]

STATE_DICT_KEYS = ("state_dict", "model_state_dict", "model", "module")
"""Keys under which trainers store the parameters themselves, rather than an average or another model."""

WRAPPERS = frozenset(
    {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module", "base_layer"}
)
"""What torch.compile, FSDP, activation checkpointing, Lightning Fabric and merged PEFT layers insert into names."""

COMMON_PREFIXES = ("module.", "model.", "base_model.", "clip.", "clip_model.", "net.", "network.")
"""Prefixes to remove from all names where no model is recognised."""

TOWERS = ("visual.", "image_encoder.")
"""How the names of an image tower start: open_clip's, and those of MobileCLIP, which open_clip converts."""

AVERAGES = re.compile(r"\bema|ema\b|\bavg|averag|\bswa|shadow|polyak")
ADAPTERS = re.compile(r"(^|\.)(lora_|modules_to_save\.|original_module\.|ia3_|hada_|lokr_|vera_|oft_|boft_)")
COUNTER = "n_averaged"
"""The counter that `torch.optim.swa_utils.AveragedModel` adds to the parameters."""

DEPTH = 5
"""How many keys deep a state_dict is searched for."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One model in a checkpoint.

    keys: where its state_dict is stored. prefix: what its names start with there. parameters: without the prefix.
    """

    keys: tuple[str, ...]
    prefix: str
    parameters: StateDict

    @property
    def label(self) -> str:
        """The place of the model in the file, such as ``state_dict`` or ``state_dict.ema.module``."""
        place = ".".join([*self.keys, *filter(None, [self.prefix.rstrip(".")])])
        return printable(place) or "the top level"

    @property
    def words(self) -> frozenset[str]:
        """The words of `label`."""
        return frozenset(re.split(r"[\W_]+", self.label.casefold()))

    @property
    def is_average(self) -> bool:
        """Whether the name says that the parameters are averaged over training steps (EMA, SWA)."""
        return AVERAGES.search(re.sub(r"[._]+", " ", self.label.casefold())) is not None


@dataclass(frozen=True, slots=True)
class Found:
    """The parameters of the chosen model, and one-line remarks on the choice."""

    parameters: StateDict
    notes: tuple[str, ...] = ()


def find_parameters(content: object, where: str, *, wanted: str = "", known: Collection[str] = ()) -> Found:
    """Return the parameters of the model that `wanted` names, or else of the model that was trained.

    `wanted` is a place in the file, a part of one, ``ema``, or ``raw`` for the parameters that were trained.
    `where` names the file in messages. known: the names of all parameters, of a model that is not a CLIP.

    Raises:
        ModelError: the content has no parameters, several models and no usual one, or adapters that are not merged.
    """
    candidates = list(_candidates(content, frozenset(known)))
    if not candidates:
        return _unrecognised(content, where, wanted, frozenset(known))
    chosen = _named(candidates, wanted, where) if wanted else _usual(candidates, where)
    _check_merged(chosen, where)
    notes = []
    others = [one for one in candidates if one is not chosen and not _same(one.parameters, chosen.parameters)]
    if others and not wanted:
        notes.append(
            f"the checkpoint also has {', '.join(one.label for one in others)}: used {chosen.label}; "
            f"write ?weights={_short(others[0], candidates)} for another"
        )
    elif chosen.is_average and not wanted:
        notes.append(f"the checkpoint has only averaged weights: used {chosen.label}")
    unused = _unused(content, chosen, candidates, frozenset(known))
    if unused:
        notes.append(f"{len(unused)} parameters of the checkpoint are not part of {chosen.label}, first {unused[0]!r}")
    return Found(chosen.parameters, tuple(notes))


def clean_names(tensors: Mapping[str, torch.Tensor], known: Collection[str] = ()) -> StateDict:
    """Return the tensors without the parts that wrappers insert into their names, at any depth.

    Parts of `known` names belong to the model itself, and stay.

    >>> list(clean_names({"visual._orig_mod.proj": torch.ones(1), "visual.module.x": torch.ones(1)}))
    ['visual.proj', 'visual.module.x']
    """
    wrappers = WRAPPERS - {part for name in known for part in name.split(".")}
    cleaned = {".".join(part for part in name.split(".") if part not in wrappers): name for name in tensors}
    if len(cleaned) < len(tensors):
        cleaned = {name: name for name in tensors}  # removing the parts would make two names equal
    while wrapped := _data_parallel(cleaned):
        cleaned = {
            wrapped + name.removeprefix(f"{wrapped}module.") if name.startswith(wrapped) else name: source
            for name, source in cleaned.items()
        }
    return {name: tensors[source] for name, source in cleaned.items()}


def _data_parallel(names: Mapping[str, str]) -> str | None:
    """Return the prefix of a submodule, or ``""``, in which every name starts with ``module.``."""
    within: dict[str, set[str]] = {}
    for name in names:
        parts = name.split(".")
        for depth in range(len(parts)):
            within.setdefault("".join(f"{part}." for part in parts[:depth]), set()).add(parts[depth])
    return next((prefix for prefix, children in within.items() if prefix and children == {"module"}), None)


def _candidates(content: object, known: frozenset[str]) -> Iterator[Candidate]:
    """Yield every model in `content`; a dict that several keys name is searched once."""
    seen = set()
    queue: list[tuple[tuple[str, ...], object]] = [((), content)]
    while queue:
        keys, found = queue.pop(0)
        if isinstance(found, dict) and id(found) not in seen and len(keys) <= DEPTH:
            seen.add(id(found))
            yield from _models(found, keys, known)
            queue += [((*keys, key), value) for key, value in dict.items(found) if isinstance(key, str)]


def _models(content: dict[Any, Any], keys: tuple[str, ...], known: frozenset[str]) -> Iterator[Candidate]:
    """Yield every model whose parameters are values of `content` itself."""
    tensors = _tensors(content)
    names = clean_names({name: tensor for name, tensor in tensors.items() if name.rpartition(".")[2] != COUNTER}, known)
    prefixes = _known_prefixes(names, known) if known else _clip_prefixes(names)
    for prefix in prefixes:
        inner = tuple(one for one in prefixes if one != prefix and one.startswith(prefix))
        own = {
            name.removeprefix(prefix): tensor
            for name, tensor in names.items()
            if name.startswith(prefix) and not (inner and name.startswith(inner))
        }
        yield Candidate(keys, prefix, own)


def _clip_prefixes(names: Collection[str]) -> list[str]:
    """Return what the names of each CLIP start with."""
    prefixes = [
        name.removesuffix("logit_scale")
        for name in names
        if name.endswith("logit_scale") and name.removesuffix("logit_scale")[-1:] in {"", "."}
    ]
    return [one for one in prefixes if any(name.startswith(f"{one}{tower}") for tower in TOWERS for name in names)]


def _known_prefixes(names: Collection[str], known: frozenset[str]) -> list[str]:
    """Return what the names of each model start with that has at least half of the `known` names."""
    counts: Counter[str] = Counter()
    for name in names:
        parts = name.split(".")
        ends = (".".join(parts[depth:]) for depth in range(len(parts)))
        counts.update(name.removesuffix(end) for end in ends if end in known)
    return [prefix for prefix, count in counts.items() if 2 * count >= len(known)]


def _tensors(content: dict[Any, Any]) -> StateDict:
    return {
        name: value for name, value in dict.items(content) if isinstance(name, str) and isinstance(value, torch.Tensor)
    }


def _usual(candidates: list[Candidate], where: str) -> Candidate:
    """Return the model that was trained, or an average if the file has no other."""
    trained = [one for one in candidates if not one.is_average] or candidates
    best = min(_rank(one) for one in trained)
    usual = [one for one in trained if _rank(one) == best]
    if not all(_same(usual[0].parameters, one.parameters) for one in usual[1:]):
        raise ModelError(
            f"{where} has several models: {', '.join(one.label for one in usual)}; "
            f"choose one with ?weights={_short(usual[0], candidates)}"
        )
    return usual[0]


def _rank(candidate: Candidate) -> int:
    """Return the position of a model's place among the usual ones; unusual places share the last position."""
    places: list[tuple[str, ...]] = [*((key,) for key in STATE_DICT_KEYS), ()]
    usual = candidate.keys in places and candidate.prefix in {"", "module.", "model."}
    return places.index(candidate.keys) if usual else len(places)


def _named(candidates: list[Candidate], wanted: str, where: str) -> Candidate:
    """Return the model that `wanted` names."""
    if wanted == "raw":
        return _usual([one for one in candidates if not one.is_average] or candidates, where)
    found = _matches(candidates, wanted)
    if len(found) == 1:
        return found[0]
    labels = [one.label for one in found or candidates]
    problem = "names several models" if found else f"names no model{did_you_mean(wanted, labels)}"
    raise ModelError(f"{where}: ?weights={wanted} {problem}; it has {', '.join(labels)}")


def _matches(candidates: list[Candidate], wanted: str) -> list[Candidate]:
    words = set(re.split(r"[\W_]+", wanted.casefold()))
    for matches in (
        lambda one: wanted == one.label,
        lambda one: wanted in {".".join(one.keys), one.prefix.rstrip(".")},
        lambda one: words <= one.words,
        lambda one: wanted in {"ema", "average"} and one.is_average,
    ):
        found = [one for one in candidates if matches(one)]
        if found:
            return found
    return []


def _short(candidate: Candidate, candidates: list[Candidate]) -> str:
    """Return the shortest text with which ``?weights=`` names a model, percent-encoded as in a spec."""
    names = ["ema"] if candidate.is_average else []
    names += [*candidate.keys, candidate.prefix.rstrip("."), candidate.label]
    return quote(next((one for one in names if one and _matches(candidates, one) == [candidate]), "raw"))


def _same(parameters: StateDict, others: StateDict) -> bool:
    return parameters.keys() == others.keys() and all(
        parameters[name].shape == others[name].shape
        and parameters[name].dtype == others[name].dtype
        and torch.equal(parameters[name], others[name])
        for name in parameters
    )


def _check_merged(chosen: Candidate, where: str) -> None:
    adapters = [name for name in chosen.parameters if ADAPTERS.search(name)]
    if adapters:
        raise ModelError(
            f"{where} has {len(adapters)} parameters of adapters that are not merged, first {adapters[0]!r}; "
            "save model.merge_and_unload().state_dict()"
        )
    flat = [name for name in chosen.parameters if name.rpartition(".")[2].startswith("_flat_param")]
    if flat:
        raise ModelError(f"{where} has flattened FSDP parameters, first {flat[0]!r}; save a full state_dict")
    empty = [name for name, tensor in chosen.parameters.items() if tensor.numel() == 0]
    if empty:
        raise ModelError(
            f"{where} has {len(empty)} empty parameters, first {empty[0]!r}: DeepSpeed (ZeRO-3) stores them in other "
            "files; join them with the zero_to_fp32.py that it wrote next to them"
        )


def _unused(content: object, chosen: Candidate, candidates: list[Candidate], known: frozenset[str]) -> list[str]:
    """Return the names in the chosen state_dict that belong to none of the models."""
    for key in chosen.keys:
        content = content[key] if isinstance(content, dict) else {}
    tensors = _tensors(content) if isinstance(content, dict) else {}
    prefixes = tuple(one.prefix for one in candidates if one.keys == chosen.keys)
    return [
        name
        for name in clean_names(tensors, known)
        if not name.startswith(prefixes) and name.rpartition(".")[2] != COUNTER
    ]


def _unrecognised(content: object, where: str, wanted: str, known: frozenset[str]) -> Found:
    """Return the parameters of a file without a recognised model, if it has one state_dict in the usual place."""
    if wanted:
        raise ModelError(
            f"{where}: ?weights={wanted} names no model: the file has no "
            f"{'model of this architecture' if known else 'logit_scale next to an image tower'}"
        )
    found = content
    if isinstance(content, dict):
        found = next((content[key] for key in STATE_DICT_KEYS if isinstance(content.get(key), dict)), content)
    whole = isinstance(found, Placeholder) and found.is_module  # a pickled model of another kind
    if isinstance(found, dict) and found and not whole and all(isinstance(one, torch.Tensor) for one in found.values()):
        parameters = clean_names(found, known)
        while prefix := next((one for one in COMMON_PREFIXES if all(name.startswith(one) for name in parameters)), ""):
            parameters = {name.removeprefix(prefix): tensor for name, tensor in parameters.items()}
        return Found(parameters)
    raise ModelError(
        f"{where} holds no parameters ({_description(content, found)}); expected a state_dict, or one under "
        "'state_dict'"
    )


def _description(content: object, found: object) -> str:
    if isinstance(content, Placeholder) and (content.is_module or not content):
        return one_line(f"it is a pickled {content.name}")
    if not isinstance(content, dict):
        return f"it is a {type(content).__name__}"
    values = [*dict.values(content), *(dict.values(found) if isinstance(found, dict) else ())]
    types = sorted({value.name for value in values if isinstance(value, Placeholder)})
    kinds = f", with values of type {', '.join(types[:5])}" if types else ""
    return one_line(f"its keys are {', '.join(map(str, list(content)[:5]))}{kinds}")
