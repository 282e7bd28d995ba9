"""index.html in a browser: its script runs under its own policy, and filter, links and theme work."""

from __future__ import annotations

import pytest
from handmade_reports import MEAN, NLL, TOP1, changed, document_of, record
from headless import browse
from hostile_names import HOSTILE, hostile_document

from pytest_clip_robust.report.html.render import render_page

SHOWN = "[...document.querySelectorAll('.all tbody tr')].filter(row => !row.hidden).map(row => row.id)"
COUNT = "document.getElementById('shown').textContent"


@pytest.fixture(scope="module")
def page():
    records = [
        changed(record(TOP1, 0.6, model="m"), 0.7, verdict="regressed"),
        changed(record(MEAN, 0.6, model="m"), 0.6, headline=False),
        changed(record(NLL, 1.5, model="m"), 1.4, verdict="inconclusive", headline=False),
    ]
    return render_page(document_of(records, exit_status=1))


def test_the_page_has_no_errors_under_its_own_policy(page, tmp_path):
    _, console = browse(page, tmp_path)
    assert console == []


@pytest.mark.parametrize("kind", ["end of script", "attribute", "nul and controls"])
def test_hostile_names_run_nothing_and_cause_no_error(kind, tmp_path):
    _, console = browse(render_page(hostile_document(HOSTILE[kind])), tmp_path)
    assert console == []


def test_every_gate_is_shown_at_first(ask):
    assert ask(f"return [{SHOWN}, {COUNT}]") == [["gate-1", "gate-2", "gate-3"], "3 of 3 shown"]


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ("byId('search').value = 'MEAN photos'", ["gate-3"]),
        ("byId('search').value = 'mcnemar zero_shot'", ["gate-1", "gate-3"]),
        ("byId('aspect').value = 'calibration'", ["gate-2"]),
        ("byId('headlines').checked = true", ["gate-1"]),
        ("document.querySelector('[value=regressed]').checked = false", ["gate-2", "gate-3"]),
    ],
)
def test_filters_choose_gates(ask, change, shown):
    probe = (
        f"const byId = id => document.getElementById(id); {change};"
        f"document.querySelector('.filters').dispatchEvent(new Event('input')); return [{SHOWN}, {COUNT}]"
    )
    assert ask(probe) == [shown, f"{len(shown)} of 3 shown"]


def test_a_link_of_an_aspect_shows_its_gates(ask):
    assert ask(f"document.querySelector('a.filter[data-aspect=calibration]').click(); return {SHOWN}") == ["gate-2"]


def test_the_switch_goes_through_the_themes_and_the_colours_follow(ask):
    probe = (
        "const button = document.getElementById('theme'); const seen = [];"
        "for (let turn = 0; turn < 4; turn++) {"
        " seen.push([button.textContent, getComputedStyle(document.body).backgroundColor]); button.click(); }"
        "return seen"
    )
    light, dark = "rgb(247, 247, 245)", "rgb(17, 20, 23)"
    expected = [["Theme: system", light], ["Theme: light", light], ["Theme: dark", dark], ["Theme: system", light]]
    assert ask(probe) == expected


def test_a_phone_needs_no_sideways_scrolling(ask):
    probe = "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    needed, there = ask(probe, flags=("--window-size=500,900",))
    assert needed <= there


def test_what_is_printed_is_dark_on_light_in_every_theme(ask):
    probe = (
        "for (const sheet of document.styleSheets) for (const rule of [...sheet.cssRules])"
        " if (rule.media && rule.media.mediaText === 'print') rule.media.mediaText = 'all';"
        "document.documentElement.dataset.theme = 'dark'; const style = getComputedStyle(document.body);"
        "return [style.backgroundColor, style.color]"
    )
    assert ask(probe) == ["rgb(255, 255, 255)", "rgb(28, 33, 39)"]


def test_the_page_is_dark_where_the_system_is(ask):
    probe = "return getComputedStyle(document.body).backgroundColor"
    assert ask(probe, flags=("--force-dark-mode",)) == "rgb(17, 20, 23)"
