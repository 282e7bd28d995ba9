"""``clip-robust features export``: a model's stored features as a folder that takes the model's place."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from pytest_clip_robust.config.run import user_cache
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.names import PRECISIONS

DESCRIPTION = """\
Writes the features that earlier runs stored for a model to a new folder, a feature pack. The folder takes the model's
place as features:FOLDER: the same profile gives the same numbers, without weights and without a GPU.

  pytest suites --model ViT-B-32@runs/epoch_3.pt --clip-profile release.toml
  clip-robust features export --model ViT-B-32@runs/epoch_3.pt packs/epoch_3
  pytest suites --model features:packs/epoch_3 --clip-profile release.toml
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    export = actions.add_parser(
        "export", help="write a model's features to a folder", description=DESCRIPTION, allow_abbrev=False
    )
    export.formatter_class = argparse.RawDescriptionHelpFormatter
    export.add_argument("--model", required=True, metavar="SPEC", help="the model")
    export.add_argument("folder", type=Path, metavar="FOLDER", help="a new folder")
    export.add_argument("--clip-cache", metavar="DIR", help="the cache of the earlier runs (default: yours)")
    export.add_argument("--clip-precision", choices=PRECISIONS, default="fp32", help="of the earlier runs")


def run(options: argparse.Namespace, passed: Sequence[str]) -> int:  # noqa: ARG001 - there is no pytest to pass them to
    """Export the features and print what the folder holds.

    Raises:
        ClipRobustError: the model cannot be loaded, has no stored features, or the folder cannot be written.
    """
    from pytest_clip_robust.encoding.store.features import FeatureStore  # noqa: PLC0415 - these take seconds
    from pytest_clip_robust.encoding.store.packs import export_pack  # noqa: PLC0415 - as above
    from pytest_clip_robust.models.loading import load_model  # noqa: PLC0415 - as above

    cache = options.clip_cache or str(user_cache())
    model = load_model(ModelSpec.parse(options.model), device="cpu", precision=options.clip_precision)
    manifest = export_pack(FeatureStore(f"{cache.rstrip('/')}/features"), model, options.folder)
    rows = ", ".join(f"{count:,} {kind}" for kind, count in manifest["rows"].items())
    print(f"{options.folder}: {rows}; use it as --model features:{options.folder}")  # noqa: T201 - the command's output
    return 0
