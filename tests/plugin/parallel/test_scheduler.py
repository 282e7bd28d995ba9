"""The scheduler against workers that behave as xdist's do, in every order of events that hypothesis finds."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.plugin.gpu import GpuNeed
from pytest_clip_robust.plugin.parallel.grouping import Need, group_tests
from pytest_clip_robust.plugin.parallel.scheduler import GroupScheduling


class FakeWorker:
    """Starts a test only when it knows the next one, or that there is none."""

    def __init__(self, gpus=None):
        self.queue, self.shutting_down, self.done, self.gpus = [], False, [], gpus

    def send_runtest_some(self, indices):
        assert not self.shutting_down
        self.queue += indices

    def shutdown(self):
        self.shutting_down = True

    @property
    def can_run(self):
        return len(self.queue) > 1 or (self.queue and self.shutting_down)


class Run:
    """What xdist's session does with a scheduler."""

    def __init__(self, tests, workers, *, seconds=(), reference="", gpus=()):
        """Tests are (model, sets), or (model, sets, need of GPUs)."""
        self.ids = [f"t.py::test_{i}" for i in range(len(tests))]
        needs = {
            nodeid: Need(model, tuple(sets), gpu=need[0] if need else None)
            for nodeid, (model, sets, *need) in zip(self.ids, tests, strict=True)
        }
        known = dict(zip(self.ids, seconds, strict=False))
        self.groups = group_tests(self.ids, needs, known, reference=reference)
        self.scheduler = GroupScheduling(workers, lambda ids: self.groups, gpus=lambda worker: worker.gpus)
        self.alive, self.ran, self.crashed = [], [], []
        for number in range(workers):
            self.arrive(gpus[number] if gpus else None)
        self.collect(*self.alive)

    def arrive(self, gpus=None):
        worker = FakeWorker(gpus)
        self.alive.append(worker)
        self.scheduler.add_node(worker)
        return worker

    def collect(self, *workers):
        for worker in workers:
            self.scheduler.add_node_collection(worker, self.ids)
            if self.scheduler.collection_is_completed:
                self.scheduler.schedule()

    def step(self, worker, *, skipped=False):
        place = worker.queue[0]
        if not skipped:
            self.scheduler.note_ran(self.ids[place])
        worker.queue.pop(0)
        worker.done.append(place)
        self.ran.append(place)
        self.scheduler.mark_test_complete(worker, place, 1.0)

    def kill(self, worker, *, again=False):
        self.alive.remove(worker)
        crashed = self.scheduler.remove_node(worker)
        if crashed is not None:
            self.crashed.append(self.ids.index(crashed))
        if again:
            self.scheduler.mark_test_pending(crashed)
        self.collect(self.arrive(worker.gpus))

    def finish(self, pick=lambda able: able[0]):
        while able := [worker for worker in self.alive if worker.can_run]:
            self.step(pick(able))
        assert self.scheduler.tests_finished
        assert not self.scheduler.has_pending
        assert all(worker.shutting_down for worker in self.alive)


needs_of_gpus = st.none() | st.builds(GpuNeed, st.integers(1, 3), st.sampled_from([0.0, 8.0, 16.0]))
gpus_of_workers = st.lists(st.none() | st.lists(st.sampled_from([4.0, 8.0, 16.0]), max_size=3), min_size=1, max_size=5)

tests_of_runs = st.lists(
    st.tuples(st.sampled_from(["", "a", "b"]), st.sets(st.sampled_from("wxyz"), max_size=3)), max_size=25
)


@given(tests=tests_of_runs, workers=st.integers(1, 5), reference=st.sampled_from(["", "r"]), data=st.data())
def test_whatever_happens_every_test_runs_once_or_dies_once_and_nothing_hangs(tests, workers, reference, data):
    run = Run(tests, workers, reference=reference)
    for _ in range(data.draw(st.integers(0, 40))):
        able = [worker for worker in run.alive if worker.can_run]
        if not able:
            break
        worker = data.draw(st.sampled_from(run.alive))
        if data.draw(st.integers(0, 9)) == 0:
            run.kill(worker)
        elif worker.can_run:
            run.step(worker, skipped=data.draw(st.booleans()))
    run.finish(lambda able: data.draw(st.sampled_from(able)))
    assert Counter(run.ran + run.crashed) == Counter(range(len(tests)))


