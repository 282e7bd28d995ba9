"""The groups that no worker has yet, and which data sets are being encoded where.

A group waits while another worker is encoding one of its sets: to encode it twice would give the same features. It
never waits for a worker that does nothing, so nothing hangs; then two may encode one set, which costs time alone.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import replace

from pytest_clip_robust.plugin.parallel.grouping import Encode, Group


class GroupQueue:
    """Hands groups to workers: of the model a worker has loaded before others, then the heaviest first."""

    def __init__(self, groups: Iterable[Group]) -> None:
        self._waiting = sorted(groups, key=_rank)
        self._encoder: dict[Encode, object] = {}
        self._encoded: set[Encode] = set()
        self._loaded: dict[object, str] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def take(
        self, worker: object, *, working: Container[object], holds: Callable[[Group], bool] = lambda _: True
    ) -> Group | None:
        """Give `worker` a group that it `holds`, or None where all such wait for an encode on one of the `working`."""
        loaded = self._loaded.get(worker, "")
        chosen: Group | None = None
        for group in self._waiting:
            if not holds(group) or self._waits(group, worker, working):
                continue
            chosen = chosen or group
            if not loaded or not group.model:
                break  # groups without a model come last: none of the loaded one follows
            if group.model == loaded:
                chosen = group
                break
        if chosen is None:
            return None
        self._waiting.remove(chosen)
        for encode in chosen.encodes - self._encoded:
            self._encoder[encode] = worker
        if chosen.model:
            self._loaded[worker] = chosen.model
        return chosen

    def note_encoded(self, group: Group) -> None:
        """Note that the sets of `group` are in the store, where every worker finds them."""
        self._encoded |= group.encodes
        for encode in group.encodes:
            self._encoder.pop(encode, None)

    def give_back(self, worker: object, groups: Iterable[tuple[Group, tuple[int, ...]]]) -> None:
        """Take back from a dead `worker` its groups, each with the tests that it did not run."""
        self._encoder = {encode: owner for encode, owner in self._encoder.items() if owner != worker}
        self._loaded.pop(worker, None)
        self._waiting += [_part(group, tests) for group, tests in groups if tests]
        self._waiting.sort(key=_rank)

    def _waits(self, group: Group, worker: object, working: Container[object]) -> bool:
        owners = (self._encoder.get(encode, worker) for encode in group.encodes)
        return any(owner != worker and owner in working for owner in owners)


def _rank(group: Group) -> tuple[bool, bool, float, int]:
    """Order groups: models before the rest, few workers' before anyone's, the heaviest first, then as collected."""
    return (not group.model, group.gpu is None, -group.seconds, group.tests[0])


def _part(group: Group, tests: tuple[int, ...]) -> Group:
    return replace(group, tests=tests, seconds=group.seconds * len(tests) / len(group.tests))
