from __future__ import annotations

import re
from types import SimpleNamespace

from pytest_clip_robust.plugin.collector import uncompared
from pytest_clip_robust.report.terminal import ROWS_SHOWN, render_aspects, render_table, unmatched_keys

CHANGE = {"value": 0.7, "difference": -0.1, "p_worse": 0.00012, "p_better": 1.0, "tolerance": 0.01}


def record(
    name="zero_shot.top1[photos]",
    *,
    verdict="passed",
    value=0.6,
    bound=0.5,
    low=0.55,
    high=0.65,
    model="A",
    change=None,
    known=False,
    place=0,
):
    metric, dataset = re.fullmatch(r"(.*)\[(.*)\]", name).groups()
    return {
        "verdict": verdict,
        "failed": verdict in {"regressed", "below_threshold", "error"},
        "direction": "higher",
        "change": change,
        "known": known,
        "place": place,
        "model": model,
        "measurement": name,
        "metric": metric,
        "dataset": dataset.partition("/")[0],
        "value": value,
        "n": 1234,
        "interval": {"low": low, "high": high, "level": 0.95, "method": "Wilson"},
        "threshold": None if bound is None else f">= {bound}",
        "bound": bound,
        "within_noise": bound is not None and low <= bound <= high,
    }


def lines(records, width=120, **options):
    return render_table(records, width=width, colour=False, **options).splitlines()


def test_errors_come_first_then_failures_then_the_narrowest_pass():
    error = {"verdict": "error", "failed": True, "model": "A", "measurement": "test_broken", "message": "no"}
    table = lines(
        [
            record("wide[photos]", bound=0.1),
            record("narrow[photos]", bound=0.54),
            record("far_below[photos]", verdict="below_threshold", bound=0.95),
            record("just_below[photos]", verdict="below_threshold", bound=0.7),
            record("unjudged[photos]", bound=None),
            error,
        ]
    )
    names = [line.split()[1] for line in table[1:7]]
    assert [name.partition("[")[0] for name in names] == [
        "test_broken", "far_below", "just_below", "narrow", "wide", "unjudged",
    ]  # fmt: skip


def test_columns_are_aligned_and_show_value_interval_threshold_and_n():
    header, row, *_ = lines([record()])
    assert row.split() == ["passed", "zero_shot.top1[photos]", "0.6000", "0.5500", "to", "0.6500", ">=", "0.5", "1,234"]
    assert header.index("measurement") == row.index("zero_shot.top1")


def test_the_model_is_a_column_only_where_there_are_several():
    assert "model" not in lines([record()])[0]
    assert "model" in lines([record(), record(model="B")])[0]


def test_a_threshold_inside_the_interval_is_marked_and_the_mark_explained():
    table = lines([record(bound=0.57)])
    assert table[1].startswith("passed ~")
    assert "~ the threshold is inside the interval" in table[-1]


def test_passes_beyond_the_limit_are_counted_and_failures_never_hidden():
    records = [record(f"m{i}[photos]", verdict="below_threshold", bound=0.9) for i in range(ROWS_SHOWN + 5)]
    records += [record(f"p{i}[photos]") for i in range(ROWS_SHOWN + 7)]
    table = lines(records)
    assert sum(line.startswith("below_threshold") for line in table) == ROWS_SHOWN + 5
    assert sum(line.startswith("passed") for line in table) == ROWS_SHOWN
    assert "7 passed not shown" in table[-1]
    assert "not shown" not in lines(records, every=True)[-1]


def test_where_anything_was_compared_passes_are_only_counted():
    verdicts = ["passed", "improved", "inconclusive", "below_threshold", "regressed", "error"]
    table = lines([record(f"{one}[photos]", verdict=one, change=CHANGE) for one in verdicts])
    assert [line.split()[0] for line in table[1:-1]] == verdicts[:0:-1]
    assert table[-1].endswith("1 passed not shown (-v shows all)")


def test_a_comparison_shows_the_value_before_the_difference_and_p():
    header, row, *_ = lines([record(verdict="regressed", change=CHANGE)])
    assert header.split()[:6] == ["verdict", "measurement", "value", "before", "difference", "p"]
    assert row.split()[:6] == ["regressed", "zero_shot.top1[photos]", "0.6000", "0.7000", "-0.1000", "0.0001"]


def test_the_largest_change_in_tolerances_comes_first():
    changes = {"a": (-0.02, 0.01), "b": (-0.03, 0.05), "c": (-0.1, 0.01)}
    records = [
        record(f"{name}[x]", verdict="regressed", change={**CHANGE, "difference": difference, "tolerance": tolerance})
        for name, (difference, tolerance) in changes.items()
    ]
    assert [line.split()[1] for line in lines(records)[1:4]] == ["c[x]", "a[x]", "b[x]"]


def test_gates_without_a_baseline_are_counted_by_model(tmp_path):
    run = SimpleNamespace(reference=None, models=(), baselines=tmp_path, baseline_name="")
    known = record(change=CHANGE, known=True)
    assert uncompared(run, [known], seen_from=tmp_path) == []
    assert uncompared(run, [record(), known], seen_from=tmp_path) == [
        "no baseline yet for 1 of 2 gates of A; record one with --snapshot-update"
    ]
    assert uncompared(run, [record(), known, record(model="B")], seen_from=tmp_path)[1] == (
        "no baseline yet for any gate of B; record one with --snapshot-update"
    )
    assert uncompared(run, [record(known=True)], seen_from=tmp_path) == []
    assert uncompared(SimpleNamespace(reference="other"), [record()], seen_from=tmp_path) == []


def test_the_tally_counts_every_verdict():
    assert lines([record(), record(verdict="below_threshold", bound=0.9)])[-1].startswith("1 below_threshold, 1 passed")


def test_foreign_names_cannot_drive_the_terminal():
    table = render_table([record("m[\x1b[31mred]")], width=120, colour=False)
    assert "\x1b" not in table
    assert "\\x1b[31mred" in table


def test_rich_markup_in_names_stays_text():
    assert "m[[bold]x[/bold]]" in render_table([record("m[[bold]x[/bold]]")], width=120, colour=False)


def test_keys_that_match_no_measurement_are_named_with_the_nearest():
    (line,) = unmatched_keys("thresholds", ["zero_shot.top1", "zero_shot.topl"], [record()])
    assert line == (
        "thresholds that match no measurement: zero_shot.topl (did you mean 'zero_shot.top1' or "
        "'zero_shot.top1[photos]'?); correct their names or remove them"
    )
    assert "m8, m9 and 4 more; correct" in unmatched_keys("tolerances", [f"m{i}" for i in range(14)], [record()])[0]
    assert unmatched_keys("thresholds", ["zero_shot.top1[photos]"], [record()]) == []


def test_aspects_have_a_line_each_with_verdicts_and_the_first_value():
    records = [
        record("b.two[x]", place=3, value=0.25),
        record("a.two[x]", verdict="regressed", place=2),
        record("a.one[x]", place=1, value=0.75),
        record("c.one[x]", place=4),
    ]
    header, *rows = render_aspects(records, width=120, colour=False).splitlines()
    assert header.split() == ["aspect", "gates", "verdicts", "for", "example"]
    assert rows[0].split() == ["a", "2", "1", "regressed,", "1", "passed", "a.one[x]", "=", "0.7500"]
    assert rows[1].split() == ["b", "1", "1", "passed", "b.two[x]", "=", "0.2500"]


def test_few_aspects_need_no_table_of_their_own():
    assert render_aspects([record("a.one[x]"), record("b.one[x]")], width=120, colour=False) == ""
