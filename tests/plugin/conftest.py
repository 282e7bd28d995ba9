"""A world small enough to test a plugin in: three colours, and a dual encoder that knows them."""

from __future__ import annotations

import functools
import importlib
import io
import json
import os
import pkgutil
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

# Runs inside of this process forget what they import, and torch cannot be imported twice.
import _pytest.stepwise  # noqa: F401
import datasets  # noqa: F401
import numpy as np
import open_clip  # noqa: F401
import pytest
import rich._emoji_codes  # noqa: F401
import session_server as session_server_module
from package_metadata import read_package_metadata_once
from PIL import Image
from session_server import CLIENT

import pytest_clip_robust

for module in pkgutil.walk_packages(pytest_clip_robust.__path__, "pytest_clip_robust."):
    importlib.import_module(module.name)
Image.init()
read_package_metadata_once()

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 210)}

COLOUR_CLIP = '''
"""A dual encoder for colours: the mean colour of an image, and the colour that a text names."""
import numpy as np

COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1)}


class ColourClip:
    scale, bias, identity = 10.0, 0.0, "colour-clip 1"

    def preprocess(self, image):
        return np.asarray(image.resize((4, 4)), dtype=np.float32).transpose(2, 0, 1) / 255

    def encode_image(self, pixels):
        return pixels.mean(dim=(2, 3))

    def encode_text(self, texts):
        return np.array([self._colour(text) for text in texts], dtype=np.float32)

    def _colour(self, text):
        named = [colour for name, colour in COLOURS.items() if name in text]
        return np.sum(named, axis=0) if named else (1, 1, len(text) / 10)


def load(precision="fp32"):
    return ColourClip()


def load_other():
    other = ColourClip()
    other.identity = "colour-clip 2"
    return other


class ForgetfulClip(ColourClip):
    """Takes red for blue in about every second image, by the parity of its pixels."""
    identity = "forgetful-clip 1"

    def encode_image(self, pixels):
        colour = pixels.mean(dim=(2, 3))
        odd = (pixels.sum(dim=(1, 2, 3)) * 1000).long() % 2 == 1
        return colour.flip(1).where(odd[:, None], colour)


def load_forgetful():
    return ForgetfulClip()


def load_broken():
    raise RuntimeError("no weights today")
'''

PROFILE = """
name = "colours"
[roles]
id = "photos"
shift = ["dim"]
[data.photos]
location = "photos"
[data.dim]
location = "dim"
[prompts]
templates = ["a photo of a {}."]
[thresholds]
"zero_shot.top1" = { at_least = 0.9 }
"""

SUITE = """
import pytest
from pytest_clip_robust.properties import accuracy

@pytest.mark.clip_role("id")
def test_top1(model, dataset, gate):
    gate(accuracy.top_k(model.zero_shot(dataset), k=1))
"""


SEVERAL = """
import os
import pytest
from pytest_clip_robust.properties import accuracy, shift

@pytest.mark.clip_role("id")
@pytest.mark.parametrize("k", [1, 2])
def test_accuracy(model, dataset, k, gate):
    gate(accuracy.top_k(model.zero_shot(dataset), k=k))

@pytest.mark.clip_role("id")
def test_mean(model, dataset, gate):
    gate(accuracy.mean_per_class(model.zero_shot(dataset)))

@pytest.mark.clip_role("shift")
def test_shift(model, dataset, gate):
    if os.environ.get("CRASH") == os.environ.get("PYTEST_XDIST_WORKER", "here"):
        os._exit(9)
    gate(shift.accuracy_under_shift(model.zero_shot(dataset)))
"""


def paint(folder: Path, *, per_class: int = 4, brightness: float = 1.0, mislabelled: int = 0, seed: int = 0) -> Path:
    """Write `per_class` noisy images of each colour; the first `mislabelled` reds lie in the folder of the blues."""
    for (colour, i), png in painted(per_class, brightness, seed).items():
        wrong = colour == "red" and i < mislabelled
        target = folder / ("blue" if wrong else colour) / f"{colour}_{i}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(png)
    return folder


@functools.cache
def painted(per_class: int, brightness: float, seed: int) -> dict[tuple[str, int], bytes]:
    """Return PNG files by colour and number."""
    noise = np.random.default_rng(seed)
    files = {}
    for colour, rgb in COLOURS.items():
        for i in range(per_class):
            pixels = np.array(rgb) * brightness + noise.normal(0, 10, (8, 8, 3))
            file = io.BytesIO()
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "PNG")
            files[colour, i] = file.getvalue()
    return files


@pytest.fixture
def pytester(pytester, monkeypatch):
    """Runs inside do not visit torch's hundreds of loggers in each phase of each test."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:logging")
    return pytester


@pytest.fixture
def colours(pytester, monkeypatch):
    """A folder with the colour world: model, photos, profile and one suite of one test."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(pytester.path / "hf"))
    monkeypatch.setenv("CI", "true")
    pytester.makepyfile(colour_clip=COLOUR_CLIP, test_suite=SUITE)
    paint(pytester.path / "photos")
    paint(pytester.path / "dim", brightness=0.4, seed=1)
    (pytester.path / "profile.toml").write_text(PROFILE)
    pytester.makeini("[pytest]\naddopts = --clip-workers 0 --clip-cache cache --clip-device cpu\n")
    return pytester


