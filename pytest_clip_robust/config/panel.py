"""Panel files: the models of a study, with their relations and what is stated about them (``--clip-panel``)."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pytest_clip_robust.config.shipped import PANELS, PROFILES, shipped_files
from pytest_clip_robust.core.plain import read_section, read_value
from pytest_clip_robust.errors import ConfigError, ModelError, did_you_mean, shown
from pytest_clip_robust.models.card.overrides import read_facts
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.system.files import read_text
from pytest_clip_robust.system.text import one_line

MODELS, FACTORS, PROFILE = "models", "factors", "profile"


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelModel:
    """A model of a panel.

    parent: the model of the panel that it was fine-tuned from, or None.
    group: the name of its family. Models with a common ancestor are of one family, and never count as independent.
    reference: whether it is a reference model: lines are fitted to those, and the others are compared with the lines.
    facts: what the file states about it, by the names of `ModelCard`; the model's own card has the others.
    """

    spec: ModelSpec
    parent: ModelSpec | None = None
    group: str = ""
    reference: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPanel:
    """The models of a panel file, in its order.

    path: the file. profile: that of a run that names neither a profile nor data: a shipped name, a path, or ``""``.
    """

    path: Path
    models: tuple[PanelModel, ...]
    profile: str = ""

    @property
    def specs(self) -> tuple[ModelSpec, ...]:
        """The specs of the models."""
        return tuple(one.spec for one in self.models)

    def about(self, label: str) -> PanelModel | None:
        """Return the model with this label, or None for a model that is not of the panel."""
        return next((one for one in self.models if one.spec.label == label), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    """The keys of a ``[[models]]`` table besides ``factors``."""

    spec: str = ""
    parent: str = ""
    group: str = ""
    reference: bool = False


def panel_path(source: str, folder: Path) -> Path:
    """Return the path of a panel file: of a shipped panel's name, or else of a path relative to `folder`."""
    return shipped_files(PANELS).get(source) or folder / source


def read_panel_file(path: Path) -> ModelPanel:
    """Return the models of a panel file.

    The file is TOML: ``[[models]]`` with a ``spec``, and optionally ``parent`` (the spec of another model of the file),
    ``group``, ``reference`` and a table ``factors`` of facts; and ``profile``, a shipped name or a path relative to the
    file.

    Raises:
        ConfigError: the file cannot be read, a key or value is not valid, a model occurs twice, a parent is not in the
            file, or a model is its own ancestor.
        ModelError: a spec is not valid.
    """
    where = f"panel {path}"
    try:
        content = tomllib.loads(read_text(path, where, error=ConfigError))
    except tomllib.TOMLDecodeError as cause:
        raise ConfigError(f"{where}: {one_line(cause)}; expected TOML") from None
    tables = content.get(MODELS)
    if not isinstance(tables, list) or not tables or not all(isinstance(one, Mapping) for one in tables):
        near = did_you_mean(MODELS, content) if tables is None else ""
        raise ConfigError(f"{where} has no list of models{near}; write [[models]] with spec = '...' for each")
    if others := [key for key in content if key not in {MODELS, PROFILE}]:
        near = did_you_mean(others[0], [MODELS, PROFILE])
        raise ConfigError(
            f"{where}: unknown key {shown(others[0])}{near}; a panel file has [[models]], and profile before them"
        )
    profile = read_value(str, content.get(PROFILE, ""), where=f"{where}: {PROFILE}")
    read = [_read_model(table, f"{where}: {MODELS}[{place}]") for place, table in enumerate(tables)]
    specs: dict[str, ModelSpec] = {}
    for place, (written, _) in enumerate(read):
        spec = _parse(written.spec, f"{where}: {MODELS}[{place}].spec")
        if str(spec) in specs:
            raise ConfigError(f"{where}: {MODELS}[{place}]: {str(spec)!r} occurs twice; keep one of them")
        specs[str(spec)] = spec
    models = [
        PanelModel(
            spec=spec,
            parent=_parent(written.parent, spec, specs, f"{where}: {MODELS}[{place}]"),
            group=written.group,
            reference=written.reference,
            facts=facts,
        )
        for place, (spec, (written, facts)) in enumerate(zip(specs.values(), read, strict=True))
    ]
    _check_ancestors(models, where)
    if profile and profile not in shipped_files(PROFILES):
        profile = str(path.parent / profile)
    return ModelPanel(path=path, models=tuple(_with_groups(models)), profile=profile)


def _read_model(table: Mapping[str, Any], where: str) -> tuple[_Written, dict[str, Any]]:
    own = {key: value for key, value in table.items() if key != FACTORS}
    for key in own:
        if did_you_mean(key, [FACTORS]):
            raise ConfigError(f"{where}: unknown key {shown(key)}; did you mean {FACTORS!r}?")
    written = read_section(_Written, own, where=where)
    if not written.spec:
        raise ConfigError(f"{where}.spec={shown(own.get('spec'))}; expected a model spec, such as 'ViT-B-32@openai'")
    return written, read_facts(table.get(FACTORS, {}), f"{where}.{FACTORS}")


def _parse(text: str, where: str) -> ModelSpec:
    try:
        return ModelSpec.parse(text)
    except ModelError as error:
        raise ModelError(f"{where}: {error}") from None


def _parent(text: str, spec: ModelSpec, specs: Mapping[str, ModelSpec], where: str) -> ModelSpec | None:
    if not text:
        return None
    name = str(_parse(text, f"{where}.parent"))
    if name not in specs:
        near = did_you_mean(name, specs)
        raise ConfigError(f"{where}.parent={shown(text)} is not a model of the panel{near}; add it with [[models]]")
    if name == str(spec):
        raise ConfigError(f"{where}.parent={shown(text)} is the model itself; remove it")
    return specs[name]


def _check_ancestors(models: Sequence[PanelModel], where: str) -> None:
    parents = {one.spec: one.parent for one in models}
    for spec, parent in parents.items():
        seen, ancestor = {spec}, parent
        while ancestor is not None:
            if ancestor in seen:
                raise ConfigError(f"{where}: {ancestor.label!r} is an ancestor of itself; correct the parents")
            seen.add(ancestor)
            ancestor = parents[ancestor]


def _with_groups(models: Sequence[PanelModel]) -> list[PanelModel]:
    """Return the models with a group each: models that are related, or of one stated group, share the first one's.

    Related are a model and its parent, an interpolation and its two ends, and a model with an adapter and its base.
    """
    places = {str(one.spec): place for place, one in enumerate(models)}
    root = list(range(len(models)))

    def find(place: int) -> int:
        while root[place] != place:
            place = root[place]
        return place

    def join(one: int, other: int) -> None:
        low, high = sorted((find(one), find(other)))
        root[high] = low

    first_of: dict[str, int] = {}
    for place, one in enumerate(models):
        for name in _relatives(one):
            join(place, places.get(name, place))
        if one.group:
            join(place, first_of.setdefault(one.group, place))
    stated = {find(place): one.group for place, one in reversed([*enumerate(models)]) if one.group}
    names = [stated.get(find(place), models[find(place)].spec.label) for place in range(len(models))]
    return [replace(one, group=name) for one, name in zip(models, names, strict=True)]


def _relatives(model: PanelModel) -> list[str]:
    spec = model.spec
    base = [str(spec).partition("+adapter:")[0]] if spec.adapter else []
    return [str(one) for one in (*((model.parent,) if model.parent else ()), *spec.parts)] + base
