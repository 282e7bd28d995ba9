"""Facts that a person states: in a panel file, in a model folder, or in an encoder's attribute `card`."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pytest_clip_robust.core.plain import read_section
from pytest_clip_robust.errors import ClipRobustError, ConfigError, ModelError, shown
from pytest_clip_robust.models.card.facts import Claim, ModelCard
from pytest_clip_robust.system.files import is_file, read_text
from pytest_clip_robust.system.text import one_line

FILE = "card.toml"
"""The name of a file in a model folder that states facts about the model."""


def read_facts(content: object, where: str, *, error: type[ClipRobustError] = ConfigError) -> dict[str, Any]:
    """Return the facts in a table, by their names in `ModelCard`.

    Args:
        content: a table of facts, such as ``{"data": "mine", "samples_seen": 34e9}``.
        where: names the table in messages.
        error: the class of error to raise.

    Raises:
        ClipRobustError: an unknown name, a value of the wrong type, a number below 1, or an empty text.

    >>> read_facts({"data": "mine", "samples_seen": 34e9}, "panel.toml")
    {'data': 'mine', 'samples_seen': 34000000000.0}
    >>> read_facts({"sampels_seen": 1}, "panel.toml")
    Traceback (most recent call last):
    pytest_clip_robust.errors.ConfigError: panel.toml: unknown key 'sampels_seen' (did you mean 'samples_seen'?); \
expected family, size, patch, layers, width, text_tower, context, embedding, image_parameters, text_parameters, \
parameters, resolution, data, pairs, samples_seen, loss, fine_tuning, fine_tuned_on, fine_tuning_details, licence
    """
    card = read_section(ModelCard, content, where=where, error=error, sources={}, remarks=())
    for name, value in card.facts.items():
        if isinstance(value, str) and (not value.strip() or not value.isprintable()):
            raise error(f"{where}.{name}={shown(value)}; expected a text of printable characters")
    return card.facts


def folder_claims(folder: Path, where: str) -> list[Claim]:
    """Return the claims of ``card.toml`` in a model folder, or an empty list without one.

    Raises:
        ModelError: it is not TOML, or states something that a card cannot have.
    """
    path = folder / FILE
    if not is_file(path):
        return []
    try:
        content = tomllib.loads(read_text(path, where, error=ModelError))
    except tomllib.TOMLDecodeError as cause:
        raise ModelError(f"{where}: {path}: {one_line(cause)}; expected TOML") from None
    return [Claim(source="stated", facts=read_facts(content, f"{where}: {path}", error=ModelError))]


def encoder_claims(encoder: object, where: str) -> list[Claim]:
    """Return the claims of an encoder's attribute `card`, a mapping of facts, or an empty list without one.

    Raises:
        ModelError: the attribute states something that a card cannot have.
    """
    stated = getattr(encoder, "card", None)
    if stated is None:
        return []
    return [Claim(source="stated", facts=read_facts(stated, f"{where}: card", error=ModelError))]
