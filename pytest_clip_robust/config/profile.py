"""Profile: which data set has which role, with which prompts, thresholds and tolerances.

Read from TOML, completed by ``--clip-data``, checked once, frozen. Nothing heavy is imported here.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pytest_clip_robust.config.sections import (
    DEFAULT_NEGATIVES,
    AdversarialSettings,
    CorrespondenceSettings,
    CorruptionSettings,
    GateSettings,
    InvarianceSettings,
    MultimodalSettings,
    OodSettings,
    PromptSettings,
    TypographicSettings,
)
from pytest_clip_robust.config.shipped import shipped_profiles
from pytest_clip_robust.core.plain import NotNegative, part_of, read_section, read_value
from pytest_clip_robust.datasets.catalog import catalog
from pytest_clip_robust.datasets.checking import relative_to
from pytest_clip_robust.datasets.entry import DataEntry, entry_from_table, merge, parse_data_option
from pytest_clip_robust.errors import ConfigError, did_you_mean, shown
from pytest_clip_robust.gates.threshold import Threshold
from pytest_clip_robust.names import ROLES
from pytest_clip_robust.system.text import one_line

SECTIONS = (
    "name",
    "roles",
    "data",
    "prompts",
    "thresholds",
    "tolerances",
    "gates",
    "panels",
    "observers",
    "ood",
    "corruptions",
    "typographic",
    "invariance",
    "adversarial",
    "correspondence",
    "multimodal",
)
DEFAULT_PROMPTS = "simple-7"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The data sets that a run measures, and the thresholds that it requires.

    roles: role -> names of data sets, in the order written.
    data: name -> where the data set is stored and how to read it.
    prompts: the name of a prompt set, the path of a file of templates, or the templates themselves.
    compared_prompts: names of prompt sets, or paths of files, between which sensitivity to wording is measured.
    thresholds: ``metric``, ``metric[set]`` or ``metric[set/subset]`` -> the range that the value must be in.
    tolerances: the same keys -> the largest loss that does not count as a regression, in the units of the value.
    gates: which gates are headlines, and their share of alpha.
    panels: shift set -> CSV file of reference models, for effective robustness.
    observers: cue-conflict set -> tables of decisions (files or globs), for error consistency.
    negatives: the corpus that negative labels are chosen from: a name, or a file with one label per line.
    ood_scores: the scores that OOD detection is measured by; empty for all.
    corruptions: which kinds and severities, on how many images.
    typographic: on how many images wrong class names are painted.
    invariance: how many images are transformed, and how many combinations of transformations are tried.
    adversarial: how many images are attacked, with how many steps.
    correspondence: image size, number of pairs, and bins of view angles.
    multimodal: what large multimodal models are asked, about how many images.
    """

    name: str
    roles: Mapping[str, tuple[str, ...]]
    data: Mapping[str, DataEntry]
    prompts: str | tuple[str, ...] = DEFAULT_PROMPTS
    compared_prompts: tuple[str, ...] = ()
    thresholds: Mapping[str, Threshold] = field(default_factory=dict)
    tolerances: Mapping[str, float] = field(default_factory=dict)
    gates: GateSettings = field(default_factory=GateSettings)
    panels: Mapping[str, Path] = field(default_factory=dict)
    observers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    negatives: str = DEFAULT_NEGATIVES
    ood_scores: tuple[str, ...] = ()
    corruptions: CorruptionSettings = field(default_factory=CorruptionSettings)
    typographic: TypographicSettings = field(default_factory=TypographicSettings)
    invariance: InvarianceSettings = field(default_factory=InvarianceSettings)
    adversarial: AdversarialSettings = field(default_factory=AdversarialSettings)
    correspondence: CorrespondenceSettings = field(default_factory=CorrespondenceSettings)
    multimodal: MultimodalSettings = field(default_factory=MultimodalSettings)

    def sets(self, role: str) -> tuple[str, ...]:
        """Return the names of the data sets that have `role`.

        Raises:
            ConfigError: there is no such role.
        """
        if role not in ROLES:
            raise ConfigError(f"unknown role {role!r}{did_you_mean(role, ROLES)}; known: {', '.join(ROLES)}")
        return self.roles.get(role, ())


def load_profile(source: str | None, data_options: Iterable[str] = ()) -> Profile:
    """Read the profile `source` (a shipped name, a TOML file, None for an empty one) and apply ``--clip-data`` to it.

    A set that no role names takes the role in its own option (``?role=shift``), else the catalogue's, else ``id`` while
    that is free, else ``shift``.

    Raises:
        ConfigError: the file, an entry or an option is wrong; the message names it.
    """
    profile = Profile(name="none", roles={}, data={}) if source is None else _read_profile(_profile_path(source))
    for option in data_options:
        profile = _with_data(profile, parse_data_option(option))
    return profile


