"""Prompt sets: named lists of templates, with a digest that is stored with every result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pytest_clip_robust.core.digest import digest
from pytest_clip_robust.errors import ConfigError, did_you_mean
from pytest_clip_robust.prompts.lines import read_lines
from pytest_clip_robust.system.files import exists, user_path
from pytest_clip_robust.system.modules import module_alone

PLACE = "{}"
"""What a template has where the class name goes."""
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
    """Templates with exactly one ``{}`` each, which is replaced by the class name.

    Raises:
        ConfigError: the list is empty, or a template does not have exactly one ``{}``.
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
        """The SHA-256 of the templates in their order; the name does not matter."""
        return digest(self.templates)

    def texts(self, class_names: Sequence[str]) -> list[str]:
        """Return every template filled with every name, class by class.

        >>> PromptSet("two", ("{}", "a {}.")).texts(["cat", "dog"])
        ['cat', 'a cat.', 'dog', 'a dog.']
        """
        return [template.replace(PLACE, name) for name in class_names for template in self.templates]


def prompt_set(source: str | tuple[str, ...]) -> PromptSet:
    """Return a built-in prompt set by name, one from a text file, or one made of the given templates.

    A file has one template per line; empty lines and lines that start with ``#`` are skipped.

    Raises:
        ConfigError: no such set or file exists, the file cannot be read, or a template is wrong.
    """
    if isinstance(source, tuple):
        return PromptSet("custom", source)
    if source in BUILT_IN:
        return PromptSet(source, _built_in(source))
    path = user_path(source)
    if not exists(path):
        raise ConfigError(
            f"no prompt set {source!r}{did_you_mean(source, BUILT_IN)}; give a file or one of: {', '.join(BUILT_IN)}"
        )
    lines = read_lines(path, f"prompt set {source!r}")
    return PromptSet(path.stem, tuple(line for line in lines if not line.startswith(COMMENT)))


def _built_in(name: str) -> tuple[str, ...]:
    if name in {"simple-7", "openai-80"}:
        lists = module_alone("open_clip", "zero_shot_metadata")
        published: Sequence[Callable[[str], str]] = (
            lists.SIMPLE_IMAGENET_TEMPLATES if name == "simple-7" else lists.OPENAI_IMAGENET_TEMPLATES
        )
        return tuple(template(PLACE) for template in published)
    return {"name": BASIC_3[:1], "photo": BASIC_3[1:2], "basic-3": BASIC_3, "showroom": SHOWROOM}[name]
