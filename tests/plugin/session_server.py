"""Forks processes that are real, from one that has imported what is heavy: each costs a fraction of it.

An order comes over a connection of the socket named on the command line: one line of JSON and three open files, which
become the standard input, output and error of the process. ``{"args", "folder", "environment"}`` is a run of pytest
whose workers are started by ``"executable"``, if given; with ``"python"`` in place of ``"args"`` the process runs that
program, as ``python -c`` would. The answers are two lines: the id of the process, and, when it ended, its status, below
0 for a signal. The server ends with its own standard input.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import socket
import sys
import traceback

import _pytest.config
import PIL.Image

CLIENT = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    order = {{"folder": os.getcwd(), "environment": dict(os.environ)}}
    if sys.argv[1:3] == ["-m", "pytest"]:
        order["args"] = ["-p", "no:hypothesispytest", *sys.argv[3:]]
    else:
        order["python"] = sys.argv[-1]
    socket.send_fds(server, [json.dumps(order).encode() + b"\\n"], [0, 1, 2])
    for stream in (0, 1):
        os.close(stream)
    answers = server.makefile()
    answers.readline()
    status = int(answers.readline() or 1)
os.kill(os.getpid(), -status) if status < 0 else os._exit(status)
"""
"""The program that stands for Python as ``sys.executable``: it has the server fork a run of pytest or a program."""


def main(address: str) -> None:
    import_what_is_heavy()
    gc.collect()
    gc.freeze()  # or every process would visit, and so copy, all of that when its run ends
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen(64)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            ready, _, _ = select.select([sys.stdin, server], [], [], 1)
            if sys.stdin in ready:
                return
            if server in ready:
                connection, _ = server.accept()
                if not os.fork():
                    server.close()
                    keep(connection)
                connection.close()
            reap()


def import_what_is_heavy() -> None:
    """Import what runs of pytest need; what is missing here is no error, but each run takes the time to import it."""
    for module in _pytest.config.default_plugins:
        importlib.import_module(f"_pytest.{module}")
    for module in (
        "datasets",
        "pdb",
        "pytest",
        "syrupy",
        "torch",
        "xdist.looponfail",
        "xdist.remote",
        "pytest_clip_robust.encoding.engines.local",
        "pytest_clip_robust.evaluation.model",
        "pytest_clip_robust.models.custom",
        "pytest_clip_robust.models.loading",
        "pytest_clip_robust.plugin.collector",
        "pytest_clip_robust.plugin.fixtures",
        "pytest_clip_robust.plugin.hooks",
        "pytest_clip_robust.plugin.item_hooks",
        "pytest_clip_robust.plugin.parametrize",
        "pytest_clip_robust.plugin.rank_report",
        "pytest_clip_robust.properties.accuracy",
        "pytest_clip_robust.properties.shift",
    ):
        importlib.import_module(module)
    PIL.Image.init()


def reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def keep(connection: socket.socket) -> None:
    """Start the process that is asked for, and tell its id and how it ended."""
    data, files, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    while not data.endswith(b"\n"):
        data += connection.recv(1 << 20)
    order = json.loads(data)
    process = os.fork()
    if not process:
        connection.close()
        become(order, files)
    for file in files:
        os.close(file)
    connection.sendall(f"{process}\n".encode())
    _, status = os.waitpid(process, 0)
    try:
        connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    finally:
        os._exit(0)


def become(order: dict, files: list[int]) -> None:
    """Be that run of pytest, or that program."""
    for stream, file in enumerate(files):
        os.dup2(file, stream)
        os.close(file)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.path[:0] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    code = 1
    try:
        code = run_program(order["python"]) if "python" in order else run_pytest(order)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except Exception:  # noqa: BLE001 - as Python does at the end of a program
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def run_pytest(order: dict) -> int:
    import pytest

    sys.path.insert(0, order["folder"])
    sys.executable = order.get("executable", sys.executable)
    return int(pytest.main(order["args"]))


def run_program(text: str) -> int:
    sys.argv = ["-c"]
    sys.path[0] = ""
    exec(compile(text, "<string>", "exec"), sys.modules["__main__"].__dict__)
    return 0


if __name__ == "__main__":
    main(sys.argv[1])
