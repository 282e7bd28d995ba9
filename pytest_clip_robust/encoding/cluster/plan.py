"""The plan of a cluster's workers, a pure function of the nodes' resources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pytest_clip_robust.errors import ConfigError

MOST_CPUS_PER_GPU = 16
"""More processes that decode images do not feed a GPU better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPlan:
    """The resources that each worker reserves, and the number of workers that the cluster can hold.

    device: ``"cpu"`` or ``"cuda"``. cpus, gpus: per worker.
    """

    device: str
    cpus: int
    gpus: int
    most: int

    @property
    def needs(self) -> str:
        """What one worker needs, for messages.

        >>> WorkerPlan(device="cuda", cpus=8, gpus=1, most=4).needs
        '8 CPUs and 1 GPU'
        """
        cpus = f"{self.cpus} CPU{'s' if self.cpus > 1 else ''}"
        return f"{cpus} and {self.gpus} GPU" if self.gpus else cpus


def plan_workers(asked: str, nodes: Sequence[Mapping[str, float]], *, threads: int) -> WorkerPlan:
    """Return the plan for a cluster of `nodes`, each with its resources by name.

    asked: the device, as ``--clip-device`` names it; ``"auto"`` takes GPUs if the cluster has any.
    threads: of torch in this process. A worker on a CPU has as many, if a node has them, since features depend on their
        number by rounding.

    Raises:
        ConfigError: no node can run a worker.

    >>> plan_workers("auto", [{"CPU": 32, "GPU": 4}, {"CPU": 8}], threads=4)
    WorkerPlan(device='cuda', cpus=8, gpus=1, most=4)
    >>> plan_workers("cpu", [{"CPU": 32, "GPU": 4}, {"CPU": 8}], threads=4)
    WorkerPlan(device='cpu', cpus=4, gpus=0, most=10)
    """
    kind = asked.partition(":")[0]
    if kind not in {"auto", "cpu", "cuda"}:
        raise ConfigError(
            f"--clip-device {asked!r}: workers of Ray run on cpu or cuda; give one, or --clip-engine=local"
        )
    pairs = [(int(node.get("CPU", 0)), int(node.get("GPU", 0))) for node in nodes]
    with_gpus = [(cpus, gpus) for cpus, gpus in pairs if gpus and cpus]
    if kind == "cuda" and not with_gpus:
        raise ConfigError(f"--clip-device {asked!r}: no node of the Ray cluster has a GPU and a CPU ({_listed(pairs)})")
    if kind != "cpu" and with_gpus:
        each = min(max(1, cpus // gpus) for cpus, gpus in with_gpus)
        cpus_each = min(each, MOST_CPUS_PER_GPU)
        most = sum(min(gpus, cpus // cpus_each) for cpus, gpus in with_gpus)
        return WorkerPlan(device="cuda", cpus=cpus_each, gpus=1, most=most)
    largest = max((cpus for cpus, _ in pairs), default=0)
    if not largest:
        raise ConfigError(
            f"--clip-engine ray: no node of the Ray cluster has a CPU for a worker ({_listed(pairs)}); "
            "start nodes with --num-cpus 1 or more"
        )
    cpus_each = max(1, min(threads, largest))
    return WorkerPlan(device="cpu", cpus=cpus_each, gpus=0, most=sum(cpus // cpus_each for cpus, _ in pairs))


def _listed(pairs: Sequence[tuple[int, int]]) -> str:
    total = f"{sum(cpus for cpus, _ in pairs)} CPUs and {sum(gpus for _, gpus in pairs)} GPUs"
    return f"{len(pairs)} node{'' if len(pairs) == 1 else 's'} with {total}"
