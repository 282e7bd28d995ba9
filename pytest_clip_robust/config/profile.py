"""A profile: which data set plays which role, with which prompts, against which thresholds.

Read from TOML, completed by ``--clip-data``, checked once, frozen. Nothing heavy is imported here.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pytest_clip_robust.config.sections import (
    CorrespondenceSettings,
    CorruptionSettings,
    read_correspondence_plan,
    read_plan,
)
from pytest_clip_robust.datasets.catalog import catalog
from pytest_clip_robust.datasets.entry import DataEntry, entry_from_table, merge, parse_data_option
from pytest_clip_robust.errors import ConfigError, did_you_mean
from pytest_clip_robust.gates.threshold import Threshold, threshold_from_table
from pytest_clip_robust.gates.tolerance import tolerance_from_value
from pytest_clip_robust.names import OOD_SCORES, ROLES

SECTIONS = (
    "name",
    "roles",
    "data",
    "prompts",
    "thresholds",
    "tolerances",
    "panels",
    "observers",
    "ood",
    "corruptions",
    "correspondence",
)
DEFAULT_PROMPTS = "simple-7"
DEFAULT_NEGATIVES = "imagenet-22k/10"
OOD_KEYS = ("negatives", "scores")
PROMPT_SOURCES = ("set", "file", "templates")


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a run measures and demands.

    roles: role -> names of sets, in the order written.
    data: name -> where the set lies and how to read it.
    prompts: the name of a prompt set, the path of a file of templates, or the templates themselves.
    compared_prompts: names of prompt sets, or paths of files, between which sensitivity to wording is measured.
    thresholds: ``metric``, ``metric[set]`` or ``metric[set/subset]`` -> demand.
    tolerances: the same keys -> how much worse than before a value may get, in its own units.
    panels: shift set -> CSV file of reference models, for effective robustness.
    observers: cue-conflict set -> tables of decisions (files or globs), for error consistency.
    negatives: the corpus that negative labels are chosen from: a name, or a file with one label a line.
    ood_scores: the scores that OOD detection is measured by; all, where none is named.
    corruptions: which kinds and severities, on how many images.
    correspondence: how large pictures are, how many pairs, which bins of view angles.
    """

    name: str
    roles: Mapping[str, tuple[str, ...]]
    data: Mapping[str, DataEntry]
    prompts: str | tuple[str, ...] = DEFAULT_PROMPTS
    compared_prompts: tuple[str, ...] = ()
    thresholds: Mapping[str, Threshold] = field(default_factory=dict)
    tolerances: Mapping[str, float] = field(default_factory=dict)
    panels: Mapping[str, Path] = field(default_factory=dict)
    observers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    negatives: str = DEFAULT_NEGATIVES
    ood_scores: tuple[str, ...] = ()
    corruptions: CorruptionSettings = field(default_factory=CorruptionSettings)
    correspondence: CorrespondenceSettings = field(default_factory=CorrespondenceSettings)

    def sets(self, role: str) -> tuple[str, ...]:
        """Name the sets that play `role`.

        Raises:
            ConfigError: there is no such role.
        """
        if role not in ROLES:
            raise ConfigError(f"unknown role {role!r}{did_you_mean(role, ROLES)}; known: {', '.join(ROLES)}")
        return self.roles.get(role, ())


def load_profile(source: str | None, data_options: Iterable[str] = ()) -> Profile:
    """Read the profile `source` (a shipped name, a TOML file, or None for none) and apply ``--clip-data`` to it.

    A set that no role names takes the role in its own option (``?role=shift``), else the catalogue's, else ``id`` while
    that is free, else ``shift``.

    Raises:
        ConfigError: the file, an entry or an option is wrong; the message names it.
    """
    profile = Profile(name="none", roles={}, data={}) if source is None else _read_profile(_profile_path(source))
    for option in data_options:
        profile = _with_data(profile, parse_data_option(option))
    return profile


def shipped_profiles() -> dict[str, Path]:
    """Find the profiles that come with the suites, by name."""
    here = Path(__file__).parent.parent
    installed, checkout = here / "suites", here.parent / "suites"
    folder = (installed if installed.is_dir() else checkout) / "profiles"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def _profile_path(source: str) -> Path:
    shipped = shipped_profiles()
    if source in shipped:
        return shipped[source]
    path = Path(source)
    if path.is_file():
        return path
    known = ", ".join(shipped) or "none"
    raise ConfigError(f"no profile {source!r}{did_you_mean(source, shipped)}: give a TOML file or one of: {known}")


def _read_profile(path: Path) -> Profile:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"profile {path}: {error}") from error
    for section in content:
        if section not in SECTIONS:
            raise ConfigError(f"profile {path}: unknown section {section!r}{did_you_mean(section, SECTIONS)}")
    source = f"profile {path.name}"
    roles = _read_roles(_table(content, "roles", source), source)
    entries = {name: _read_entry(name, table, path.parent) for name, table in _table(content, "data", source).items()}
    named = {name: _known_entry(name, entries, source) for names in roles.values() for name in names}
    return Profile(
        name=str(content.get("name", path.stem)),
        roles=roles,
        data=named | entries,
        prompts=_read_prompts(_table(content, "prompts", source), path),
        compared_prompts=tuple(
            _beside(one, path) for one in _strings(_table(content, "prompts", source), "compare", f"{source}: prompts")
        ),
        thresholds={
            key: threshold_from_table(table, key=key, source=source)
            for key, table in _table(content, "thresholds", source).items()
        },
        tolerances={
            key: tolerance_from_value(value, key=key, source=source)
            for key, value in _table(content, "tolerances", source).items()
        },
        panels=_read_panels(_table(content, "panels", source), path),
        observers={
            name: tuple(str(path.parent / place) for place in _strings(table, name, f"{source}: observers"))
            for table in [_table(content, "observers", source)]
            for name in table
        },
        **_read_ood(_table(content, "ood", source), path),
        corruptions=_read_corruptions(_table(content, "corruptions", source), path),
        correspondence=read_correspondence_plan(_table(content, "correspondence", source), source=source),
    )


