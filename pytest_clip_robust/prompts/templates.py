"""Prompt sets: named lists of templates, with an identity that is stored beside every number they led to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_clip_robust.errors import ConfigError, did_you_mean

PLACE = "{}"
BASIC_3 = (PLACE, "a photo of a {}.", "a picture of the {}.")
SHOWROOM = (
    "a photo of a {}.",
    "a picture of the {}.",
    "a rendering of a {}.",
    "a {} in a room.",
    "a {} on a plain floor.",
)
BUILT_IN = ("name", "photo", "basic-3", "simple-7", "openai-80", "showroom")
COMMENT = "#"


@dataclass(frozen=True, slots=True)
class PromptSet:
    """Templates with one ``{}`` each, where the class name goes.

    Raises:
        ConfigError: there is no template, or one has not exactly one ``{}``.
    """

    name: str
    templates: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.templates:
            raise ConfigError(
                f"prompt set {self.name!r} has no templates; give at least one, such as 'a photo of a {{}}.'"
            )
        for template in self.templates:
            if template.count(PLACE) != 1:
                raise ConfigError(
                    f"prompt set {self.name!r}: template {template!r} has {template.count(PLACE)} places for the class "
                    "name; expected one {}"
                )

    @property
    def digest(self) -> str:
        """The SHA-256 of the templates in their order; the name does not count."""
        return hashlib.sha256(json.dumps(self.templates).encode()).hexdigest()

    def texts(self, class_names: Sequence[str]) -> list[str]:
        """Fill every template with every name, class by class.

        >>> PromptSet("two", ("{}", "a {}.")).texts(["cat", "dog"])
        ['cat', 'a cat.', 'dog', 'a dog.']
        """
        return [template.replace(PLACE, name) for name in class_names for template in self.templates]


def prompt_set(source: str | tuple[str, ...]) -> PromptSet:
    """Return a built-in prompt set by name, one from a text file, or one made of the templates given.

    A file has one template a line; empty lines and lines that start with ``#`` are skipped.

    Raises:
        ConfigError: there is no such set or file, or a template is wrong.
    """
    if isinstance(source, tuple):
        return PromptSet("custom", source)
    if source in BUILT_IN:
        return PromptSet(source, _built_in(source))
    path = Path(source)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise ConfigError(
            f"no prompt set {source!r}{did_you_mean(source, BUILT_IN)}; give a file or one of: {', '.join(BUILT_IN)}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"prompt file {source!r} cannot be read: {error}") from error
    return PromptSet(path.stem, tuple(line.strip() for line in lines if line.strip() and not line.startswith(COMMENT)))


def _built_in(name: str) -> tuple[str, ...]:
    if name in {"simple-7", "openai-80"}:
        import open_clip  # noqa: PLC0415 - it brings torch along

        published: Sequence[Callable[[str], str]] = (
            open_clip.SIMPLE_IMAGENET_TEMPLATES if name == "simple-7" else open_clip.OPENAI_IMAGENET_TEMPLATES
        )
        return tuple(template(PLACE) for template in published)
    return {"name": BASIC_3[:1], "photo": BASIC_3[1:2], "basic-3": BASIC_3, "showroom": SHOWROOM}[name]
