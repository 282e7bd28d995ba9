"""``clip-robust cache``: what the cache holds, whether stored features are intact, and removal of old ones."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from pytest_clip_robust.config.run import user_cache
from pytest_clip_robust.core.byte_sizes import byte_size_in_words, parse_byte_size
from pytest_clip_robust.encoding.store.maintenance import Stored, damaged_shards, removable, remove, survey
from pytest_clip_robust.encoding.store.shard import DAMAGED
from pytest_clip_robust.errors import ConfigError
from pytest_clip_robust.report.terminal import draw
from pytest_clip_robust.system.progress import show_progress
from pytest_clip_robust.system.text import printable

FOUND_DAMAGE = 1
"""The exit status if a stored shard is damaged."""
SECONDS_PER_DAY = 86_400
DIGEST_SHOWN = 8
PARTS = {
    "features": "features",
    "pixels": "resized images",
    "data": "prepared data",
    "depth": "estimated depth",
    "models": "facts about models",
}

DESCRIPTION = """\
Shows and tidies the cache, in which runs keep features, resized images and prepared data. What is removed is
computed again when it is needed, so removing it costs time and nothing else.

  clip-robust cache size
  clip-robust cache verify
  clip-robust cache prune --older-than 90
  clip-robust cache prune --keep 20GiB --dry-run
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, text in (
        ("size", "print how much space everything takes"),
        ("verify", "check every stored feature against its digest, and set damaged shards aside"),
        ("prune", "remove features that were written long ago"),
    ):
        action = actions.add_parser(name, help=text, description=text, allow_abbrev=False)
        action.add_argument("--clip-cache", metavar="DIR", help="the cache (default: yours)")
        if name == "prune":
            action.add_argument("--older-than", type=float, metavar="DAYS", help="features that are older")
            action.add_argument("--keep", metavar="SIZE", help="the oldest, until the rest takes at most SIZE: 20GiB")
            action.add_argument("--dry-run", action="store_true", help="print what would be removed")


def run(options: argparse.Namespace, passed: Sequence[str]) -> int:  # noqa: ARG001 - there is no pytest to pass them to
    """Do what was asked for, print it, and return the exit status.

    Raises:
        ClipRobustError: the cache is not a local folder, or cannot be read or changed.
    """
    cache = _local(options.clip_cache)
    stored = survey(cache / "features")
    if options.action == "size":
        _print_sizes(cache, stored)
        return 0
    return _verify(stored) if options.action == "verify" else _prune(stored, options)


def _kept_bytes(text: str) -> int:
    size = parse_byte_size(text)
    if size is None:
        raise ConfigError(f"--keep {text!r}: expected a size such as 20GiB or 500MB")
    return size


def _local(given: str | None) -> Path:
    if given and "://" in given:
        raise ConfigError(f"--clip-cache {given}: only a local folder can be tidied; use the tools of the bucket")
    return Path(given).expanduser() if given else user_cache()


def _print_sizes(cache: Path, stored: Sequence[Stored]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column, right in (("features", False), ("weights", False), ("precision", False), ("rows", True), ("size", True),
                          ("last written", False)):  # fmt: skip
        table.add_column(column, justify="right" if right else "left", no_wrap=True)
    for one in sorted(stored, key=lambda one: -one.size):
        written = time.strftime("%Y-%m-%d", time.localtime(one.newest))
        leftovers = f", {one.leftovers} damaged or unfinished" if one.leftovers else ""
        cells = (one.kind, one.weights[:DIGEST_SHOWN], one.precision, f"{one.rows:,}", byte_size_in_words(one.size))
        table.add_row(*(Text(printable(cell)) for cell in cells), Text(f"{written}{leftovers}"))
    sizes = {words: _size_of(cache / name) for name, words in PARTS.items()}
    parts = ", ".join(f"{words} {byte_size_in_words(size)}" for words, size in sizes.items() if size)
    whole = f"{printable(str(cache))}: {byte_size_in_words(sum(sizes.values()))}{f' ({parts})' if parts else ''}"
    sys.stdout.write(draw([*([table] if stored else []), Text(whole)], width=0, colour=False))


def _size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0


def _verify(stored: Sequence[Stored]) -> int:
    size = sum(one.size for one in stored)
    with show_progress("bytes", "the feature store", size, notice=lambda _: None) as advance:
        damaged = damaged_shards(stored, advance=advance)
    for path in damaged:
        path.rename(path.with_name(f"{path.name}{DAMAGED}"))
        _say(f"{printable(str(path))} is damaged, and was set aside; its rows will be encoded again")
    shards = sum(one.shards for one in stored)
    _say(f"{shards - len(damaged):,} of {shards:,} shards are intact ({byte_size_in_words(size)} read)")
    return FOUND_DAMAGE if damaged else 0


def _prune(stored: Sequence[Stored], options: argparse.Namespace) -> int:
    if options.older_than is None and options.keep is None:
        raise ConfigError("prune needs --older-than DAYS, --keep SIZE, or both")
    if options.older_than is not None and not options.older_than >= 0:
        raise ConfigError(f"--older-than {options.older_than}: expected a number of days, 0 or more")
    chosen = removable(
        stored,
        before=None if options.older_than is None else time.time() - options.older_than * SECONDS_PER_DAY,
        most=None if options.keep is None else _kept_bytes(options.keep),
    )
    for one in chosen:
        if not options.dry_run:
            remove(one.folder)
    rows, size = sum(one.rows for one in chosen), byte_size_in_words(sum(one.size for one in chosen))
    left = byte_size_in_words(sum(one.size for one in stored) - sum(one.size for one in chosen))
    _say(f"{'would remove' if options.dry_run else 'removed'} {rows:,} rows, {size}; {left} of features stay")
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
