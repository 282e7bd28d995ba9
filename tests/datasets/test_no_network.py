"""A run on local files talks to nobody, and the variables that forbid the hub are obeyed and named."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest
from stored import write_parquet, write_tar

from pytest_clip_robust.system import hub


@pytest.fixture
def calls(monkeypatch):
    """Record every attempt to look up or to reach another machine, and refuse it."""
    found = []

    def refuse(*arguments, **_):
        found.append(arguments[:2])
        raise OSError("the network is blocked")

    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return found


@pytest.mark.parametrize("kind", ["parquet", "tar", "folder"])
def test_local_files_are_read_without_the_network(load, tmp_path, png, calls, kind):
    if kind == "parquet":
        write_parquet(tmp_path / "set.parquet", {"image": [png(0), png(1)], "label": ["a", "b"]}, image="image")
    elif kind == "tar":
        (tmp_path / "classnames.txt").write_text("a\nb\n")
        write_tar(tmp_path / "set.tar", {"0.png": png(0), "0.cls": b"0", "1.png": png(1), "1.cls": b"1"})
    else:
        for i, name in enumerate("ab"):
            (tmp_path / "set" / name).mkdir(parents=True)
            (tmp_path / "set" / name / "0.png").write_bytes(png(i))
    images = load(f"set={tmp_path}/set{'' if kind == 'folder' else f'.{kind}'}")
    assert [images.read(i) for i in range(2)] == [png(0), png(1)]
    assert calls == []


def test_the_settings_of_datasets_are_as_they_were(load, tmp_path, png):
    import datasets

    config = datasets.config
    before = config.HF_HUB_OFFLINE, config.HF_UPDATE_DOWNLOAD_COUNTS
    write_parquet(tmp_path / "set.parquet", {"image": [png(0)], "label": ["a"]}, image="image")
    load(f"set={tmp_path}/set.parquet")
    assert before == (config.HF_HUB_OFFLINE, config.HF_UPDATE_DOWNLOAD_COUNTS)


def test_telemetry_of_the_hubs_client_is_off():
    from huggingface_hub import constants

    assert hub.constants is constants
    assert constants.HF_HUB_DISABLE_TELEMETRY is True


ASK = """
import socket, sys
def refuse(*_, **__):
    raise SystemExit("the network was used")
socket.getaddrinfo = socket.create_connection = refuse
from pytest_clip_robust.datasets.entry import parse_data_option
from pytest_clip_robust.datasets.images.loading import load_image_set
from pytest_clip_robust.errors import ClipRobustError
from pytest_clip_robust.system.hub import HubError, cached_or_fetched
if sys.argv[1] != "HF_DATASETS_OFFLINE":
    try:
        cached_or_fetched("org/repo", ["config.json"])
    except HubError as error:
        print(error)
try:
    load_image_set(parse_data_option("set=org/set"), cache_dir=None)
except ClipRobustError as error:
    print(error)
"""


@pytest.mark.parametrize("variable", hub.OFFLINE)
def test_variables_that_forbid_the_hub_are_obeyed_and_named(tmp_path, variable):
    kept = {name: value for name, value in os.environ.items() if name not in hub.OFFLINE}
    environment = kept | {variable: "1", "HF_HOME": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-c", ASK, variable],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    lines = result.stdout.splitlines()
    assert result.returncode == 0, result.stderr
    assert len(lines) == (1 if variable == "HF_DATASETS_OFFLINE" else 2)
    assert all(f"is not asked, since {variable} is set" in line for line in lines)
