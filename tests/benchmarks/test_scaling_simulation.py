"""The simulation of large runs: what no schedule can beat, and what every schedule must satisfy."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

import scaling_simulation
from scaling_simulation import BATCH, BATCHES_PER_BLOCK, Cluster, Costs, Work, simulate

from pytest_clip_robust.encoding.cluster import pool
from pytest_clip_robust.encoding.encoder import FLUSH_ROWS
from pytest_clip_robust.encoding.engines import batch_size, blocks
from pytest_clip_robust.encoding.store import features

WAYS = ("workers", "ray")
FREE = Costs()

works = st.builds(
    Work,
    images=st.integers(1, 40).map(lambda n: n * 1000),
    models=st.integers(1, 5),
    gates=st.integers(0, 20),
    sets=st.sampled_from([1, 2, 5]),
)
clusters = st.builds(
    Cluster,
    gpus=st.integers(1, 12),
    node=st.sampled_from([1, 4, 8]),
    rate=st.sampled_from([50.0, 700.0]),
    decode=st.sampled_from([0.0, 0.005, 0.1]),
    slow_share=st.sampled_from([0.0, 0.3]),
    losses=st.sampled_from([0.0, 2.0]),
    back=st.just(100.0),
    latency=st.sampled_from([0.0, 0.05]),
    bandwidth=st.sampled_from([1e6, float("inf")]),
    requests=st.sampled_from([10.0, float("inf")]),
)
costs = st.builds(
    Costs,
    row=st.just(2100.0),
    write=st.sampled_from([0.0, 1e-5]),
    logits=st.sampled_from([0.0, 1e-5]),
    gate=st.sampled_from([0.0, 0.01]),
    gate_sample=st.sampled_from([0.0, 1e-6]),
    report=st.sampled_from([0.0, 0.004]),
    load=st.sampled_from([0.0, 20.0]),
)


def rows_of(work):
    return work.images_per_set * work.sets * work.models


def test_blocks_and_shards_are_those_of_the_package():
    assert pool.AHEAD == scaling_simulation.AHEAD
    assert batch_size.LARGEST_BATCH == BATCH
    assert blocks.BATCHES_PER_BLOCK == BATCHES_PER_BLOCK
    assert blocks.BLOCKS_PER_WORKER == scaling_simulation.BLOCKS_PER_WORKER
    assert FREE.shard == FLUSH_ROWS
    assert features.WRITES_AT_ONCE == scaling_simulation.AT_ONCE


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("sets", [1, 4])
def test_one_gpu_without_overhead_takes_the_sum(way, sets):
    work = Work(images=100_000, models=3, gates=0, sets=sets)
    found = simulate(work, Cluster(gpus=1, rate=1000.0), FREE, way=way)
    assert found.seconds == pytest.approx(300.0)
    assert found.busy == pytest.approx(300.0)


@pytest.mark.parametrize("way", WAYS)
def test_one_gpu_with_all_costs_takes_their_sum(way):
    work = Work(images=4096, models=2, gates=10)
    unit = Costs(row=1000.0, write=1e-3, logits=1e-3, gate=0.5, gate_sample=1e-4, report=0.1, load=7.0, start=3.0)
    found = simulate(work, Cluster(gpus=1, rate=1000.0, latency=0.25, connection=1e6), unit, way=way)
    encode, put = 4.096, 0.25 + 2.048  # two shards at once
    judged = 4.096 + 10 * (0.5 + 0.4096)
    one_by_one = 3.0 + 2 * (7.0 + encode + 4.096 + put + judged) + 2 * 10 * 0.1
    if way == "workers":
        assert found.seconds == pytest.approx(one_by_one)
    else:  # the driver writes blocks while the GPU encodes the next
        assert one_by_one - 2 * encode <= found.seconds < one_by_one
    assert (found.puts, found.stored) == (4, 4096 * 2 * 1000.0)


@pytest.mark.parametrize("way", WAYS)
@given(works, clusters, costs)
@settings(max_examples=60, deadline=None)
def test_no_run_beats_its_bounds(way, work, cluster, unit):
    found = simulate(work, cluster, unit, way=way)
    encode = rows_of(work) / cluster.images_per_second
    judged = unit.judged(work) * work.sets * work.models
    ends = unit.report * work.gates * work.models
    tiny = 1e-6
    assert found.seconds + tiny >= encode / cluster.gpus + ends
    assert found.seconds + tiny >= rows_of(work) * unit.row / cluster.bandwidth
    assert found.seconds + tiny >= found.puts / cluster.requests
    if way == "ray":
        assert found.seconds + tiny >= judged + ends + unit.write * rows_of(work)
    else:
        own = work.images_per_set / cluster.images_per_second + unit.judged(work)
        assert found.seconds + tiny >= own + ends + unit.load
        assert found.seconds + tiny >= judged / cluster.gpus + ends


@pytest.mark.parametrize("way", WAYS)
@given(works, clusters, costs)
@settings(max_examples=60, deadline=None)
def test_every_image_is_encoded_and_stored_once_but_for_lost_nodes(way, work, cluster, unit):
    cluster = replace(cluster, slow_share=0.0)
    found = simulate(work, cluster, unit, way=way)
    encoded = found.busy * cluster.images_per_second
    assert encoded == pytest.approx(rows_of(work) + found.repeated, abs=1 + found.lost * cluster.gpus)
    if not found.lost:
        assert found.repeated == 0
        assert found.stored == pytest.approx(rows_of(work) * unit.row)


@pytest.mark.parametrize("way", WAYS)
@given(works, clusters, costs, st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_equal_arguments_give_equal_results(way, work, cluster, unit, seed):
    assert simulate(work, cluster, unit, way=way, seed=seed) == simulate(work, cluster, unit, way=way, seed=seed)


@pytest.mark.parametrize("way", WAYS)
@given(works, clusters, costs)
@settings(max_examples=60, deadline=None)
def test_more_gpus_never_take_longer_by_more_than_a_block_for_each_set(way, work, cluster, unit):
    quiet = replace(cluster, slow_share=0.0, losses=0.0)
    unit = replace(unit, load=0.0)
    once = simulate(work, quiet, unit, way=way).seconds
    twice = simulate(work, replace(quiet, gpus=2 * quiet.gpus), unit, way=way).seconds
    block = BATCH * BATCHES_PER_BLOCK / quiet.images_per_second if way == "ray" else 0.0
    assert twice <= once + block * work.sets * work.models + 1e-6


@pytest.mark.parametrize("way", WAYS)
def test_lost_nodes_and_slow_gpus_cost_time(way):
    work = Work(images=200_000, models=4, gates=0, sets=4)
    quiet = Cluster(gpus=8, node=4, rate=100.0)
    base = simulate(work, quiet, FREE, way=way).seconds
    assert simulate(work, replace(quiet, slow_share=0.3), FREE, way=way).seconds > base
    lossy = simulate(work, replace(quiet, losses=4.0), FREE, way=way)
    assert lossy.lost > 0
    assert lossy.seconds > base


def test_the_driver_of_ray_bounds_what_more_gpus_gain():
    work = Work(images=1_000_000, models=1, gates=100)
    unit = Costs(gate=1.0, write=1e-5)
    seconds = [simulate(work, Cluster(gpus=gpus, rate=1000.0), unit, way="ray").seconds for gpus in (8, 64, 512)]
    assert seconds[0] > seconds[1] > seconds[2] > 110
    assert seconds[1] / seconds[2] < 1.2


def test_workers_share_the_sets_of_one_model():
    work = Work(images=80_000, models=1, gates=0, sets=8)
    assert simulate(work, Cluster(gpus=8, rate=100.0), FREE, way="workers").seconds == pytest.approx(100.0)
    assert simulate(replace(work, sets=1), Cluster(gpus=8, rate=100.0), FREE, way="workers").seconds == pytest.approx(
        800
    )


def test_a_write_that_is_yet_to_come_keeps_nobody_waiting():
    work = Work(images=800_000, models=1, gates=0, sets=8)
    cluster = Cluster(gpus=8, rate=1000.0, slow_share=0.5, slow=3.0, bandwidth=1e10, connection=1e8, latency=0.01)
    found = simulate(work, cluster, Costs(row=1000.0), way="workers")
    slowest = 300.0 + 7 * (0.01 + 1.0 / 49)  # one set in 49 shards, eight at once
    assert found.seconds == pytest.approx(slowest)
