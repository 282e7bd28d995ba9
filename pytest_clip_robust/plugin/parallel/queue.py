"""Queue of the groups that no worker has yet; it knows which worker encodes which data set.

A group waits while another worker encodes one of its data sets, since encoding it twice would give the same features.
It never waits for an idle worker, so the run cannot hang; two workers can then encode the same set, which only costs
time.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import replace

from pytest_clip_robust.plugin.parallel.grouping import Encode, Group


class GroupQueue:
    """Hands groups to workers: groups of the model that the worker has loaded first, then the longest first."""

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
        """Remove and return a group for `worker` for which `holds` is true.

        None if all those groups wait for a data set that one of the `working` encodes.
        """
        loaded = self._loaded.get(worker, "")
        chosen: Group | None = None
        for group in self._waiting:
            if not holds(group) or self._waits(group, worker, working):
                continue
            chosen = chosen or group
            if not loaded or not group.model:
                break  # groups without a model come last, so no group of the loaded model follows
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
        """Note that the sets of `group` are in the feature store, where every worker finds them."""
        self._encoded |= group.encodes
        for encode in group.encodes:
            self._encoder.pop(encode, None)

    def give_back(self, worker: object, groups: Iterable[tuple[Group, tuple[int, ...]]]) -> None:
        """Put back the groups of a dead `worker`, each with the tests that it did not run."""
        self._encoder = {encode: owner for encode, owner in self._encoder.items() if owner != worker}
        self._loaded.pop(worker, None)
        self._waiting += [_part(group, tests) for group, tests in groups if tests]
        self._waiting.sort(key=_rank)

    def _waits(self, group: Group, worker: object, working: Container[object]) -> bool:
        owners = (self._encoder.get(encode, worker) for encode in group.encodes)
        return any(owner != worker and owner in working for owner in owners)


def _rank(group: Group) -> tuple[bool, bool, float, int]:
    """Return a sort key: groups with a model first, then those that need GPUs, the longest, and the first collected."""
    return (not group.model, group.gpu is None, -group.seconds, group.tests[0])


def _part(group: Group, tests: tuple[int, ...]) -> Group:
    return replace(group, tests=tests, seconds=group.seconds * len(tests) / len(group.tests))
