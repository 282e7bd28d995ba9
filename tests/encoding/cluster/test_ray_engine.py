"""The Ray engine on a cluster of two simulated nodes, with one CPU each."""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from pytest_clip_robust.encoding.encoder import Encoder
from pytest_clip_robust.encoding.engines.base import ImageJob
from pytest_clip_robust.encoding.engines.local import LocalEngine
from pytest_clip_robust.encoding.store.features import FeatureStore
from pytest_clip_robust.errors import ConfigError, DataError, ModelError
from pytest_clip_robust.models.loading import load_model
from pytest_clip_robust.models.spec import ModelSpec

pytestmark = [
    pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra [ray]"),
    pytest.mark.filterwarnings("ignore"),  # Ray announces changes to come
]

NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
STARTED = []
"""All nodes, so that they stay. From Python 3.13 on, multiprocessing clears the exit handlers of a forked process; if
nothing but these refers to Ray's nodes, that destroys them, which crashes the process."""
SETTINGS = {"health_check_period_ms": 500, "health_check_failure_threshold": 3, "worker_niceness": 0}


@pytest.fixture(scope="module")
def cluster():
    """A head and a second node; Ray reads its settings from the environment when it is imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        import ray
        from ray.cluster_utils import Cluster

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        nodes = Cluster(initialize_head=True, head_node_args={**NODE, "_system_config": SETTINGS})
        try:
            nodes.second = nodes.add_node(**NODE)
            STARTED.extend((nodes.head_node, nodes.second))
            ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")
            yield nodes
        finally:
            ray.shutdown()
            nodes.shutdown()
            torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def notices():
    return []


@pytest.fixture(scope="module")
def engine(cluster, notices):
    """One engine for all tests, so that its workers start once."""
    from pytest_clip_robust.encoding.cluster.engine import RayEngine

    engine = RayEngine(notice=notices.append)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    shutil.copy(Path(__file__).with_name("logging_model.py"), folder / "model.py")
    (folder / "identity.txt").write_text("first")
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return load(f"py:{folder / 'model.py'}:load")


def load(spec):
    return load_model(ModelSpec.parse(spec), device="cpu", precision="fp32")


def job_of(model, images):
    return ImageJob(model=model, images=images, positions={digest: i for i, digest in enumerate(images.digests)})


def encoded_by_workers(folder):
    """Return how often workers encoded each image, by the digest of its pixels."""
    return Counter(line for log in logs_of_workers(folder) for line in log.read_text().splitlines())


def logs_of_workers(folder):
    return [path for path in folder.glob("*.log") if path.stem != str(os.getpid())]


def encode_on_both_nodes(engine, job, folder):
    """Encode a job again and again until the workers of both nodes take part; they start one after the other."""
    known = {log: log.stat().st_size for log in logs_of_workers(folder)}
    for _ in range(50):
        list(engine.encode(job))
        if sum(log.stat().st_size > known.get(log, 0) for log in logs_of_workers(folder)) == 2:
            return
    raise AssertionError("the worker of one node encoded nothing")


def cut_power(cluster, node):
    """End a node with its workers, which would otherwise finish what takes them less than a second."""
    (raylet,) = node.all_processes["raylet"]
    workers = psutil.Process(raylet.process.pid).children(recursive=True)
    cluster.remove_node(node, allow_graceful=False)
    for worker in workers:
        with suppress(psutil.NoSuchProcess):
            worker.kill()


def test_features_equal_the_local_engine_bit_for_bit(engine, model, folder, tmp_path, image_set, png):
    images = image_set([png(seed) for seed in range(150)])
    encoder = Encoder(FeatureStore(tmp_path / "ray"), engine)
    local = Encoder(FeatureStore(tmp_path / "local"), LocalEngine(workers=0))
    np.testing.assert_array_equal(encoder.images(model, images), local.images(model, images))
    once = encoded_by_workers(folder)
    assert (len(once), set(once.values())) == (150, {1})
    texts = [f"a photo of {'b' * (seed % 9)}{seed}" for seed in range(40)]
    np.testing.assert_array_equal(encoder.texts(model, texts), local.texts(model, texts))
    encoder.images(model, images)
    assert encoded_by_workers(folder) == once, "what is stored is not encoded again"
    assert encoder.counts == local.counts


def test_altered_images_go_the_same_way(engine, model, tmp_path, image_set, png, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))
    from inverted_images import InvertedImages

    images = InvertedImages(image_set([png(seed) for seed in range(20)], crop_border=2))
    found = Encoder(FeatureStore(tmp_path / "ray"), engine).images(model, images)
    expected = Encoder(FeatureStore(tmp_path / "local"), LocalEngine(workers=0)).images(model, images)
    np.testing.assert_array_equal(found, expected)


def test_an_image_that_cannot_be_read_is_the_same_error_and_the_others_are_stored(
    engine, model, tmp_path, image_set, png
):
    images = image_set([*(png(seed) for seed in range(80)), b"no image"])
    store = FeatureStore(tmp_path)
    with pytest.raises(DataError, match=r"^photos: image '80.png': it cannot be decoded"):
        Encoder(store, engine).images(model, images)
    encoder = Encoder(store, LocalEngine(workers=0))
    encoder.images(model, images.take(np.arange(80)))
    assert encoder.counts["images"] <= 16, "only the batch of the bad image is encoded again"


def test_a_model_that_differs_on_a_node_is_refused_by_its_digest(engine, folder, tmp_path, image_set, png):
    model = load(f"py:{folder / 'model.py'}:load?pause=0.0")
    (folder / "identity.txt").write_text("second")
    try:
        with pytest.raises(
            ModelError, match=r"its weights on the Ray node \S+ is [0-9a-f]{12}\.\.\., and here [0-9a-f]{12}"
        ):
            Encoder(FeatureStore(tmp_path), engine).images(model, image_set([png(0)]))
    finally:
        (folder / "identity.txt").write_text("first")


def test_a_cluster_without_room_is_an_error_and_no_endless_wait(engine, model, folder, tmp_path, image_set, png):
    from pytest_clip_robust.encoding.cluster.engine import RayEngine

    encode_on_both_nodes(engine, job_of(model, image_set([png(seed) for seed in range(150)])), folder)
    assert len(engine._pool._ready) == 2, "they take both CPUs"
    crowded = RayEngine(start_seconds=1.5)
    try:
        with pytest.raises(ConfigError, match=r"each needs 1 CPU on one node, and the cluster has 0 of 2 CPUs free"):
            Encoder(FeatureStore(tmp_path), crowded).images(model, image_set([png(0)]))
    finally:
        crowded.close()


def test_features_are_stored_in_a_bucket(engine, model, image_set, png, monkeypatch):
    server = pytest.importorskip("moto.server", reason="needs moto[server,s3]").ThreadedMotoServer(port=0)
    fsspec = pytest.importorskip("fsspec")
    pytest.importorskip("s3fs")
    server.start()
    try:
        for name, value in (
            ("AWS_ENDPOINT_URL", "http://{}:{}".format(*server.get_host_and_port())),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
        ):
            monkeypatch.setenv(name, value)
        fsspec.filesystem("s3").mkdir("features")
        images = image_set([png(seed) for seed in range(20)])
        found = Encoder(FeatureStore("s3://features/run"), engine).images(model, images)
        again = Encoder(FeatureStore("s3://features/run"))
        np.testing.assert_array_equal(again.images(model, images), found)
        assert not again.counts, "everything is read from the bucket"
    finally:
        server.stop()


def test_a_node_that_is_killed_loses_nothing(engine, model, notices, cluster, folder, image_set, png):
    slow = load(f"py:{folder / 'model.py'}:load?pause=0.05")
    job = job_of(model, image_set([png(seed) for seed in range(400, 880)]))
    encode_on_both_nodes(engine, job_of(model, image_set([png(seed) for seed in range(128)])), folder)
    before, features = encoded_by_workers(folder), {}
    for batch in engine.encode(replace(job, model=slow)):
        assert not set(batch.digests) & set(features)
        if not features:
            cut_power(cluster, cluster.second)
        features |= dict(zip(batch.digests, batch.features, strict=True))
    for batch in LocalEngine(workers=0).encode(replace(job, model=model)):
        np.testing.assert_array_equal([features[digest] for digest in batch.digests], batch.features)
    repeated = sum((encoded_by_workers(folder) - before).values()) - len(job.positions)
    assert 0 <= repeated <= 2 * 64, "only the two blocks that the node had are encoded again"
    assert any("a worker of Ray was lost" in line for line in notices)


def test_a_caller_that_stops_early_ends_the_workers(engine, folder, image_set, png):
    model = load(f"py:{folder / 'model.py'}:load?pause=0.05")
    batches = engine.encode(job_of(model, image_set([png(seed) for seed in range(1000, 1320)])))
    next(batches)
    batches.close()
    assert not engine._pool._ready
    time.sleep(0.2)
    done = sum(encoded_by_workers(folder).values())
    time.sleep(0.5)
    assert sum(encoded_by_workers(folder).values()) == done
