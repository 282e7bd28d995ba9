"""Hands whole groups of tests to xdist's workers, and outlives a worker that dies.

Written against xdist's Scheduling protocol and not on top of its loadgroup, which does not group under pytest 9.2
(pytest-dev/pytest-xdist#1386), runs the test that killed a worker again (#1371), or hangs on the replacement (#1323).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import pytest

from pytest_clip_robust.plugin.parallel.grouping import Group
from pytest_clip_robust.plugin.parallel.queue import GroupQueue


class Worker(Protocol):
    """What is used of xdist's WorkerController."""

    @property
    def shutting_down(self) -> bool:
        """Whether it takes no more tests."""

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        """Queue tests on the worker."""

    def shutdown(self) -> None:
        """Let the worker end after what it has queued."""


class GroupScheduling:
    """A scheduler for `workers` workers at the start; `group` gathers a collection's node ids into groups.

    `gpus` says how many GiB a worker may use on each of its GPUs, or None where that is not known. A group that asks
    for GPUs waits for a worker that has them; if there is none, anybody runs it, and its tests say what they lack.

    A worker starts a test only when it knows the next one, or that there is none. So everybody is kept at two or more,
    and one left over is a test that did not start.
    """

    def __init__(
        self,
        workers: int,
        group: Callable[[Sequence[str]], list[Group]],
        *,
        gpus: Callable[[Any], Sequence[float] | None] = lambda _: None,
    ) -> None:
        self._gpus = gpus
        self._met: list[Sequence[float] | None] = []  # those of the dead count: their replacements have the same
        self._workers = workers
        self._group = group
        self._collection: list[str] | None = None
        self._collected: dict[Worker, list[str]] = {}
        self._sent: dict[Worker, list[int]] = {}
        self._dismissed: set[Worker] = set()
        self._group_of: dict[int, Group] = {}
        self._place_of: dict[str, int] = {}
        self._unfinished: dict[Group, int] = {}
        self._backlog = GroupQueue([])
        self.seconds: dict[str, float] = {}

    @property
    def nodes(self) -> list[Worker]:
        """The workers that are alive."""
        return list(self._sent)

    @property
    def collection_is_completed(self) -> bool:
        """Whether tests can be handed out; a worker that dies later does not change it, or xdist would give up."""
        return self._collection is not None or len(self._collected) >= self._workers

    @property
    def tests_finished(self) -> bool:
        """Whether all that is left is running, or starts on shutdown."""
        return self.collection_is_completed and not self._backlog and all(len(left) < 2 for left in self._sent.values())

    @property
    def has_pending(self) -> bool:
        """Whether there is anything to run or running."""
        return bool(self._backlog) or any(self._sent.values())

    def add_node(self, node: Worker) -> None:
        """Meet a worker that is about to collect."""
        self._met.append(self._gpus(node))
        self._sent[node] = []

    def add_node_collection(self, node: Worker, collection: Sequence[str]) -> None:
        """Learn what a worker collected.

        Raises:
            pytest.UsageError: it is not what the others did, so that places would mean other tests.
        """
        others = self._collection or next(iter(self._collected.values()), collection)
        if list(collection) != list(others):
            odd = next(iter(set(collection) ^ set(others)), "the same tests in another order")
            raise pytest.UsageError(f"the workers collected different tests ({odd}): sort what parametrises them")
        self._collected[node] = list(collection)

    def schedule(self) -> None:
        """Make the groups once everybody has collected, and feed whoever is hungry."""
        if self._collection is None:
            self._collection = next(iter(self._collected.values()))
            self._place_of = {nodeid: place for place, nodeid in enumerate(self._collection)}
            groups = self._group(self._collection)
            self._group_of = {place: group for group in groups for place in group.tests}
            self._unfinished = {group: len(group.tests) for group in groups}
            self._backlog = GroupQueue(groups)
        self._feed()

    def mark_test_complete(self, node: Worker, item_index: int, duration: float = 0) -> None:
        """Learn that a worker is through with a test, after `duration` seconds."""
        assert self._collection is not None  # noqa: S101 - nothing runs before it is set
        self._sent[node].remove(item_index)
        self.seconds[self._collection[item_index]] = duration
        self._count_off(item_index)
        self._feed()

    def mark_test_pending(self, item: str) -> None:
        """Run a test again; plugins ask for it that rerun what crashed."""
        place = self._place_of[item]
        whole = self._group_of[place]
        self._unfinished[whole] += 1
        self._backlog.give_back(None, [(whole, (place,))])
        self._feed()

    def remove_pending_tests_from_node(self, node: Worker, indices: Sequence[int]) -> None:
        """Refuse: nothing here steals tests."""
        raise NotImplementedError

    def remove_node(self, node: Worker) -> str | None:
        """Forget a worker and return the test it died in, which is not run again; the others are."""
        left = self._sent.pop(node)
        self._collected.pop(node, None)
        if self._collection is None:
            return None
        crashed = None
        if left and (len(left) > 1 or node in self._dismissed):
            place = left.pop(0)
            self._count_off(place)
            crashed = self._collection[place]
        owners = list(dict.fromkeys(self._group_of[place] for place in left))
        self._backlog.give_back(
            node, [(group, tuple(place for place in left if self._group_of[place] is group)) for group in owners]
        )
        self._feed()
        return crashed

    def note_ran(self, nodeid: str) -> None:
        """Learn that a test came through its call, so that whatever it needs is encoded by now."""
        self._backlog.note_encoded(self._group_of[self._place_of[nodeid]])

    def _count_off(self, place: int) -> None:
        group = self._group_of[place]
        self._unfinished[group] -= 1
        if not self._unfinished[group]:
            self._backlog.note_encoded(group)

    def _feed(self) -> None:
        """Keep everybody at two tests or more; let those end for whom there is nothing left.

        First come groups that wait for nobody. Then those that would only wait for workers who do nothing themselves,
        each with a last test that starts only when another is sent.
        """
        while self._hand_round(patient=True) or self._hand_round(patient=False):
            continue
        if not self._backlog:
            for node in self._collected:
                if not node.shutting_down:
                    self._dismissed.add(node)
                    node.shutdown()

    def _hand_round(self, *, patient: bool) -> bool:
        """Give one group to each hungry worker, the idle first, and tell whether anyone got one."""
        served = False
        for node in sorted(self._collected, key=lambda node: len(self._sent[node])):
            if len(self._sent[node]) > 1 or node.shutting_down:
                continue
            working = self.nodes if patient else self._working()
            group = self._backlog.take(node, working=working, holds=partial(self._holds, self._gpus(node)))
            if group is not None:
                self._sent[node] += group.tests
                node.send_runtest_some(list(group.tests))
                served = True
        return served

    def _holds(self, gpus: Sequence[float] | None, group: Group) -> bool:
        """Tell whether a worker with `gpus` is the right one for `group`, or as wrong as any other."""
        return _fits(group, gpus) or not any(_fits(group, others) for others in self._met)

    def _working(self) -> set[Worker]:
        return {node for node, left in self._sent.items() if len(left) > 1 or (left and node in self._dismissed)}


def _fits(group: Group, gpus: Sequence[float] | None) -> bool:
    return group.gpu is None or gpus is None or group.gpu.fits(gpus)
