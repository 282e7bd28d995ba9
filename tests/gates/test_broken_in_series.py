"""Where a gate broke along a series of checkpoints, found by as few measurements as possible."""

from __future__ import annotations

from math import ceil, log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.gates.series import bisect, broken_gates
from pytest_clip_robust.report.series import break_lines, render_series, short_labels

LABELS = [f"ViT-B-32@runs/42/epoch_{number}.pt" for number in range(100)]


def records(**gates):
    """Return records of gates: a value, or the name of a verdict with it."""
    return {
        name: {"verdict": given[0] if isinstance(given, tuple) else "passed",
               **({} if given == ("error",) else {"value": given[-1] if isinstance(given, tuple) else given})}
        for name, given in gates.items()
    }  # fmt: skip


def breaking(places):
    """Return a function that measures a checkpoint of gates that break at `places`, and the list of its calls."""
    calls = []

    def measure(place):
        calls.append(place)
        return records(**{name: ("regressed", 0.4) if place >= first else 0.5 for name, first in places.items()})

    return measure, calls


@given(st.integers(1, 200), st.dictionaries(st.sampled_from("abcd"), st.integers(0, 250), max_size=4))
def test_bisection_finds_the_first_broken_checkpoint_of_every_gate(length, places):
    measure, calls = breaking(places)
    measured = bisect(length, measure)
    found = {one.measurement: one for one in broken_gates(measured)}
    assert set(found) == {name for name, first in places.items() if first < length}
    for name, one in found.items():
        assert one.first == places[name]
        assert one.sound == (places[name] - 1 if places[name] else None)
    assert len(calls) == len(set(calls)) == len(measured)
    distinct = len({first for first in places.values() if 0 < first < length})
    assert len(calls) <= 2 + distinct * ceil(log2(max(length, 2)))


def test_a_hundred_checkpoints_take_nine_runs():
    measure, calls = breaking({"a": 37})
    bisect(100, measure)
    assert len(calls) <= 9


def test_one_checkpoint_is_measured_once():
    measure, calls = breaking({"a": 0})
    assert list(bisect(1, measure)) == calls == [0]


def test_an_empty_series_is_refused():
    with pytest.raises(ValueError, match="length=0"):
        bisect(0, lambda place: {})


def test_every_way_to_break_counts():
    measured = {
        0: records(a=0.5, b=0.5, c=0.5, d=0.5),
        1: records(a=("below_threshold", 0.3), b=("inconclusive", 0.4), c=("error",), d=("improved", 0.6)),
    }
    assert [(one.measurement, one.verdict, one.value) for one in broken_gates(measured)] == [
        ("a", "below_threshold", 0.3),
        ("c", "error", None),
    ]


def test_the_table_names_the_first_broken_checkpoint():
    measured = {
        0: records(**{"zero_shot.top1[x]": 0.70, "ece": 0.1}),
        7: records(**{"zero_shot.top1[x]": 0.68, "ece": 0.1}),
        8: records(**{"zero_shot.top1[x]": ("regressed", 0.61), "ece": 0.1}),
        99: records(**{"zero_shot.top1[x]": ("regressed", 0.60), "ece": ("below_threshold", 0.3)}),
    }
    lines = break_lines(LABELS, measured)
    assert lines == [
        "zero_shot.top1[x]: broke at epoch_8.pt (regressed, 0.68 -> 0.61); sound at epoch_7.pt",
        "ece: broke at epoch_99.pt, or at one of the 90 before it (below threshold, 0.1 -> 0.3); sound at epoch_8.pt",
    ]
    table = render_series(LABELS, measured, width=0, colour=False)
    assert "4 of 100 checkpoints measured: epoch_0.pt, epoch_7.pt, epoch_8.pt, epoch_99.pt" in table
    assert "█▇▂▁" in table


def test_a_sound_series_says_so():
    assert break_lines(LABELS, {0: records(a=1.0), 99: records(a=1.0)}) == ["no headline gate broke up to epoch_99.pt"]


def test_a_series_that_begins_broken_says_so():
    assert break_lines(LABELS, {0: records(a=("error",))}) == ["a: error at the first checkpoint, epoch_0.pt"]


@pytest.mark.parametrize(
    ("labels", "short"),
    [
        (["a/b/1", "a/b/2"], ["1", "2"]),
        (["local-dir:r/1/model", "local-dir:r/2/model"], ["1/model", "2/model"]),
        (["epoch_1.pt", "epoch_2.pt"], ["epoch_1.pt", "epoch_2.pt"]),
        (["x/\x1b1", "x/2"], ["\\x1b1", "2"]),
    ],
)
def test_labels_are_as_long_as_they_differ(labels, short):
    assert short_labels(labels) == short