@pytest.fixture
def crowd(colours):
    """The colour world with 120 photos, a profile without thresholds, and a suite of several gates."""
    shutil.rmtree(colours.path / "photos")
    paint(colours.path / "photos", per_class=40)
    (colours.path / "profile.toml").write_text(PROFILE.partition("[thresholds]")[0])
    colours.makepyfile(test_suite=SEVERAL)
    return colours


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """Bring a folder into the state that several tests start from: made for the first, copied for the others.

    ``made_once(make, world, *arguments)`` returns what ``make(world, *arguments)`` returned the first time. `make` is a
    function of a module, which does the same whenever it is called with these arguments: the folder of `world` is as
    its fixture left it, and the environment is that of every test. What it returns must not be changed.
    """
    kept = {}

    def bring(make, world, *arguments):
        key = (make.__module__, make.__qualname__, arguments)
        if key in kept:
            result, folder = kept[key]
            for path in world.path.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            shutil.copytree(folder, world.path, dirs_exist_ok=True)
            return result
        result = make(world, *arguments)
        folder = tmp_path_factory.mktemp("made_once")
        kept[key] = result, shutil.copytree(world.path, folder, dirs_exist_ok=True)
        return result

    return bring


def record(crowd):
    """Record baselines of the model of the colour world."""
    result = crowd.runpytest("--model=py:colour_clip:load", "--clip-profile=profile.toml", "--snapshot-update")
    result.assert_outcomes(passed=4)
    return result


@pytest.fixture
def recording(crowd, made_once):
    """The result of the run that recorded the baselines of `recorded`."""
    return made_once(record, crowd)


@pytest.fixture
def recorded(crowd, recording):
    """The colour world with baselines of its model, and with a cache."""
    return crowd


MORTAL_CLIP = '''
"""The colour world's model; while it encodes images, a process is killed if a file asks for it, once."""
import os, signal
from pytest_clip_robust.encoding import encoder
from colour_clip import ColourClip

encoder.FLUSH_ROWS = 16
BATCHES = 2 + 4  # two are the checks of a model


class MortalClip(ColourClip):
    batches = 0

    def encode_image(self, pixels):
        self.batches += 1
        for whom in ("self", "parent"):
            if self.batches == BATCHES and os.path.exists(f"kill_{whom}"):
                os.rename(f"kill_{whom}", f"killed_{whom}")
                with open("encoding_process", "w") as file:
                    file.write(str(os.getpid()))
                os.kill(os.getpid() if whom == "self" else os.getppid(), signal.SIGKILL)
        return super().encode_image(pixels)


load = MortalClip
'''


@pytest.fixture
def mortal(crowd):
    """The colour world with a model that can be killed; its features are those of the other."""
    crowd.makepyfile(mortal_clip=MORTAL_CLIP)
    return crowd


@dataclass
class Session:
    """A run of pytest in a process of its own."""

    process: int
    ended: object
    files: tuple

    def wait(self):
        """Return the exit status, below 0 for a signal."""
        return int(self.ended.readline())

    def kill(self):
        os.kill(self.process, signal.SIGKILL)

    @property
    def output(self):
        return "".join(file.read_text() for file in self.files)


@pytest.fixture(scope="session")
def session_server():
    """The socket of the server that forks processes, and the program that stands for Python; see there."""
    folder = Path(tempfile.mkdtemp(prefix="forks-"))  # the path of a socket has at most 107 characters
    address, client = str(folder / "socket"), folder / "python"
    client.write_text(CLIENT.format(python=sys.executable, address=address))
    client.chmod(0o755)
    command = [sys.executable, session_server_module.__file__, address]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout.readline() == "ready\n"
        yield address, client
        server.stdin.close()
    shutil.rmtree(folder)


@pytest.fixture
def start_session(session_server, pytester):
    """Start runs of pytest in the test's folder, with its environment and what is named besides."""
    address, client = session_server
    number = 0
    with ExitStack() as open_files:

        def start(*arguments, fork_workers=False, **environment):
            nonlocal number
            number += 1
            order = {
                "args": ["-p", "no:hypothesispytest", *map(str, arguments)],
                "folder": str(Path.cwd()),
                "environment": {**os.environ, **environment},
                **({"executable": str(client)} if fork_workers else {}),
            }
            paths = tuple(pytester.path / f"session_{number}.{stream}" for stream in ("out", "err"))
            server = open_files.enter_context(socket.socket(socket.AF_UNIX))
            server.connect(address)
            with Path(os.devnull).open("rb") as empty, paths[0].open("wb") as out, paths[1].open("wb") as err:
                files = [file.fileno() for file in (empty, out, err)]
                socket.send_fds(server, [json.dumps(order).encode() + b"\n"], files)
            answers = open_files.enter_context(server.makefile())
            return Session(int(answers.readline()), answers, paths)

        yield start


@pytest.fixture
def run_apart(start_session):
    """Run pytest in a process of its own, as `runpytest_subprocess` does, at a fraction of its cost."""

    def run(*arguments):
        started = time.perf_counter()
        session = start_session(*arguments, fork_workers=True)
        status = session.wait()
        lines = [file.read_text().splitlines() for file in session.files]
        return pytest.RunResult(status, *lines, time.perf_counter() - started)

    return run


@pytest.fixture
def forked_workers(session_server, monkeypatch):
    """Make workers, and runs that the command line starts, forks of a process that has imported what they need."""
    monkeypatch.setattr(sys, "executable", str(session_server[1]))
