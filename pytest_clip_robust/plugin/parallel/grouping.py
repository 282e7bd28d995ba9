"""Groups of tests that run on one worker: tests of one model that need the same data sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_clip_robust.plugin.gpu import GpuNeed

UNKNOWN_SECONDS = 1.0
"""The assumed duration of a test if no duration is known from an earlier run."""

Encode = tuple[str, str]
"""A model's label and the name of a data set: work that one worker should do."""


@dataclass(frozen=True, slots=True)
class Need:
    """The needs of a test: its model's label or ``""``, the data sets that are known before it runs, and GPUs.

    title: the test's name without its model, for the report of a crash.
    """

    model: str = ""
    sets: tuple[str, ...] = ()
    title: str = ""
    gpu: GpuNeed | None = None

    @property
    def matters(self) -> bool:
        """Whether it matters on which worker the test runs."""
        return bool(self.model) or self.gpu is not None

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Need:
        """Return the need that `dataclasses.asdict` and JSON made `plain`."""
        gpu = plain["gpu"]
        return cls(**{**plain, "sets": tuple(plain["sets"]), "gpu": None if gpu is None else GpuNeed(**gpu)})


@dataclass(frozen=True, slots=True)
class Group:
    """Tests that one worker runs in a row.

    tests: their positions in the collection. seconds: their expected duration.
    gpu: what the worker must have, or None for any worker.
    """

    tests: tuple[int, ...]
    seconds: float
    model: str = ""
    encodes: frozenset[Encode] = frozenset()
    gpu: GpuNeed | None = None


def group_tests(
    nodeids: Sequence[str], needs: Mapping[str, Need], seconds: Mapping[str, float], *, reference: str = ""
) -> list[Group]:
    """Return the tests of a collection in groups.

    nodeids: every test. needs: by test; a test without an entry needs nothing. seconds: durations in the last run.
    reference: the label of the reference model that every test also runs for, or ``""``.

    Tests of a model whose data sets are not known in advance are grouped by file, since a file is likely to share them;
    a test without a model is its own group. Tests that ask for GPUs are separate from those that do not.
    """
    usual = sum(seconds.values()) / len(seconds) if seconds else UNKNOWN_SECONDS
    members: dict[tuple[GpuNeed | str | None, ...], list[int]] = {}
    for place, nodeid in enumerate(nodeids):
        need = needs.get(nodeid, Need())
        members.setdefault((need.gpu, *_key(nodeid, need)), []).append(place)
    groups = []
    for places in members.values():
        need = needs.get(nodeids[places[0]], Need())
        models = [need.model, reference] if reference else [need.model]
        groups.append(
            Group(
                tests=tuple(places),
                seconds=sum(seconds.get(nodeids[place], usual) for place in places),
                model=need.model,
                encodes=frozenset((model, name) for model in models for name in need.sets)
                if need.model
                else frozenset(),
                gpu=need.gpu,
            )
        )
    return groups


def _key(nodeid: str, need: Need) -> tuple[str, ...]:
    if not need.model:
        return ("test", nodeid)
    if not need.sets:
        return ("file", need.model, nodeid.partition("::")[0])
    return ("sets", need.model, *sorted(need.sets))
