"""panel.html: findings, figures, tables and models of panels of every size, with missing values and hostile names."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from handmade_panels import model, row, table
from hostile_names import HOSTILE
from study_panels import FINDINGS, KEYS, Elements, answer, finding, panel, study

from pytest_clip_robust.core.finding import Status
from pytest_clip_robust.core.panel_table import PanelTable
from pytest_clip_robust.core.study_results import StudyResults
from pytest_clip_robust.errors import ReportError
from pytest_clip_robust.report.html.study.figures import property_panels
from pytest_clip_robust.report.html.study.models import panel_models
from pytest_clip_robust.report.html.study.render import render_panel_page, write_panel_page
from pytest_clip_robust.system.text import printable

NOTHING = StudyResults(no_residuals="needs reference models", no_shares="needs five families")
PLACE = re.compile(r"translate\(([\d.]+) ([\d.]+)\)")


def page_of(found, findings=FINDINGS, results=None, **options):
    return Elements(render_panel_page(found, findings, study(found) if results is None else results, **options))


@pytest.mark.parametrize("n", [1, 5, 40])
def test_every_model_is_in_every_figure_and_in_the_table(n):
    page = page_of(panel(n))
    marks = [one["data-m"] for one in page.of("path", class_="model") if "data-m" in one]
    assert len(marks) == n * (len(KEYS) + 16)
    assert {int(one) for one in marks} == set(range(1, n + 1))
    assert len(page.of("th", class_="depth")) == n
    assert len(page.of("svg", class_="chart")) == len(KEYS) + 16


@pytest.mark.parametrize("n", [20, 40])
def test_a_large_panel_stays_below_two_megabytes(n):
    found = panel(n)
    assert len(render_panel_page(found, FINDINGS, study(found)).encode()) < 2_000_000


def test_nothing_is_loaded_and_only_the_own_script_runs():
    text = render_panel_page(panel(3), FINDINGS, study(panel(3)))
    page = Elements(text)
    (policy,) = (one["content"] for one in page.of("meta") if "http-equiv" in one)
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    assert not [one for _, one in page.found if "src" in one or not one.get("href", "#").startswith("#")]
    assert "url(" not in text.replace("url(#", "")
    assert "@import" not in text


def test_ids_are_unique_and_links_have_their_targets():
    page = page_of(panel(5))
    ids = [one["id"] for _, one in page.found if "id" in one]
    assert len(ids) == len(set(ids))
    assert {one["href"][1:] for _, one in page.found if "href" in one} <= set(ids)


def test_the_title_counts_answers_and_findings_that_hold_come_first():
    page = page_of(panel(5))
    assert "1 finding holds, 1 does not hold, 1 not decided here, 3 not tested" in page.text
    assert [one["id"] for one in page.of("tr") if "id" in one] == ["finding-two", "finding-one", "finding-three"]
    assert "2 claims: needs x Claim four. Claim five." in page.text
    assert "1 claim: needs y Claim six." in page.text


def test_a_finding_has_its_numbers_and_what_its_interval_covers():
    page = page_of(panel(5), [finding("one", answer(Status.HOLDS, 2.5, 1.5, 3.5, smallest=1, unit="points"))])
    assert "+2.500 points +1.500 to +3.500 counts from 1 point 3 2 families Because. The interval covers" in page.text


def test_a_run_without_findings_says_how_to_get_them():
    page = page_of(panel(1), [])
    assert "No finding was asked for" in page.text
    assert "Run suites/test_findings.py as well." in page.text


def test_an_incomplete_run_says_so():
    words = "Incomplete: the run ended before all models were measured"
    assert words in page_of(panel(2), [], StudyResults(), complete=False).text
    assert words not in page_of(panel(2)).text


def test_what_could_not_be_analysed_has_its_reason():
    text = page_of(panel(2), results=NOTHING).text
    assert "No lines: needs reference models." in text
    assert "No shares: needs five families." in text


def test_shares_residuals_and_warnings_are_in_tables():
    text = page_of(panel(3)).text
    assert "accuracy under natural shift, imagenet-a 9 models, 7 families 0.75 0.50 to 0.90" in text
    assert "0.75 0.50 to 0.90 only it 0.00 not known" in text
    assert "Prompts has one level." in text
    assert "prompts\N{NO-BREAK SPACE}*" in "".join(page_of(panel(3)).texts)
    assert "+2.0 ± 1.0" in text


def test_the_table_of_models_has_their_factors_and_means_over_data_sets():
    one = model(
        "m", architecture="ViT-B/32", parameters=151_277_313, training_pairs=2e9, samples_seen=34e9, prompts="p"
    )
    found = table({one: {"zero_shot.top1[s]": 0.5, "shift.top1[a]": 0.25, "shift.top1[b]": 0.75}}, error=0.0)
    text = page_of(found, results=NOTHING).text
    assert "m ViT-B/32 151M LAION-2B 2B pairs, 34B seen zero-shot softmax p 0.500 0.500 to 0.500 0.500" in text


def test_a_residual_is_bold_only_if_its_interval_excludes_zero():
    found = panel(2)
    results = study(found)
    one, other = results.residuals[0], replace(results.residuals[1], low=-1.0, high=5.0)
    text = render_panel_page(found, (), StudyResults(residuals=(one, other), no_shares="none"))
    assert re.findall(r'<span class="(\w+)">\+2\.0</span>', text) == ["soft", "strong"]


def test_the_line_of_a_published_panel_goes_through_its_accuracies():
    """On probit axes the line is straight: its pixels at two models' x are those of the expected accuracies."""
    probit = NormalDist().inv_cdf
    slope, intercept = 0.8, -0.3
    found = panel(6)
    results = study(found, line=lambda x: NormalDist().cdf(slope * probit(x) + intercept))
    models = panel_models(found.models)
    (plot,) = (
        plot
        for one in property_panels(found, models, results.published)
        for plot in one.plots
        if "published" in plot.caption
    )
    chart = Elements(plot.drawing)
    (line,) = chart.of("path", class_="reference-line")
    ends = np.array([[float(value) for value in part.split()] for part in line["d"][1:].split("L")])
    places = {int(one["data-m"]): PLACE.match(one["transform"]) for one in chart.of("path", class_="model")}
    points = [one for one in results.published if one.dataset == "imagenet-v2"]
    pixels = np.array([[float(value) for value in places[models[one.model].place].groups()] for one in points])
    x, y = (np.array([probit(getattr(one, name)) for one in points]) for name in ("id_accuracy", "shifted_accuracy"))
    (x_scale, x_zero), (y_scale, y_zero) = np.polyfit(x, pixels[:, 0], 1), np.polyfit(y, pixels[:, 1], 1)
    back = np.column_stack([(ends[:, 0] - x_zero) / x_scale, (ends[:, 1] - y_zero) / y_scale])
    assert np.allclose(back[:, 1], slope * back[:, 0] + intercept, atol=0.02)
    assert ends[1, 0] - ends[0, 0] > 100