def profile_from_content(content: Mapping[str, Any], path: Path) -> Profile:
    """Return the profile that the TOML file `path` holds as `content`.

    Raises:
        ConfigError: a section or a value in it is wrong; the message names the file, the section and the key.
    """
    source = f"profile {path.name}"
    for section in content:
        if section not in SECTIONS:
            near = did_you_mean(section, SECTIONS) or f"; expected some of {', '.join(SECTIONS)}"
            raise ConfigError(f"{source}: unknown section {shown(section)}{near}")
    folder = path.parent

    def table(section: str, kind: Any = Any) -> Mapping[str, Any]:
        found = content.get(section, {})
        if not isinstance(found, Mapping):
            raise ConfigError(f"{source}: [{section}] is {shown(found)}; expected a table")
        return {key: read_value(kind, one, where=part_of(f"{source}: {section}", key)) for key, one in found.items()}

    roles = _read_roles(table("roles"), source)
    entries = {name: _read_entry(name, one, folder) for name, one in table("data").items()}
    named = {name: _known_entry(name, entries, source) for names in roles.values() for name in names}
    prompts = read_section(PromptSettings, table("prompts"), where=f"{source}: prompts")
    ood = read_section(OodSettings, table("ood"), where=f"{source}: ood")
    corruptions = read_section(CorruptionSettings, table("corruptions"), where=f"{source}: corruptions")
    return Profile(
        name=read_value(str, content.get("name", path.stem), where=f"{source}: name"),
        roles=roles,
        data=named | entries,
        prompts=_prompt_source(prompts, folder),
        compared_prompts=tuple(_resolve_file(one, folder) for one in prompts.compare),
        thresholds={
            key: read_section(Threshold, one, where=f"{source}: threshold {shown(key)}", source=source)
            for key, one in table("thresholds").items()
        },
        tolerances=table("tolerances", NotNegative),
        gates=read_section(GateSettings, table("gates"), where=f"{source}: gates"),
        panels=_read_panels(table("panels", str), path),
        observers={
            name: tuple(str(folder / place) for place in places)
            for name, places in table("observers", tuple[str, ...]).items()
        },
        negatives=_resolve_file(ood.negatives, folder),
        ood_scores=ood.scores,
        corruptions=replace(corruptions, depth=_resolve_folder(corruptions.depth, folder)),
        typographic=read_section(TypographicSettings, table("typographic"), where=f"{source}: typographic"),
        invariance=read_section(InvarianceSettings, table("invariance"), where=f"{source}: invariance"),
        adversarial=read_section(AdversarialSettings, table("adversarial"), where=f"{source}: adversarial"),
        correspondence=read_section(CorrespondenceSettings, table("correspondence"), where=f"{source}: correspondence"),
        multimodal=read_section(MultimodalSettings, table("multimodal"), where=f"{source}: multimodal"),
    )


def _profile_path(source: str) -> Path:
    shipped = shipped_profiles()
    if source in shipped:
        return shipped[source]
    path = Path(source)
    if path.is_file():
        return path
    known = ", ".join(shipped) or "none"
    raise ConfigError(f"no profile {shown(source)}{did_you_mean(source, shipped)}: give a TOML file or one of: {known}")


def _read_profile(path: Path) -> Profile:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ConfigError(f"profile {path}: its values are nested too deep") from None
    except (ValueError, OSError) as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise ConfigError(f"profile {path}: {one_line(error)}") from error
    return profile_from_content(content, path)


def _read_roles(table: Mapping[str, Any], source: str) -> dict[str, tuple[str, ...]]:
    roles: dict[str, tuple[str, ...]] = {}
    for role, names in table.items():
        if role not in ROLES:
            near = did_you_mean(role, ROLES)
            raise ConfigError(f"{source}: unknown role {shown(role)}{near}; known: {', '.join(ROLES)}")
        listed = read_value(tuple[str, ...], names, where=f"{source}: role {role}")
        roles[role] = tuple(dict.fromkeys(listed))
    if len(roles.get("id", ())) > 1:
        raise ConfigError(f"{source}: role id={shown([*roles['id']])}; a run has one in-distribution set")
    return roles


def _read_entry(name: str, table: object, folder: Path) -> DataEntry:
    if not isinstance(table, Mapping):
        raise ConfigError(f"data set {shown(name)} is {shown(table)}; expected a table")
    entry = entry_from_table(name, table)
    base = catalog().get(name)
    return relative_to(entry if base is None else merge(base, entry), folder)


def _resolve_file(name: str, folder: Path) -> str:
    """Return the file `name` within the profile's folder if there is one; `name` can also be a built-in name."""
    relative = folder / name
    return str(relative) if relative.is_file() else name


def _resolve_folder(name: str, folder: Path) -> str:
    """Return the folder `name` within the profile's folder if there is one; `name` can also be on the hub."""
    return str(folder / name) if name and (folder / name).is_dir() else name


def _prompt_source(prompts: PromptSettings, folder: Path) -> str | tuple[str, ...]:
    if prompts.templates is not None:
        return prompts.templates
    if prompts.file is not None:
        return str(folder / prompts.file)
    return DEFAULT_PROMPTS if prompts.set is None else prompts.set


def _known_entry(name: str, entries: Mapping[str, DataEntry], source: str) -> DataEntry:
    known = {**catalog(), **entries}
    if name not in known:
        raise ConfigError(
            f"{source}: no data set {shown(name)}{did_you_mean(name, known)}; add [data.NAME] with its location, or "
            "--clip-data NAME=LOCATION"
        )
    return known[name]


def _read_panels(table: Mapping[str, str], path: Path) -> dict[str, Path]:
    panels = {name: path.parent / file for name, file in table.items()}
    for name, panel in panels.items():
        if not panel.is_file():
            raise ConfigError(f"profile {path.name}: panel of {shown(name)}: no file {shown(str(panel))}")
    return panels


def _with_data(profile: Profile, given: DataEntry) -> Profile:
    base = profile.data.get(given.name) or catalog().get(given.name)
    entry = given if base is None else merge(base, given)
    roles = dict(profile.roles)
    placed = any(entry.name in names for names in roles.values())
    if given.role or not placed:
        role = entry.role or ("shift" if roles.get("id") else "id")
        roles[role] = (*roles.get(role, ()), entry.name)
    return replace(
        profile,
        roles=_read_roles({r: list(names) for r, names in roles.items()}, "--clip-data"),
        data={**profile.data, entry.name: entry},
    )
