"""summary.md: verdict first, only what changed unfolded, and never longer than GitHub allows."""

from __future__ import annotations

import html
import re

import pytest
from handmade_reports import MEAN, NLL, TOP1, changed, document_of, record
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.errors import ReportError
from pytest_clip_robust.gates.record import record_error
from pytest_clip_robust.report import summary as summary_module
from pytest_clip_robust.report.markdown import Block, fit
from pytest_clip_robust.report.summary import (
    FOLDED_ROWS,
    LIMIT,
    REST,
    STEP_LIMIT,
    append_step_summary,
    render_summary,
    step_summary_file,
    write_summary,
)


@pytest.fixture(scope="module")
def document():
    records = [
        changed(record(TOP1, 0.61, model="new"), 0.71, verdict="regressed", p=0.004, place=2),
        changed(record(MEAN, 0.65, model="new"), 0.65, place=1),
        changed(record(NLL, 1.5, model="new"), 1.4, verdict="inconclusive", headline=False),
        changed(record("zero_shot.top5[photos]", 0.9, model="new"), 0.9, headline=False),
        record_error("no weights", model="new", measurement="test_broken", test="test_broken"),
    ]
    return document_of(records, exit_status=1, reference="old", notices=["encoded 12 images"])


@pytest.fixture(scope="module")
def summary(document):
    return render_summary(document)


def plain(text):
    """Return the text that a reader sees, without tags and with entities resolved."""
    return html.unescape(re.sub(r"<[^>]+>", "", text))


def test_the_first_line_is_the_verdict(summary):
    first = plain(summary.splitlines()[0])
    assert first.startswith("\N{CROSS MARK} new: **not ready**. 1 of 2 aspects got worse: zero-shot accuracy")
    assert first.endswith("not measured: test_broken")


def test_only_what_changed_is_not_folded(summary):
    above, _, folded = plain(summary).partition("2 headline gates")
    assert [line.split("|")[2].strip() for line in above.splitlines()[4:] if line.startswith("|")] == [
        "test_broken no weights",
        TOP1,
    ]
    assert MEAN in folded
    assert "1 detail worse by at least the tolerance" in folded
    assert "zero_shot.top5" not in plain(summary)


def test_a_row_has_the_value_before_and_now_with_interval_p_and_n(summary):
    (row, *_) = (line for line in plain(summary).splitlines() if line.startswith("|") and TOP1 in line)
    assert [cell.strip() for cell in row.split("|")[1:-1]] == [
        "**regressed**", TOP1, "0.710", "**0.610**", "0.570 to 0.650",
        "\N{MINUS SIGN}0.100 (\N{MINUS SIGN}0.130 to \N{MINUS SIGN}0.070)", "0.004", "none", "100",
    ]  # fmt: skip


def test_of_many_details_that_can_be_noise_those_with_the_smallest_p_are_shown():
    records = [
        changed(record(f"zero_shot.m{i}[x]", 0.5, model="m"), 0.6, verdict="inconclusive", p=i / 1000, headline=False)
        for i in range(FOLDED_ROWS + 20)
    ]
    text = plain(render_summary(document_of(records, exit_status=0)))
    assert f"{FOLDED_ROWS + 20} details worse by at least the tolerance, which can be noise; the 100 with" in text
    shown = [line for line in text.splitlines() if line.startswith("| inconclusive")]
    assert len(shown) == FOLDED_ROWS
    assert "zero_shot.m0[x]" in shown[0]
    assert f"zero_shot.m{FOLDED_ROWS}[x]" not in text


def test_verdicts_are_counted_most_urgent_first(summary):
    assert "1 error, 1 regressed, 1 inconclusive, 2 passed; profile p, against old, level 0.05" in plain(summary)


def test_every_row_of_a_table_has_as_many_cells_as_its_head(summary):
    for block in re.findall(r"(?:^\|.*\n)+", summary, re.MULTILINE):
        assert len({line.count("|") for line in block.splitlines()}) == 1