def test_a_shift_with_a_published_line_is_drawn_once():
    found = panel(5)
    captions = [
        plot.caption
        for one in property_panels(found, panel_models(found.models), study(found).published)
        for plot in one.plots
        if "natural shift" in plot.caption
    ]
    assert captions == [
        "accuracy under natural shift: imagenet-a",
        "accuracy under natural shift: imagenet-v2, with the line of the published panel testbed",
    ]


def test_models_without_a_value_are_counted_and_left_out():
    one, other = model("a"), model("b")
    found = table(
        {one: {"zero_shot.top1[s]": 0.5, "shape_bias.ratio_direct[c]": 0.5}, other: {"zero_shot.top1[s]": 0.6}}
    )
    page = page_of(found, results=NOTHING)
    assert "shape bias: c; 1 model without both values" in page.text
    assert len([one for one in page.of("path", class_="model") if "data-m" in one]) == 1


def test_a_panel_without_accuracy_in_distribution_has_no_figures():
    page = page_of(table({model("a"): {"shape_bias.ratio_direct[c]": 0.5}}), results=NOTHING)
    assert "No figure: the run measured no accuracy in distribution" in page.text
    assert not page.of("svg", class_="chart")


def test_unknown_factors_and_intervals_are_no_obstacle():
    bare = replace(model("a"), family=None, architecture=None, training_data=None, loss=None, fine_tuning=None)
    rows = [
        replace(row(bare, "zero_shot.top1[s]", 1.0), low=None, high=None),
        replace(row(bare, "shift.top1[t]", 0.0), low=float("nan"), high=float("nan")),
        replace(row(bare, "ood.auroc_mcm[u]", float("nan")), low=0.0, high=1.0),
    ]
    page = page_of(PanelTable(rows=tuple(rows)), results=NOTHING)
    assert "unknown" in page.text
    assert "nan" not in page.text.replace("finding", "")
    assert len(page.of("svg", class_="chart")) == 1


