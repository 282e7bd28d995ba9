"""Console command ``clip-robust``: one module per sub-command, imported only when that sub-command is asked for."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple

from pytest_clip_robust.errors import ClipRobustError

FAILED = 2
"""The exit status of a command that could not do its work; argparse has the same for wrong arguments."""


class Command(NamedTuple):
    """A sub-command: its module, with functions `add_arguments` and `run`, and its line in ``clip-robust --help``."""

    module: str
    summary: str


COMMANDS = {
    "cache": Command("pytest_clip_robust.cli.cache", "show, verify or prune stored features"),
    "comment": Command(
        "pytest_clip_robust.cli.comment",
        "write the summary of a run as the one comment on a pull request, if something changed",
    ),
    "compare": Command("pytest_clip_robust.cli.compare", "print what changed between two runs"),
    "features": Command(
        "pytest_clip_robust.cli.features",
        "export a model's stored features as a folder that takes the model's place",
    ),
    "series": Command(
        "pytest_clip_robust.cli.series",
        "find the first checkpoint of a training run at which a headline property broke",
    ),
    "show": Command("pytest_clip_robust.cli.show", "print the tables of a saved run, or write its page"),
    "tolerances": Command(
        "pytest_clip_robust.cli.tolerances",
        "measure how much equally good checkpoints differ, and write tolerances to a profile",
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``clip-robust`` and return its exit status; what follows ``--`` is passed on to pytest.

    arguments: without the program's name; by default those of the process.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    split = given.index("--") if "--" in given else len(given)
    own, passed = given[:split], given[split + 1 :]
    parser = argparse.ArgumentParser(
        prog="clip-robust", description="Tools for the gates of pytest-clip-robust.", allow_abbrev=False
    )
    choices = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, summary) in COMMANDS.items():
        chosen = choices.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        if own[:1] == [name]:
            import_module(module).add_arguments(chosen)
    options = parser.parse_args(own)
    try:
        status = int(import_module(COMMANDS[options.command].module).run(options, passed))
        sys.stdout.flush()
    except ClipRobustError as error:
        sys.stderr.write(f"clip-robust {options.command}: error: {error}\n")
        return FAILED
    except BrokenPipeError:  # the reader, such as `head`, has enough; Python would complain when it flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return status
