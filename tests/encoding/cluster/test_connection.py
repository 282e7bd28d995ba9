from __future__ import annotations

import socket
from importlib.util import find_spec

import pytest

from pytest_clip_robust.encoding.cluster.connection import Connection
from pytest_clip_robust.errors import ConfigError

pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra [ray]")


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_at_which_nothing_answers_is_an_error_at_once(scheme, monkeypatch):
    with socket.socket() as taken:  # bound and not listening, so that nobody else answers there
        taken.bind(("127.0.0.1", 0))
        address = f"{scheme}127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigError, match=f"nothing answers at {address} .*refused.*; correct the address"):
            Connection(address)
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(ConfigError, match=f"nothing answers at {address}"):
            Connection()
