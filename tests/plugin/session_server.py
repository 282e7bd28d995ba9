"""Forks runs of pytest that are real processes, from one that has imported what is heavy: each costs a fraction of it.

Reads orders, a JSON line each, and answers each with a number: {"args", "folder", "environment", "output"} starts a run
and gives its process id; {"wait"} waits for a process and gives its status, below 0 for a signal.
"""

from __future__ import annotations

import json
import os
import sys

import datasets  # noqa: F401
import pytest
import syrupy  # noqa: F401

import pytest_clip_robust.evaluation.model
import pytest_clip_robust.plugin.collector
import pytest_clip_robust.plugin.fixtures
import pytest_clip_robust.plugin.item_hooks
import pytest_clip_robust.plugin.parametrize
import pytest_clip_robust.plugin.rank_report  # noqa: F401
from pytest_clip_robust.properties import accuracy, shift  # noqa: F401


def main() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            _, status = os.waitpid(order["wait"], 0)
            answer(os.waitstatus_to_exitcode(status))
            continue
        process = os.fork()
        if not process:
            run(order)
        answer(process)


def answer(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def run(order: dict) -> None:
    """Become that run of pytest."""
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.path.insert(0, order["folder"])
    output = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    code = 1
    try:
        code = int(pytest.main(order["args"]))
    finally:
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