def _table(content: Mapping[str, Any], section: str, source: str) -> Mapping[str, Any]:
    table = content.get(section, {})
    if not isinstance(table, Mapping):
        raise ConfigError(f"{source}: [{section}] is {table!r}; expected a table")
    return table


def _read_roles(table: Mapping[str, Any], source: str) -> dict[str, tuple[str, ...]]:
    roles: dict[str, tuple[str, ...]] = {}
    for role, names in table.items():
        if role not in ROLES:
            raise ConfigError(f"{source}: unknown role {role!r}{did_you_mean(role, ROLES)}; known: {', '.join(ROLES)}")
        listed = [names] if isinstance(names, str) else names
        if not isinstance(listed, list) or not all(isinstance(name, str) and name for name in listed):
            raise ConfigError(f"{source}: role {role}={names!r}; expected the name of a set, or a list of names")
        roles[role] = tuple(dict.fromkeys(listed))
    if len(roles.get("id", ())) > 1:
        raise ConfigError(f"{source}: role id={list(roles['id'])}; a run has one in-distribution set")
    return roles


def _read_entry(name: str, table: object, folder: Path) -> DataEntry:
    if not isinstance(table, Mapping):
        raise ConfigError(f"[data.{name}] is {table!r}; expected a table")
    entry = entry_from_table(name, table)
    base = catalog().get(name)
    entry = entry if base is None else merge(base, entry)
    entry = replace(entry, location=_there(entry.location, folder), depth=_there(entry.depth, folder))
    listing = folder / entry.table
    if entry.table and listing.exists() and not (Path(entry.location) / entry.table).exists():
        entry = replace(entry, table=str(listing.absolute()))
    return entry


def _there(place: str, folder: Path) -> str:
    """Return a path relative to the profile as one that is not, if something is there."""
    beside = folder / place
    return str(beside) if place and beside.exists() else place


def _known_entry(name: str, entries: Mapping[str, DataEntry], source: str) -> DataEntry:
    known = {**catalog(), **entries}
    if name not in known:
        raise ConfigError(
            f"{source}: no data set {name!r}{did_you_mean(name, known)}; add [data.{name}] with a location, "
            f"or --clip-data {name}=LOCATION"
        )
    return known[name]


def _read_prompts(table: Mapping[str, Any], path: Path) -> str | tuple[str, ...]:
    sources = {kind: value for kind, value in table.items() if kind != "compare"}
    if not sources:
        return DEFAULT_PROMPTS
    if len(sources) != 1 or next(iter(sources)) not in PROMPT_SOURCES:
        expected = f"give one of: {', '.join(PROMPT_SOURCES)}; and compare"
        raise ConfigError(f"profile {path.name}: [prompts] has {list(table)}; {expected}")
    kind, value = next(iter(sources.items()))
    if kind == "templates":
        if not isinstance(value, list) or not all(isinstance(template, str) for template in value):
            raise ConfigError(f"profile {path.name}: prompts.templates={value!r}; expected a list of strings")
        return tuple(value)
    if not isinstance(value, str):
        raise ConfigError(f"profile {path.name}: prompts.{kind}={value!r}; expected a string")
    return str(path.parent / value) if kind == "file" else value


def _strings(table: Mapping[str, Any], key: str, where: str) -> list[str]:
    value = table.get(key, [])
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(one, str) and one for one in listed):
        raise ConfigError(f"{where}.{key}={value!r}; expected a string, or a list of strings")
    return listed


def _beside(source: str, path: Path) -> str:
    """Return the file `source` beside the profile, if there is one, else the name as it is."""
    beside = path.parent / source
    return str(beside) if beside.is_file() else source


def _read_ood(table: Mapping[str, Any], path: Path) -> dict[str, Any]:
    for key in table:
        if key not in OOD_KEYS:
            raise ConfigError(f"profile {path.name}: [ood] has {key!r}{did_you_mean(key, OOD_KEYS)}")
    value = table.get("negatives", DEFAULT_NEGATIVES)
    if not isinstance(value, str):
        raise ConfigError(f"profile {path.name}: ood.negatives={value!r}; expected a corpus or a file")
    scores = tuple(_strings(table, "scores", f"profile {path.name}: ood"))
    for name in scores:
        if name not in OOD_SCORES:
            raise ConfigError(
                f"profile {path.name}: ood.scores has {name!r}{did_you_mean(name, OOD_SCORES)}; "
                f"known: {', '.join(OOD_SCORES)}"
            )
    return {"negatives": _beside(value, path), "ood_scores": scores}


def _read_corruptions(table: Mapping[str, Any], path: Path) -> CorruptionSettings:
    plan = read_plan(table, source=f"profile {path.name}")
    beside = path.parent / plan.depth
    return replace(plan, depth=str(beside)) if plan.depth and beside.is_dir() else plan


def _read_panels(table: Mapping[str, Any], path: Path) -> dict[str, Path]:
    panels = {}
    for name, file in table.items():
        panel = path.parent / str(file)
        if not panel.is_file():
            raise ConfigError(f"profile {path.name}: panel of {name!r}: no file {panel}")
        panels[name] = panel
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
