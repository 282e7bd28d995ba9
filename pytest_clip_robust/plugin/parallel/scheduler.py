"""Scheduler that sends whole groups of tests to xdist's workers, and survives the death of a worker.

Written against xdist's Scheduling protocol and not on top of its loadgroup, which does not group under pytest 9.2
(pytest-dev/pytest-xdist#1386), runs the test that killed a worker again (#1371), or hangs when a worker is replaced
(#1323).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import pytest

from pytest_clip_robust.plugin.parallel.grouping import Group
from pytest_clip_robust.plugin.parallel.queue import GroupQueue


class Worker(Protocol):
    """The part of xdist's WorkerController that is used."""

    @property
    def shutting_down(self) -> bool:
        """Whether the worker accepts no more tests."""

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        """Queue tests on the worker."""

    def shutdown(self) -> None:
        """Make the worker end after the tests in its queue."""


class GroupScheduling:
    """A scheduler for `workers` workers at the start; `group` returns a collection's node ids in groups.

    `gpus` returns the GiB that a worker can use on each of its GPUs, or None if that is not known. A group that asks
    for GPUs waits for a worker that has them; if no worker does, any worker runs it, and its tests fail.

    A worker starts a test only when it knows the next test, or knows that this is its last one. So every worker always
    has two or more tests queued, and a single test left on a worker has not started.
    """

    def __init__(
        self,
        workers: int,
        group: Callable[[Sequence[str]], list[Group]],
        *,
        gpus: Callable[[Any], Sequence[float] | None] = lambda _: None,
    ) -> None:
        self._gpus = gpus
        self._gpus_seen: list[Sequence[float] | None] = []  # also of dead workers: their replacements have the same
        self._workers = workers
        self._group = group
        self._collection: list[str] | None = None
        self._collected: dict[Worker, list[str]] = {}
        self._sent: dict[Worker, list[int]] = {}
        self._dismissed: set[Worker] = set()
        self._group_of: dict[int, Group] = {}
        self._place_of: dict[str, int] = {}
        self._unfinished: dict[Group, int] = {}
        self._queue = GroupQueue([])
        self.seconds: dict[str, float] = {}

    @property
    def nodes(self) -> list[Worker]:
        """The workers that are alive."""
        return list(self._sent)

    @property
    def collection_is_completed(self) -> bool:
        """Whether tests can be sent; it stays true when a worker dies later, or xdist would give up."""
        return self._collection is not None or len(self._collected) >= self._workers

    @property
    def tests_finished(self) -> bool:
        """Whether all tests that are left are running, or start on shutdown."""
        return self.collection_is_completed and not self._queue and all(len(left) < 2 for left in self._sent.values())

    @property
    def has_pending(self) -> bool:
        """Whether tests are waiting or running."""
        return bool(self._queue) or any(self._sent.values())

    def add_node(self, node: Worker) -> None:
        """Add a worker that is about to collect."""
        self._gpus_seen.append(self._gpus(node))
        self._sent[node] = []

    def add_node_collection(self, node: Worker, collection: Sequence[str]) -> None:
        """Store what a worker collected.

        Raises:
            pytest.UsageError: it differs from what others collected, so that positions would mean other tests.
        """
        others = self._collection or next(iter(self._collected.values()), collection)
        if list(collection) != list(others):
            different = next(iter(set(collection) ^ set(others)), "the same tests in another order")
            raise pytest.UsageError(
                f"the workers collected different tests ({different}); parametrize tests in a fixed order"
            )
        self._collected[node] = list(collection)

    def schedule(self) -> None:
        """Make the groups once all workers have collected, and send the first ones."""
        if self._collection is None:
            self._collection = next(iter(self._collected.values()))
            self._place_of = {nodeid: place for place, nodeid in enumerate(self._collection)}
            groups = self._group(self._collection)
            self._group_of = {place: group for group in groups for place in group.tests}
            self._unfinished = {group: len(group.tests) for group in groups}
            self._queue = GroupQueue(groups)
        self._feed()

    def mark_test_complete(self, node: Worker, item_index: int, duration: float = 0) -> None:
        """Note that a worker has completed a test, in `duration` seconds."""
        assert self._collection is not None  # noqa: S101 - nothing runs before it is set
        self._sent[node].remove(item_index)
        self.seconds[self._collection[item_index]] = duration
        self._count_off(item_index)
        self._feed()

    def mark_test_pending(self, item: str) -> None:
        """Run a test again; plugins that rerun crashed tests ask for it."""
        place = self._place_of[item]
        whole = self._group_of[place]
        self._unfinished[whole] += 1
        self._queue.give_back(None, [(whole, (place,))])
        self._feed()

    def remove_pending_tests_from_node(self, node: Worker, indices: Sequence[int]) -> None:
        """Raise: this scheduler does not move tests between workers."""
        raise NotImplementedError

    def remove_node(self, node: Worker) -> str | None:
        """Remove a worker and return the test it died in, which is not run again; its other tests are."""
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
        self._queue.give_back(
            node, [(group, tuple(place for place in left if self._group_of[place] is group)) for group in owners]
        )
        self._feed()
        return crashed

    def note_ran(self, nodeid: str) -> None:
        """Note that a test completed its call, so that everything it needs is encoded."""
        self._queue.note_encoded(self._group_of[self._place_of[nodeid]])

    def _count_off(self, place: int) -> None:
        group = self._group_of[place]
        self._unfinished[group] -= 1
        if not self._unfinished[group]:
            self._queue.note_encoded(group)

    def _feed(self) -> None:
        """Keep every worker at two tests or more, and shut workers down if no group is left.

        First send groups that do not wait for a data set. Then send those that would only wait for idle workers, whose
        last test starts only when another one is sent.
        """
        while self._send_groups(patient=True) or self._send_groups(patient=False):
            continue
        if not self._queue:
            for node in self._collected:
                if not node.shutting_down:
                    self._dismissed.add(node)
                    node.shutdown()

    def _send_groups(self, *, patient: bool) -> bool:
        """Send one group to each worker with fewer than two tests, idle ones first; return whether any was sent."""
        sent = False
        for node in sorted(self._collected, key=lambda node: len(self._sent[node])):
            if len(self._sent[node]) > 1 or node.shutting_down:
                continue
            working = self.nodes if patient else self._working()
            group = self._queue.take(node, working=working, holds=partial(self._holds, self._gpus(node)))
            if group is not None:
                self._sent[node] += group.tests
                node.send_runtest_some(list(group.tests))
                sent = True
        return sent

    def _holds(self, gpus: Sequence[float] | None, group: Group) -> bool:
        """Return whether a worker with `gpus` has what `group` needs, or no other worker has."""
        return _fits(group, gpus) or not any(_fits(group, others) for others in self._gpus_seen)

    def _working(self) -> set[Worker]:
        return {node for node, left in self._sent.items() if len(left) > 1 or (left and node in self._dismissed)}


def _fits(group: Group, gpus: Sequence[float] | None) -> bool:
    return group.gpu is None or gpus is None or group.gpu.fits(gpus)