def test_tests_that_measured_nothing_are_named():
    first = row(model("a"), "zero_shot.top1[s]", 0.5)
    failed = [
        replace(first, metric="x", test=f"test_x[{i}]", value=None, low=None, high=None, level=None, n=None,
                direction=None, tolerance=None, verdict="error")
        for i in range(103)
    ]  # fmt: skip
    text = page_of(PanelTable(rows=(first, *failed)), results=NOTHING).text
    assert "103 tests measured nothing" in text
    assert "3 more, which panel.csv names" in text


def test_models_measured_on_different_images_are_not_drawn_together():
    one, other = model("a"), model("b")
    rows = [
        row(one, "zero_shot.top1[s]", 0.5), row(other, "zero_shot.top1[s]", 0.6),
        row(one, "shift.top1[t]", 0.5), row(other, "shift.top1[t]", 0.5, data="d2"),
    ]  # fmt: skip
    page = page_of(PanelTable(rows=tuple(rows)), results=NOTHING)
    assert "Not drawn: shift.top1[t]: a and b were measured on different images" in page.text
    assert not page.of("svg", class_="chart")


def hostile_page(name):
    one = model(
        name, group=name, parent=name, family=name, architecture=name, training_data=name, fine_tuning=name, loss=name,
        prompts=name,
    )  # fmt: skip
    first = row(one, "zero_shot.top1[x]", 0.5)
    failed = replace(first, metric=name, test=name, value=None, low=None, high=None, level=None, n=None,
                     direction=None, tolerance=None, verdict="error")  # fmt: skip
    rows = (replace(first, dataset=name), replace(row(one, "shift.top1[x]", 0.5), dataset=name), failed)
    found = PanelTable(rows=rows)
    results = study(found)
    results = replace(
        results,
        residuals=tuple(replace(part, factor=name) for part in results.residuals[:1]),
        shares=tuple(replace(part, dataset=name) for part in results.shares),
        published=tuple(replace(part, dataset=name, panel=name) for part in results.published),
    )
    return render_panel_page(found, [finding("one", why=name)], results)


def skeleton(name):
    page = hostile_page(name)
    assert all(char.isprintable() or char == "\n" for char in page)
    found = Elements(page)
    return [(tag, sorted(attributes)) for tag, attributes in found.found if tag != "wbr"], "".join(found.texts)


PLAIN = skeleton("harmless")[0]


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_the_page_has_the_same_elements_as_with_a_harmless_name(name):
    elements, text = skeleton(name)
    assert elements == PLAIN
    assert printable(name) in text


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ReportError, match=r"cannot write panel\.html"):
        write_panel_page(panel(1), (), NOTHING, tmp_path / "file")


def test_equal_panels_give_equal_pages():
    found = panel(5)
    again = PanelTable(rows=tuple(reversed(found.rows)))
    assert render_panel_page(found, FINDINGS, study(found)) == render_panel_page(again, FINDINGS, study(again))
