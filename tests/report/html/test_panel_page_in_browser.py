"""panel.html in a browser: its script runs under its own policy, and sorting, search and highlights work."""

from __future__ import annotations

import pytest
from headless import browse
from study_panels import FINDINGS, panel, study

from pytest_clip_robust.report.html.study.render import render_panel_page

ORDER = (
    "[...document.querySelectorAll('.models tbody tr')].filter(row => !row.hidden).map(row => Number(row.dataset.m))"
)


@pytest.fixture(scope="module")
def page():
    found = panel(8)
    return render_panel_page(found, FINDINGS, study(found))


def test_the_page_has_no_errors_under_its_own_policy(page, tmp_path):
    _, console = browse(page, tmp_path)
    assert console == []


def test_models_are_sorted_by_a_column_and_back_by_family(ask):
    probe = (
        "const heads = [...document.querySelectorAll('.models th button')];"
        "const head = heads.find(one => one.textContent === 'shape bias');"
        "const column = head.parentElement.cellIndex;"
        "const rows = () => [...document.querySelectorAll('.models tbody tr')];"
        "const keys = () => rows().map(row => Number(row.cells[column].dataset.key));"
        "const seen = [keys()]; head.click(); seen.push(keys(), head.parentElement.getAttribute('aria-sort'));"
        "head.click(); seen.push(keys(), head.parentElement.getAttribute('aria-sort'));"
        f"document.getElementById('as-families').click(); seen.push(keys(), {ORDER}); return seen"
    )
    first, falling, falling_words, rising, rising_words, back, order = ask(probe)
    assert first != sorted(first)
    assert (falling, falling_words) == (sorted(first, reverse=True), "descending")
    assert (rising, rising_words) == (sorted(first), "ascending")
    assert (back, order) == (first, list(range(1, 9)))


def test_what_is_unknown_comes_last_in_both_directions(ask):
    probe = (
        "const cell = document.querySelector('.models tbody tr').cells[3]; cell.dataset.key = '';"
        "const head = document.querySelectorAll('.models th button')[2]; const seen = [];"
        f"head.click(); seen.push({ORDER}.at(-1)); head.click(); seen.push({ORDER}.at(-1)); return seen"
    )
    assert ask(probe) == [1, 1]


def test_the_search_finds_factors_of_models(ask):
    probe = (
        "const search = document.getElementById('search'); search.value = 'CONTRASTIVE model';"
        "document.querySelector('.filters').dispatchEvent(new Event('input'));"
        f"return [{ORDER}, document.getElementById('shown').textContent]"
    )
    assert ask(probe) == [[3, 7], "2 of 8 shown"]


def test_a_mark_that_is_tapped_is_told_and_stands_out_in_every_figure(ask):
    probe = (
        "const mark = document.querySelector('path.model[data-m=\"3\"]'); const told = document.getElementById('told');"
        "mark.dispatchEvent(new MouseEvent('click', {bubbles: true}));"
        "const lit = [...document.querySelectorAll('path.lit')];"
        "const seen = [told.hidden, told.textContent.includes('3. model-2@tag'),"
        " lit.every(one => one.dataset.m === '3'), lit.length];"
        "mark.dispatchEvent(new MouseEvent('click', {bubbles: true}));"
        "return [...seen, told.hidden, document.querySelectorAll('.lit').length]"
    )
    assert ask(probe) == [False, True, True, 15 + 16, True, 0]


def test_a_phone_needs_no_sideways_scrolling(ask):
    probe = "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    needed, there = ask(probe, flags=("--window-size=500,900",))
    assert needed <= there


def test_the_theme_is_switched(ask):
    probe = (
        "const button = document.getElementById('theme'); const seen = [];"
        "for (let turn = 0; turn < 3; turn++) {"
        " seen.push(getComputedStyle(document.querySelector('path.model.c1')).fill); button.click(); } return seen"
    )
    light, dark = "rgb(31, 95, 174)", "rgb(132, 182, 244)"
    assert ask(probe) == [light, light, dark]