@given(
    tests=st.lists(st.tuples(st.sampled_from(["", "a"]), st.sets(st.sampled_from("wx")), needs_of_gpus), max_size=20),
    gpus=gpus_of_workers,
    data=st.data(),
)
def test_tests_that_ask_for_gpus_run_where_these_are_whoever_dies_and_nothing_hangs(tests, gpus, data):
    run = Run(tests, len(gpus), gpus=gpus)
    everybody = list(run.alive)
    for _ in range(data.draw(st.integers(0, 30))):
        able = [worker for worker in run.alive if worker.can_run]
        if not able:
            break
        worker = data.draw(st.sampled_from(run.alive))
        if data.draw(st.integers(0, 5)) == 0:
            run.kill(worker)
            everybody.append(run.alive[-1])
        elif worker.can_run:
            run.step(worker)
    run.finish(lambda able: data.draw(st.sampled_from(able)))
    assert Counter(run.ran + run.crashed) == Counter(range(len(tests)))
    for worker in everybody:
        for need in (tests[place][2] for place in worker.done):
            fits = [one is None or need is None or need.fits(one) for one in (worker.gpus, *gpus)]
            assert fits[0] or not any(fits)


@given(tests=tests_of_runs, workers=st.integers(1, 5), data=st.data())
def test_a_group_runs_in_a_row_on_one_worker(tests, workers, data):
    run = Run(tests, workers)
    run.finish(lambda able: data.draw(st.sampled_from(able)))
    for group in run.groups:
        (home,) = [worker for worker in run.alive if set(group.tests) & set(worker.done)]
        start = home.done.index(group.tests[0])
        assert home.done[start : start + len(group.tests)] == list(group.tests)


@given(sizes=st.lists(st.integers(2, 4), min_size=1, max_size=5), workers=st.integers(1, 4), data=st.data())
def test_no_set_is_encoded_by_two_workers_at_once(sizes, workers, data):
    """All sets are compared with the first, as suites do with the ID set; the first test of a set encodes it."""
    tests = [("a", {str(i)}) for i, size in enumerate(sizes) for _ in range(size)]
    tests += [("a", {"0", str(i)}) for i in range(1, len(sizes)) for _ in range(2)]
    run = Run(tests, workers)
    encoded = set()
    while able := [worker for worker in run.alive if worker.can_run]:
        needed = Counter(name for worker in able for name in tests[worker.queue[0]][1] - encoded)
        assert all(count == 1 for count in needed.values())
        worker = data.draw(st.sampled_from(able))
        encoded |= tests[worker.queue[0]][1]
        run.step(worker)
    assert len(run.ran) == len(tests)


def test_the_heaviest_group_goes_first_by_what_tests_took_last_time():
    tests = [("a", {"w"}), ("a", {"w"}), ("a", {"x"}), ("a", {"y"}), ("", ())]
    run = Run(tests, 1, seconds=[1, 1, 3, 9, 99])
    run.finish()
    assert run.ran == [3, 2, 0, 1, 4]


def test_a_test_of_unknown_length_counts_as_a_usual_one():
    groups = group_tests(["a.py::x", "a.py::y", "a.py::z"], {}, {"a.py::x": 2.0, "a.py::y": 4.0})
    assert [group.seconds for group in groups] == [2.0, 4.0, 3.0]


def test_a_worker_stays_with_the_model_it_has_loaded():
    tests = [("a", {"w"}), ("b", {"w"}), ("a", {"x"}), ("b", {"x"}), ("a", {"y"}), ("b", {"y"})]
    run = Run(tests, 2)
    for _ in range(3):
        for worker in list(run.alive):
            if worker.can_run:
                run.step(worker)
    run.finish()
    switches = [sum(tests[one][0] != tests[two][0] for one, two in pairwise(w.done)) for w in run.alive]
    assert sum(switches) <= 1


