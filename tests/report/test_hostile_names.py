"""Names of classes, samples, data sets and models come from files of others: in every output they stay text."""

from __future__ import annotations

import html
import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest
from hostile_names import HOSTILE, hostile_document, hostile_pictures, hostile_plots
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_clip_robust.gates.explain import explain
from pytest_clip_robust.gates.record import junit_properties
from pytest_clip_robust.report.annotations import LONGEST, command, error_commands
from pytest_clip_robust.report.comment import comment_of
from pytest_clip_robust.report.comparison import compare_documents, render_comparison
from pytest_clip_robust.report.html.aspects import PANELS, panels_of
from pytest_clip_robust.report.html.gates import Gates
from pytest_clip_robust.report.html.render import render_page
from pytest_clip_robust.report.markdown import WORD_JOINER, code, prose
from pytest_clip_robust.report.series import render_series
from pytest_clip_robust.report.summary import LIMIT, render_summary
from pytest_clip_robust.report.terminal import render_aspects, render_gates
from pytest_clip_robust.system.text import printable

texts = st.text(max_size=40) | st.sampled_from(list(HOSTILE.values())[:10])


class Skeleton(HTMLParser):
    """The elements of a page with the names of their attributes, and its text."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.text = [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        # Where a long name may break depends on the name.
        if tag != "wbr":
            self.elements.append((tag, sorted(name for name, _ in attrs)))

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)

    def handle_data(self, data):
        self.text.append(data)


def skeleton(name, *, pictured=True):
    """Return the structure of the page of a run with this name; a message has one more element per further line."""
    page = render_page(hostile_document(name, *hostile_plots(name)), hostile_pictures(name) if pictured else {})
    assert all(char.isprintable() or char == "\n" for char in page)
    found = Skeleton(re.sub(r"<br>|<wbr>", "", page))
    return [one for one in found.elements if one[0] != "br"], "".join(found.text)


PLAIN = skeleton("harmless")[0]


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_the_page_has_the_same_elements_as_with_a_harmless_name(name):
    # With names of 20,000 characters, the page has no room for pictures.
    pictured = name != HOSTILE["long"]
    elements, text = skeleton(name, pictured=pictured)
    assert elements == (PLAIN if pictured else skeleton("harmless", pictured=False)[0])
    assert printable(name) in text


def test_the_page_of_a_harmless_name_has_every_kind_of_plot():
    gates = Gates(hostile_plots("harmless"))
    assert all(panels_of(aspect, gates) for aspect in PANELS if aspect != "zero_shot")
    classes = {value for _, attributes in PLAIN for value in attributes}
    assert "aria-label" in classes
    page = render_page(hostile_document("harmless", *hostile_plots("harmless")), hostile_pictures("harmless"))
    assert 'aria-label="harmless under harmless at severity 3"' in page
    assert "Matches between harmless and harmless" in page


@settings(max_examples=30, deadline=None)
@given(texts.filter(bool))
def test_the_page_has_the_same_elements_with_any_name(name):
    assert skeleton(name)[0] == PLAIN


def shown_by_github(markdown):
    """Return the HTML that GitHub's own parser makes of Markdown."""
    cmarkgfm = pytest.importorskip("cmarkgfm")
    options = cmarkgfm.cmark.Options.CMARK_OPT_UNSAFE
    return cmarkgfm.github_flavored_markdown_to_html(markdown, options=options)


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
@settings(max_examples=30)
@given(st.data())
def test_markdown_shows_a_name_exactly(name, data):
    text = data.draw(st.just(name) | texts, label="name")
    for write in (prose, code):
        found = shown_by_github(f"x{write(text)}x")
        inside = re.fullmatch(r"<p>x(?:<code>)?(.*?)(?:</code>)?x</p>\n", found, re.DOTALL)[1]
        assert "<" not in inside
        visible = html.unescape(inside).replace(WORD_JOINER, "")
        expected = printable(text).replace(WORD_JOINER, "")
        assert visible == (expected if len(expected) <= 300 else f"{expected[:297]}...")


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_the_summary_has_its_tables_and_no_other_markup(name):
    summary = render_summary(hostile_document(name))
    assert len(summary.encode()) <= LIMIT
    page = shown_by_github(summary)
    expected = shown_by_github(render_summary(hostile_document("harmless")))
    assert re.findall(r"<[^>]*>", page) == re.findall(r"<[^>]*>", expected)