def test_a_run_without_comparisons_or_without_gates_has_a_summary():
    alone = plain(render_summary(document_of([record(TOP1, 0.6, model="m")], exit_status=0)))
    assert "**not judged**" in alone
    assert "difference" not in alone
    assert "no gate was judged" in render_summary(document_of([], exit_status=5))


def test_models_are_told_apart():
    both = [changed(record(TOP1, 0.5, model=name), 0.6, verdict="regressed") for name in ("a", "b")]
    text = plain(render_summary(document_of(both, exit_status=1)))
    assert [line for line in text.splitlines() if line.startswith("####")] == ["#### a", "#### b"]


@pytest.mark.parametrize("gates", [300, 3000])
def test_a_summary_is_never_longer_than_a_comment_may_be(gates):
    records = [
        changed(record(f"zero_shot.{'name' * 30}_{i}[photos]", 0.5, model="m"), 0.6, verdict="regressed")
        for i in range(gates)
    ]
    text = render_summary(document_of(records, exit_status=1))
    assert len(text.encode()) <= LIMIT < 64_000
    assert text.endswith(REST)
    assert "**not ready**" in text.splitlines()[0]


@given(
    st.lists(st.builds(Block, st.text(max_size=9), st.lists(st.text(max_size=9), max_size=4), st.text(max_size=9))),
    st.integers(0, 80),
)
def test_what_is_fitted_is_short_enough_and_says_if_it_is_not_whole(blocks, limit):
    found = fit(blocks, limit, rest="REST")
    whole = "".join(f"{block.head}{''.join(block.lines)}{block.tail}" for block in blocks)
    assert len(found.encode()) <= limit
    assert found in {whole, ""} or found.endswith("REST")
    if len(whole.encode()) + 4 <= limit:
        assert found == whole


def test_the_summary_of_a_step_is_appended(document, summary, tmp_path):
    path = tmp_path / "step.md"
    append_step_summary(document, path)
    assert path.read_text() == summary
    append_step_summary(document, path)
    assert path.read_text() == f"{summary}\n{summary}"


def test_the_summary_of_a_step_stays_below_the_limit_that_voids_it(document, tmp_path):
    path = tmp_path / "step.md"
    path.write_text("x" * (STEP_LIMIT - 1500))
    append_step_summary(document, path)
    assert path.stat().st_size <= STEP_LIMIT
    assert path.read_text().endswith(REST)
    path.write_text("x" * (STEP_LIMIT - 20))
    with pytest.raises(ReportError, match=r"^GITHUB_STEP_SUMMARY: 1,048,556 bytes are in it"):
        append_step_summary(document, path)


def test_what_cannot_be_written_is_one_line(document, tmp_path):
    with pytest.raises(ReportError, match=r"^GITHUB_STEP_SUMMARY: cannot write \S+: "):
        append_step_summary(document, tmp_path / "missing" / "step.md")
    (tmp_path / "out").write_text("a file")
    with pytest.raises(ReportError, match=r"^--clip-report \S+out: cannot write summary\.md: "):
        write_summary(document, tmp_path / "out" / "summary.md")


def test_outside_of_github_there_is_no_step(monkeypatch, tmp_path):
    assert step_summary_file() is None
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "s.md"))
    assert step_summary_file() == tmp_path / "s.md"


def test_tables_that_do_not_fit_are_not_made(monkeypatch):
    made = []
    table = summary_module.table
    monkeypatch.setattr(summary_module, "table", lambda *given, **named: made.append(1) or table(*given, **named))
    records = [
        changed(record(f"own.value[{'photos' * 20}{gate}]", 0.5, model=f"model {place}"), 0.9, verdict="regressed")
        for place in range(100)
        for gate in range(5)
    ]
    text = render_summary(document_of(records, exit_status=1), limit=40_000)
    assert text.endswith(REST)
    assert len(text.encode()) <= 40_000
    assert len(made) < 100
