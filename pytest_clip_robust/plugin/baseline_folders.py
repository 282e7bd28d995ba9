"""Folders of baselines: which one belongs to a model, whether it exists, and what to do if it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_clip_robust.config.run import RunConfig
from pytest_clip_robust.errors import ConfigError, did_you_mean
from pytest_clip_robust.gates.baseline_files import families
from pytest_clip_robust.models.spec import ModelSpec

FAMILIES_SHOWN = 5


def is_recording(config: pytest.Config) -> bool:
    """Return whether syrupy is asked to record baselines, all or only new ones."""
    return any(config.getoption(flag, default=False) for flag in ("update_snapshots", "update_new_snapshots_only"))


def baseline_folder(run: RunConfig, spec: ModelSpec | None) -> Path | None:
    """Return the folder of a model's baselines, named by its family and not by its checkpoint, or None."""
    name = run.baseline_name or ("" if spec is None else spec.family)
    return run.baselines / name if name else None


def how_to_compare(run: RunConfig, spec: ModelSpec | None) -> str:
    """Return what to do about a gate of the model `spec` that has no baseline.

    A baseline is only worth something if it comes from a model that is trusted, so a fine-tune or a user's model is
    never advised to record its own.
    """
    folder, existing = baseline_folder(run, spec), families(run.baselines)
    if folder is not None and folder.name in existing:
        return (
            "record the missing ones with --snapshot-update-new-only and the model that the other baselines in "
            f"{folder.name} come from"
        )
    if existing:
        names = ", ".join(existing[:FAMILIES_SHOWN]) + (", ..." if len(existing) > FAMILIES_SHOWN else "")
        name = existing[0] if len(existing) == 1 else "NAME"
        return (
            f"baselines exist for {names}: compare with --clip-baseline-name={name}, or with another model in the same "
            "run with --clip-reference=SPEC; record new ones with --snapshot-update only for a trusted model"
        )
    if spec is not None and not spec.is_published:
        return (
            "compare with its parent model with --clip-reference=SPEC; record baselines with --snapshot-update only "
            "for a trusted model"
        )
    return "record one with --snapshot-update"


def check_baselines(config: pytest.Config, run: RunConfig) -> None:
    """Check that baselines can be recorded, if syrupy is asked to, or else that those named by an option exist.

    Raises:
        ConfigError: two models would write the same folder, a model has none, the process only encodes its share, or
            baselines that are named do not exist.
    """
    if is_recording(config):
        _check_recording(run)
    elif run.reference is None and run.rank is None:
        _check_existing(run, named=config.getoption("clip_baselines") is not None)


def _check_existing(run: RunConfig, *, named: bool) -> None:
    if named and not run.baselines.is_dir():
        raise ConfigError(
            f"--clip-baselines {run.baselines}: no such directory; to record baselines there, add --snapshot-update"
        )
    known = families(run.baselines)
    if run.baseline_name and known and run.baseline_name not in known:
        raise ConfigError(
            f"--clip-baseline-name {run.baseline_name!r}: no such baselines in {run.baselines}"
            f"{did_you_mean(run.baseline_name, known)}; known: {', '.join(known)}; to record new ones, add "
            "--snapshot-update"
        )


def _check_recording(run: RunConfig) -> None:
    if run.rank is not None:
        raise ConfigError(
            f"--snapshot-update: {run.rank} only encodes and measures nothing; record without RANK and WORLD_SIZE"
        )
    owners: dict[Path, str] = {}
    for spec in run.models:
        folder = baseline_folder(run, spec)
        if folder is None:
            raise ConfigError(
                f"--snapshot-update: {spec.label} does not name its architecture; name the folder of its baselines "
                "with --clip-baseline-name=NAME"
            )
        if folder in owners:
            raise ConfigError(
                f"--snapshot-update: {owners[folder]} and {spec.label} would both be recorded in {folder.name!r}; "
                "record one model at a time"
            )
        owners[folder] = spec.label