def test_what_only_one_worker_holds_goes_first_there():
    tests = [("a", {"w"}), ("a", {"x"}), ("a", {"y"}, GpuNeed(2)), ("", (), GpuNeed(2))]
    run = Run([(*test, None)[:3] for test in tests], 2, seconds=[9, 8, 1, 1], gpus=[[8.0], [8.0, 8.0]])
    assert run.alive[1].queue[0] == 2
    run.finish()
    assert set(run.alive[1].done) >= {2, 3}


def test_workers_share_what_there_is_before_anyone_has_two():
    run = Run([("a", {"w"}), ("a", {"x"})], 2)
    assert [worker.queue for worker in run.alive] == [[0], [1]]


def test_a_worker_that_waits_for_a_set_gets_its_group_once_the_set_is_there():
    run = Run([("a", {"w"}), ("a", {"w"}), ("a", {"w"}), ("a", {"w", "x"}), ("a", {"w", "x"})], 2)
    first, second = run.alive
    assert (first.queue, second.queue) == ([0, 1, 2], [])
    run.step(first, skipped=True)
    assert second.queue == []
    run.step(first)
    assert (first.queue, second.queue) == ([2], [3, 4])


def test_tests_of_a_reference_are_done_in_one_place_too():
    groups = group_tests(["t::a", "t::b"], {"t::a": Need("a", ("w",)), "t::b": Need("b", ("w",))}, {}, reference="r")
    assert [group.encodes for group in groups] == [{("a", "w"), ("r", "w")}, {("b", "w"), ("r", "w")}]


def test_tests_of_a_model_whose_sets_nobody_knows_are_gathered_by_file():
    ids = ["one.py::x", "two.py::x", "one.py::y", "one.py::unit", "one.py::unit2"]
    needs = {nodeid: Need("a") for nodeid in ids[:3]}
    assert [group.tests for group in group_tests(ids, needs, {})] == [(0, 2), (1,), (3,), (4,)]


def test_a_worker_that_dies_before_it_starts_its_last_test_costs_nothing():
    run = Run([("a", {"w"}), ("a", {"w"}), ("a", {"w", "x"}), ("a", {"x"}), ("a", {"x"}), ("a", {"x"})], 2)
    first, second = run.alive
    assert (first.queue, second.queue) == ([3, 4, 5], [0, 1])
    run.step(second)
    assert second.queue == [1]  # it waits: what is left needs the set that the first is encoding
    run.kill(second)
    run.finish()
    assert run.crashed == []
    assert sorted(run.ran) == list(range(6))


def test_a_test_that_a_plugin_wants_again_runs_again():
    run = Run([("a", {"w"})] * 3, 1)
    run.kill(run.alive[0], again=True)
    run.finish()
    assert sorted(run.ran) == [0, 1, 2]


def test_other_tests_on_another_worker_are_refused():
    run = Run([("a", {"w"})] * 3, 1)
    run.alive[0].queue.clear()
    with pytest.raises(pytest.UsageError, match=r"collected different tests \(t.py::test_2\); parametrize tests"):
        run.scheduler.add_node_collection(run.arrive(), run.ids[:2])
    with pytest.raises(pytest.UsageError, match="the same tests in another order"):
        run.scheduler.add_node_collection(run.arrive(), run.ids[::-1])


def test_a_worker_that_is_unknown_is_a_key_error_as_xdist_expects():
    with pytest.raises(KeyError):
        Run([], 1).scheduler.remove_node(FakeWorker())


def test_a_worker_that_dies_before_all_have_collected_is_awaited_in_its_replacement():
    scheduler = GroupScheduling(2, lambda ids: group_tests(ids, {}, {}))
    one, two = FakeWorker(), FakeWorker()
    for worker in (one, two):
        scheduler.add_node(worker)
    scheduler.add_node_collection(one, ["x"])
    assert scheduler.remove_node(one) is None
    scheduler.add_node_collection(two, ["x"])
    assert not scheduler.collection_is_completed
    assert not scheduler.tests_finished
