from __future__ import annotations

import pytest

from pytest_clip_robust.encoding.cluster.plan import WorkerPlan, plan_workers
from pytest_clip_robust.errors import ConfigError


def test_a_worker_on_a_cpu_has_the_threads_of_this_process_where_a_node_has_them():
    assert plan_workers("cpu", [{"CPU": 8.0}, {"CPU": 5.0}], threads=4) == WorkerPlan(
        device="cpu", cpus=4, gpus=0, most=3
    )
    assert plan_workers("auto", [{"CPU": 2.0}, {"CPU": 1.0}], threads=8) == WorkerPlan(
        device="cpu", cpus=2, gpus=0, most=1
    )


def test_gpus_are_taken_if_there_are_any_and_nodes_without_a_free_cpu_are_left_out():
    nodes = [{"CPU": 0.0, "GPU": 8.0}, {"CPU": 64.0, "GPU": 2.0}, {"CPU": 3.0, "GPU": 4.0}, {"CPU": 8.0}]
    assert plan_workers("auto", nodes, threads=4) == WorkerPlan(device="cuda", cpus=1, gpus=1, most=5)
    assert plan_workers("cuda:1", nodes[1:2], threads=4) == WorkerPlan(device="cuda", cpus=16, gpus=1, most=2)
    assert plan_workers("cpu", nodes[1:2], threads=4).device == "cpu"


@pytest.mark.parametrize(
    ("asked", "nodes", "message"),
    [
        ("auto", [{"CPU": 0.0}, {}], r"no node of the Ray cluster has a CPU .* \(2 nodes with 0 CPUs and 0 GPUs\)"),
        ("auto", [], r"\(0 nodes with 0 CPUs and 0 GPUs\)"),
        (
            "cuda",
            [{"CPU": 4.0}],
            r"--clip-device 'cuda': no node of the Ray cluster has a GPU and a CPU \(1 node with 4",
        ),
        ("mps", [{"CPU": 4.0}], "--clip-device 'mps': workers of Ray run on cpu or cuda"),
    ],
)
def test_a_cluster_that_can_run_no_worker_is_refused_at_once(asked, nodes, message):
    with pytest.raises(ConfigError, match=message):
        plan_workers(asked, nodes, threads=2)
