"""Folders that trainers write and that hold no model by themselves: what to write instead of such a folder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from pytest_clip_robust.system.files import is_file, is_folder
from pytest_clip_robust.system.text import printable

STEPS = re.compile(r"(?:checkpoint|epoch)[-_](\d+)(?:\.pt)?")
"""How transformers' Trainer names the folders of its checkpoints, and open_clip's training its files."""
ADAPTER = "adapter_config.json"
MOST = 1000
"""How many entries of a folder are looked at."""


def advice(folder: Path) -> str:
    """Return what is in a folder of a trainer and what to write instead, or ``""`` for other folders.

    Known are adapters of PEFT, sharded checkpoints of torch.distributed (FSDP) and DeepSpeed, the output folder of
    transformers' Trainer with its checkpoints, and a run of open_clip's training.
    """
    shown = printable(str(folder))
    if is_file(folder / ADAPTER):
        return f"holds an adapter without its base model: write BASE+adapter:{shown}"
    inner = [folder, *(one for one in _entries(folder) if is_folder(one))]
    if parts := [one for one in inner if is_file(one / ".metadata") and any(one.glob("*.distcp"))]:
        return (
            "holds a sharded checkpoint of torch.distributed (FSDP): join it with python -m "
            f"torch.distributed.checkpoint.format_utils dcp_to_torch {printable(str(parts[0]))} model.pt"
        )
    if is_file(folder / "zero_to_fp32.py") or any(next(one.glob("*_optim_states.pt"), None) for one in inner):
        return (
            "holds a sharded checkpoint of DeepSpeed: join it with the zero_to_fp32.py that DeepSpeed wrote next to it"
        )
    if newest := _newest(inner[1:]):
        return f"has no model, but checkpoints in it, the newest of which is {newest.name}: write {shown}/{newest.name}"
    if newest := _newest(_entries(folder / "checkpoints")):
        return f"is a run of open_clip's training: write ARCHITECTURE@{shown}/checkpoints/{newest.name}"
    return ""


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(islice(folder.iterdir(), MOST)) if is_folder(folder) else []
    except OSError:  # it may not be read
        return []


def _newest(paths: Iterable[Path]) -> Path | None:
    """Return the checkpoint with the largest number of steps or epochs, if there are any."""
    return max(_numbered(paths), default=(0, None))[1]


def _numbered(paths: Iterable[Path]) -> Iterator[tuple[int, Path]]:
    for path in paths:
        if found := STEPS.fullmatch(path.name):
            yield int(found[1]), path
