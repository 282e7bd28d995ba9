"""The pool with pretended workers, which can be lost at any moment."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pytest_clip_robust import __version__
from pytest_clip_robust.encoding.cluster.plan import WorkerPlan
from pytest_clip_robust.encoding.cluster.pool import WorkerPool
from pytest_clip_robust.encoding.cluster.worker import EncodedBlock, WorkerSettings
from pytest_clip_robust.errors import ConfigError, DataError

PLAN = WorkerPlan(device="cpu", cpus=2, gpus=0, most=2)
PARTS = [slice(start, start + 10) for start in range(0, 80, 10)]


class RayError(Exception):
    pass


class RayTaskError(RayError):
    pass


class RayActorError(RayError):
    pass


class Result:
    def __init__(self, value):
        self.value = value


class PretendedRay:
    """Workers give their results at once; `start` and `encode` say which, or raise."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError, RayActorError=RayActorError)

    def __init__(self, encode, start=lambda: ("node", __version__)):
        self.calls = {"start": start, "encode": encode}
        self.started, self.killed = 0, 0

    def remote(self, _):
        return SimpleNamespace(options=self._options)

    def _options(self, **resources):
        assert resources == {"num_cpus": 2, "num_gpus": 0}
        return SimpleNamespace(remote=self._start)

    def _start(self, _):
        self.started += 1
        return SimpleNamespace(
            version=SimpleNamespace(remote=lambda: self._call("start")),
            encode=SimpleNamespace(remote=lambda name, held, part: self._call("encode", part)),
        )

    def _call(self, name, *arguments):
        try:
            return Result(self.calls[name](*arguments))
        except RayError as error:
            return Result(error)

    def wait(self, waiting, **_):
        return waiting[-1:], waiting[:-1]

    def get(self, result):
        if isinstance(result.value, Exception):
            raise result.value
        return result.value

    def kill(self, _):
        self.killed += 1


def run(ray, notice=lambda _: None):
    pool = WorkerPool(ray, WorkerSettings(device="cpu", threads=2), notice=notice)
    return pool.run("job", object(), PARTS, PLAN)


def block_of(part):
    return EncodedBlock([part])


def test_every_block_is_encoded_once():
    ray = PretendedRay(block_of)
    found = [part for block in run(ray) for part in block.batches]
    assert sorted(found, key=lambda part: part.start) == PARTS
    assert (ray.started, ray.killed) == (2, 0)


def test_the_block_of_a_lost_worker_is_encoded_again_by_another_one():
    lost, notices = [PARTS[3], PARTS[3], PARTS[5]], []

    def encode(part):
        if part in lost:
            lost.remove(part)
            raise RayActorError("the node died\nmore")
        return block_of(part)

    ray = PretendedRay(encode)
    found = [part for block in run(ray, notices.append) for part in block.batches]
    assert sorted(found, key=lambda part: part.start) == PARTS
    assert ray.killed == 3
    assert notices == ["a worker of Ray was lost, and its work is done again: the node died"] * 3


def test_a_block_that_takes_every_worker_with_it_is_an_error():
    def encode(part):
        if part == PARTS[2]:
            raise RayActorError("out of memory")
        return block_of(part)

    with pytest.raises(
        ConfigError, match=r"3 workers were lost while they encoded the same 10 samples \(out of memory"
    ):
        list(run(PretendedRay(encode)))


def test_after_an_error_nothing_is_begun_and_what_was_is_yielded():
    begun, found = [], []

    def encode(part):
        begun.append(part)
        return EncodedBlock([part], error=DataError("photos: image 'x.png'") if part == PARTS[3] else None)

    blocks = (found.extend(block.batches) for block in run(PretendedRay(encode)))
    with pytest.raises(DataError, match=r"photos: image 'x\.png'"):
        list(blocks)
    assert sorted(found, key=lambda part: part.start) == sorted(begun, key=lambda part: part.start)
    assert len(begun) < len(PARTS)


def test_an_exception_in_a_worker_is_raised():
    def encode(part):
        raise RayTaskError("TypeError: a bug")

    with pytest.raises(RayTaskError, match="a bug"):
        list(run(PretendedRay(encode)))


def test_a_node_with_another_version_is_refused():
    ray = PretendedRay(block_of, start=lambda: ("gpu7", "0.0.1"))
    with pytest.raises(
        ConfigError, match=rf"the node gpu7 has pytest-clip-robust 0.0.1, and this machine {__version__}"
    ):
        list(run(ray))
    assert ray.killed == 1


def test_nodes_without_the_package_are_an_error():
    def start():
        raise RayActorError("The actor died\nModuleNotFoundError: No module named 'pytest_clip_robust'")

    with pytest.raises(ConfigError, match=r"3 workers in a row .*No module named 'pytest_clip_robust'\); install"):
        list(run(PretendedRay(block_of, start=start)))
