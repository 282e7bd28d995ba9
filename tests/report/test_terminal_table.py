from __future__ import annotations

import re
from types import SimpleNamespace

from pytest_clip_robust.plugin.collector import uncompared
from pytest_clip_robust.report.terminal import (
    HEADLINES,
    ROWS_SHOWN,
    level_line,
    render_aspects,
    render_gates,
    unmatched_keys,
)

CHANGE = {
    "value": 0.7,
    "difference": -0.1,
    "low": -0.15,
    "high": -0.05,
    "p_worse": 0.00012,
    "p_better": 1.0,
    "p_adjusted": 0.0024,
    "alpha": 0.05,
    "tolerance": 0.01,
    "trend": "worse",
}


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
    headline=False,
    at_chance=False,
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
        "subset": dataset.partition("/")[2],
        "value": value,
        "n": 1234,
        "interval": {"low": low, "high": high, "level": 0.95, "method": "Wilson"},
        "threshold": None if bound is None else f">= {bound}",
        "bound": bound,
        "headline": headline,
        "at_chance": at_chance,
        "within_noise": bound is not None and low <= bound <= high,
    }


def lines(records, width=140, **options):
    """Return the lines of one table and of what follows, without titles and empty lines."""
    text = render_gates(records, width=width, colour=False, **options)
    return [line for line in text.splitlines() if line and not re.match(r"headline gates: |details: ", line)]


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
    assert re.sub(r"  +", " ", header) == "verdict measurement before now difference 95 % interval adj. p threshold n"
    assert re.sub(r"  +", " ", row) == (
        "regressed zero_shot.top1[photos] 0.7000 0.6000 -0.1000 -0.1500 to -0.0500 0.0024 >= 0.5 1,234"
    )


def test_without_correction_p_is_shown_as_it_is():
    _, row, *_ = lines([record(verdict="regressed", change={**CHANGE, "p_adjusted": None})])
    assert " 0.00012 " in row


def test_headlines_are_all_shown_in_their_order_and_details_by_urgency():
    records = [record(f"h{i}[x]", headline=True, place=i, change=CHANGE) for i in (2, 1, 3)]
    records += [record("d1[x]", change=CHANGE), record("d2[x]", verdict="regressed", change=CHANGE)]
    text = render_gates(records, width=140, colour=False)
    names = [line.split()[1] for line in text.splitlines() if line.startswith(("passed ", "regressed "))]
    assert names == ["h1[x]", "h2[x]", "h3[x]", "d2[x]"]
    assert "\nheadline gates: 3\n" in text
    assert "\ndetails: 1 of 2\n" in text
    assert text.rstrip().endswith("1 passed not shown (-v shows all)")


def test_values_at_chance_are_marked_and_named():
    table = lines([record(at_chance=True), record("other[x]")])
    assert sum(line.startswith("passed =") for line in table) == 1
    assert table[-1] == "= no better than guessing: zero_shot.top1[photos]"


def test_the_level_says_what_it_promises_and_how_it_is_shared():
    promise = "level: a run in which nothing got worse is red with a probability of at most 0.05"
    options = {"alpha": 0.05, "correction": "benjamini-hochberg", "headline_share": 0.25}
    both = [record(change=CHANGE, headline=True), record(change=CHANGE), record(change=CHANGE)]
    assert level_line(both, **options) == (
        f"{promise}, 25% for 1 headline gate and 75% for 2 detail gates; adj. p accounts for that, and is significant "
        "at 0.05 or less"
    )
    assert f"{promise} for 2 gates; adj. p" in level_line(both[1:], **options)
    old = {**options, "correction": "bonferroni"}
    assert level_line(both, **old) == f"{promise}; p is not adjusted, and significant at 0.05 or less"
    two = [*both, record(change=CHANGE, model="B")]
    assert f"{promise}, shared equally by 2 models, 25% for 1" in level_line(two, **options)
    assert level_line([record()], **options) == "nothing was compared, so the level 0.05 was not used"


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
    table = render_gates([record("m[\x1b[31mred]")], width=120, colour=False)
    assert "\x1b" not in table
    assert "\\x1b[31mred" in table


def test_rich_markup_in_names_stays_text():
    assert "m[[bold]x[/bold]]" in render_gates([record("m[[bold]x[/bold]]")], width=120, colour=False)


def test_keys_that_match_no_measurement_are_named_with_the_nearest():
    (line,) = unmatched_keys("thresholds", ["zero_shot.top1", "zero_shot.topl"], [record()])
    assert line == (
        "thresholds that match no measurement: zero_shot.topl (did you mean 'zero_shot.top1' or "
        "'zero_shot.top1[photos]'?); correct their names or remove them"
    )
    assert "m8, m9 and 4 more; correct" in unmatched_keys("tolerances", [f"m{i}" for i in range(14)], [record()])[0]
    assert unmatched_keys("thresholds", ["zero_shot.top1[photos]"], [record()]) == []


def test_a_headline_of_a_set_is_not_one_of_its_subsets():
    part, whole = record("m[x/part]"), record("m[x]")
    assert unmatched_keys(HEADLINES, ["m", "m[x]"], [whole, part]) == []
    assert unmatched_keys(HEADLINES, ["m[x]"], [part])
    assert unmatched_keys("thresholds", ["m[x]"], [part]) == []


BLIND = {"aspect": "b", "measurement": "b.two[x]", "tolerance": 0.01, "detectable": 0.0512, "n": 384}


def test_aspects_have_a_line_each_with_their_verdicts():
    records = [
        record("b.two[x]", place=3),
        record("shape_bias.two[x]", verdict="regressed", place=2),
        record("shape_bias.one[x]", place=1),
        record("c.one[x]", place=4),
    ]
    header, *rows = aspect_lines(records, [])
    assert header.split() == ["aspect", "gates", "verdicts"]
    assert rows[0].split() == ["shape", "bias", "2", "1", "regressed,", "1", "passed"]
    assert rows[1].split() == ["b", "1", "1", "passed"]


def test_a_blind_aspect_says_what_it_sees_and_how_many_samples_would_do():
    records = [record(f"{name}.one[x]", change=CHANGE, place=i) for i, name in enumerate("abc")]
    conclusions = [{"model": "A", "blind": [{**BLIND, "samples_needed": 9213}]}]
    header, first, blind, _ = aspect_lines(records, conclusions)
    assert header.endswith("blind to a loss of its tolerance")
    assert first.endswith(" -")
    assert blind.endswith("0.01 (384 samples show 0.051; about 9,200 show 0.01)")
    conclusions[0]["blind"][0]["samples_needed"] = None
    assert aspect_lines(records, conclusions)[2].endswith("0.01 (384 samples show 0.051)")


def aspect_lines(records, conclusions):
    text = render_aspects(records, conclusions, width=120, colour=False)
    return [line.rstrip() for line in text.strip().splitlines()]


def test_few_aspects_need_no_table_of_their_own():
    assert render_aspects([record("a.one[x]"), record("b.one[x]")], [], width=120, colour=False) == ""
