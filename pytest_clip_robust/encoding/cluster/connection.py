"""The connection to a Ray cluster: an existing one, or one that is started on this machine and ends with the run."""

from __future__ import annotations

import atexit
import importlib
import logging
import os
import re
import secrets
import shutil
import signal
import socket
import tempfile
import threading
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

from pytest_clip_robust.errors import ConfigError
from pytest_clip_robust.system.machine import count_cores
from pytest_clip_robust.system.text import one_line, printable
from pytest_clip_robust.system.versions import require_package

ADDRESS_VARIABLE = "RAY_ADDRESS"
MODE_VARIABLE = "RAY_AUTH_MODE"
TOKEN_VARIABLES = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
REACH_SECONDS = 10.0

OBJECT_STORE_BYTES = 256 * 2**20
"""Of a cluster on this machine. It holds jobs and the features of some blocks, a few MB each."""

LONGEST_TEMPORARY = 16
"""Characters of the path of the folder for temporary files. Ray's sockets are below it, and have 107 at most."""


class Connection:
    """A connection that `close` ends; a cluster that was started for it ends with it, and any other is left alone.

    If this process is connected already, that connection is used and stays open.
    """

    def __init__(self, address: str = "") -> None:
        """Connect to `address`, else to that of the environment variable RAY_ADDRESS, else start a cluster here.

        Raises:
            ConfigError: Ray is not installed, or there is no such cluster.
        """
        require_package("ray", "--clip-engine ray", extra="ray")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reads it when it is imported
        logging.getLogger("ray").setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.ray: Any = importlib.import_module("ray")
        self._undo: list[Callable[[], object]] = []
        if self.ray.is_initialized():
            return
        where = address or os.environ.get(ADDRESS_VARIABLE, "")
        self._undo.append(_restored_signal())
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Ray announces changes to come
                self._connect(where) if where else self._start()
        except ConfigError:
            self.close()
            raise
        except Exception as error:
            self.close()
            place = f"the Ray cluster at {printable(where)}" if where else "a Ray cluster on this machine"
            raise ConfigError(f"--clip-engine ray: cannot reach {place}: {one_line(error)}") from error
        except BaseException:
            self.close()
            raise
        atexit.register(self.close)
        _interrupt_on_sigterm()

    def close(self) -> None:
        """Disconnect, and end a cluster that was started here; a second call does nothing."""
        while self._undo:
            self._undo.pop()()
        atexit.unregister(self.close)

    def _connect(self, address: str) -> None:
        _check_reachable(address)  # Ray itself tries for minutes
        self._undo.append(self.ray.shutdown)
        self.ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)

    def _start(self) -> None:
        """Start a cluster whose files and token only this user can read."""
        os.environ.setdefault("RAY_worker_niceness", "0")  # Ray lets its workers yield to every other process
        folder = tempfile.mkdtemp(prefix=f"clip-robust-{os.getpid()}-", dir=_short_temporary())
        self._undo.append(lambda: shutil.rmtree(folder, ignore_errors=True))
        if not _has_token():
            self._undo.append(lambda: _set_environment(dict.fromkeys((MODE_VARIABLE, TOKEN_VARIABLES[0]))))
            _set_environment({TOKEN_VARIABLES[0]: _token()})  # Ray sets the mode itself if it is not set
        self._undo.append(self.ray.shutdown)
        self.ray.init(
            address="local",
            num_cpus=count_cores(),
            object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _temp_dir=f"{folder}/ray",  # Ray lets everyone write to this one
        )


def _check_reachable(address: str) -> None:
    """Open a connection to ``HOST:PORT`` or ``ray://HOST:PORT``; other addresses, such as ``auto``, are left to Ray.

    Raises:
        ConfigError: nothing answers.
    """
    place = re.fullmatch(r"(?:ray://)?([^\s/:]+):(\d+)", address)
    if place is None:
        return
    try:
        socket.create_connection((place[1], int(place[2])), timeout=REACH_SECONDS).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise ConfigError(
            f"--clip-engine ray: nothing answers at {printable(address)} ({one_line(error)}); correct the address, or "
            "start Ray there"
        ) from error


def _short_temporary() -> str:
    usual = tempfile.gettempdir()
    return usual if len(usual) <= LONGEST_TEMPORARY else "/tmp"  # noqa: S108 - mkdtemp makes a private folder in it


def _has_token() -> bool:
    """Return whether the user has chosen how a cluster knows its owner."""
    chosen = any(os.environ.get(name) for name in (MODE_VARIABLE, *TOKEN_VARIABLES))
    return chosen or (Path.home() / ".ray" / "auth_token").exists()


@cache
def _token() -> str:
    """Return this process's token. Ray would otherwise write one to the home folder, where it stays."""
    return secrets.token_hex(32)


def _set_environment(values: dict[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _restored_signal() -> Callable[[], object]:
    """Return the function that undoes what Ray and `_interrupt_on_sigterm` do to SIGTERM."""
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    before = signal.getsignal(signal.SIGTERM)
    return lambda: signal.signal(signal.SIGTERM, before)


def _interrupt_on_sigterm() -> None:
    """Let SIGTERM end the run as Ctrl-C does, so that features are stored and workers end.

    Ray's own handler raises SystemExit, which pytest takes for the failure of one test.
    """

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, interrupt)
