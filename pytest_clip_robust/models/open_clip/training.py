"""Options of an open_clip training run, read from the ``params.txt`` that it writes next to its checkpoints."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.system.files import is_file
from pytest_clip_robust.system.text import printable

FILE = "params.txt"
CHECKPOINTS = "checkpoints"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRun:
    """The options of a run that decide how its model was built and how its images were preprocessed.

    model, pretrained: the architecture, and the tag or file that the run started from; ``""`` without a params.txt.
    quick_gelu: whether ``--force-quick-gelu`` was set; False does not mean GELU.
    forced: arguments of `open_clip.create_model` that the run set, such as ``force_image_size``.
    sigmoid: whether the run trained with the sigmoid loss of SigLIP.
    preprocess: mean, std, interpolation and resize mode that the run set.
    """

    model: str = ""
    pretrained: str = ""
    quick_gelu: bool = False
    sigmoid: bool = False
    forced: Mapping[str, Any] = field(default_factory=dict)
    preprocess: Mapping[str, Any] = field(default_factory=dict)

    @property
    def known(self) -> bool:
        """Whether the run's options were found."""
        return bool(self.model)


def training_run(checkpoint: Path, where: str) -> TrainingRun:
    """Read ``RUN/params.txt`` for ``RUN/checkpoints/*.pt``; without one, nothing is known of the run.

    A link to such a checkpoint counts as the checkpoint itself.

    Raises:
        ModelError: an option has a value that open_clip cannot have written.
    """
    path = params_file(checkpoint)
    return TrainingRun() if path is None else _read(path, where)


def run_options(checkpoint: Path) -> dict[str, str]:
    """Return all options in ``RUN/params.txt`` of a checkpoint as text, or an empty dict without such a file."""
    path = params_file(checkpoint)
    return {} if path is None else _options(path)


def params_file(checkpoint: Path) -> Path | None:
    """Return the file with the options of a checkpoint's run, or None."""
    for file in (checkpoint.absolute(), Path(os.path.realpath(checkpoint))):
        path = file.parent.parent / FILE
        if file.parent.name == CHECKPOINTS and is_file(path):
            return path
    return None


def _options(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return {key: value for key, colon, value in (line.partition(": ") for line in lines) if colon}


def _read(path: Path, where: str) -> TrainingRun:
    options = _options(path)

    def option(name: str, expected: str, is_valid: Callable[[Any], bool]) -> Any:
        value = _literal(options.get(name, "None"))
        if value is not None and not is_valid(value):
            raise ModelError(f"{where}: {path} has {name}={options[name]!r}; expected {expected}")
        return value

    def flag(name: str) -> bool:
        return bool(option(name, "True or False", lambda value: isinstance(value, bool)))

    size = option("force_image_size", "one or two whole numbers", _is_size)
    forced = {
        "force_image_size": size[0] if isinstance(size, list | tuple) and len(size) == 1 else size,
        "force_context_length": option("force_context_length", "a whole number", _is_count),
        "force_custom_text": flag("force_custom_text") or None,
    }
    preprocess = {
        "mean": option("image_mean", "one or three numbers", _is_channels),
        "std": option("image_std", "one or three numbers", _is_channels),
        "interpolation": option("image_interpolation", "a word", _is_word),
        "resize_mode": option("image_resize_mode", "a word", _is_word),
    }
    return TrainingRun(
        model=printable(options.get("model", "")),
        pretrained=options.get("pretrained", ""),
        quick_gelu=flag("force_quick_gelu"),
        sigmoid=flag("siglip"),
        forced={name: value for name, value in forced.items() if value is not None},
        preprocess={name: value for name, value in preprocess.items() if value is not None},
    )


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _is_count(value: Any) -> bool:
    return type(value) is int and value > 0


def _is_size(value: Any) -> bool:
    return _is_count(value) or (isinstance(value, list | tuple) and len(value) in {1, 2} and all(map(_is_count, value)))


def _is_channels(value: Any) -> bool:
    numbers = value if isinstance(value, list | tuple) else ()
    return len(numbers) in {1, 3} and all(isinstance(number, int | float) for number in numbers)


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"\w+", value) is not None