def read_back(text):
    """Return what GitHub shows of an escaped title or message."""
    for written, char in (("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        text = text.replace(written, char)
    return text


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
@settings(max_examples=30)
@given(st.data())
def test_a_workflow_command_is_one_line_that_reads_back_exactly(name, data):
    text = data.draw(st.just(name) | texts, label="name")
    written = command(text, text)
    assert written.isprintable()
    title, _, message = written.removeprefix("::error title=").partition("::")
    assert not {":", ","} & set(title)
    assert read_back(title) == printable(text)[:LONGEST]
    shown = printable(text)
    assert read_back(message) == (shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 3]}...")


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_annotations_of_a_hostile_run_are_one_command_per_gate(name):
    commands = error_commands(hostile_document(name)["gates"])
    assert len(commands) == 2
    assert all(one.startswith("::error title=") and one.isprintable() for one in commands)


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_tables_of_the_terminal_have_no_control_characters(name):
    document = hostile_document(name, *hostile_plots(name))
    labels = [name, f"{name}2"]
    headlines = {place: {name: document["gates"][0]} for place in range(2)}
    for text in (
        render_gates(document["gates"], width=200, colour=False),
        render_aspects(document["gates"], document["conclusions"], width=200, colour=False),
        render_comparison(compare_documents(document, hostile_document("harmless")), width=200),
        render_comparison(compare_documents(hostile_document("harmless"), document), width=200),
        render_series(labels, headlines, width=200, colour=False),
    ):
        assert all(char.isprintable() or char == "\n" for char in text)


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_the_message_of_a_failure_has_no_control_characters(name):
    for gate in [measured(hostile_document(name)), *hostile_plots(name)]:
        lines = explain(gate).split("\n")
        assert all(line.isprintable() for line in lines)
        assert len(lines) < 40


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_a_comment_keeps_its_mark_and_has_no_markup_of_a_name(name):
    text = comment_of(hostile_document(name, *hostile_plots(name)))
    expected = comment_of(hostile_document("harmless", *hostile_plots("harmless")))
    mark = text.splitlines()[0]
    assert mark.split()[0] == expected.splitlines()[0].split()[0]
    assert text.count("<!--") == expected.count("<!--")
    found, harmless = (re.findall(r"<[^>]*>", shown_by_github(one)) for one in (text, expected))
    assert [tag for tag in found if not tag.startswith("<!--")] == [
        tag for tag in harmless if not tag.startswith("<!--")
    ]


def test_junit_is_well_formed_and_keeps_names(pytester):
    found = [(name, junit_properties(measured(hostile_document(name)))) for name in HOSTILE.values()]
    (pytester.path / "names.json").write_text(json.dumps(found))
    pytester.makepyfile(
        """
        import json
        from pathlib import Path

        import pytest

        @pytest.mark.parametrize("place", range(len(json.loads(Path("names.json").read_text()))))
        def test_one(request, place):
            name, properties = json.loads(Path("names.json").read_text())[place]
            request.node.user_properties += properties
            pytest.fail(name, pytrace=False)
        """
    )
    pytester.runpytest_inprocess("--junitxml=junit.xml", "-p", "no:cacheprovider").assert_outcomes(failed=len(found))
    cases = list(ET.parse(pytester.path / "junit.xml").iter("testcase"))
    for (name, _), case in zip(found, cases, strict=True):
        values = {one.get("name"): one.get("value") for one in case.iter("property")}
        assert values["clip_verdict"] == "regressed"
        assert values["clip_model"] == printable(name)
        assert values[f"clip_details_{printable(name)}"] == "0.5"


def measured(document):
    """Return the gate that measured something."""
    (gate,) = (gate for gate in document["gates"] if "value" in gate)
    return gate
