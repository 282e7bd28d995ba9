"""Names of classes, samples, data sets and models come from files of others: in every output they stay text."""

from __future__ import annotations

import html
import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest
from hostile_names import HOSTILE, hostile_document
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_clip_robust.gates.record import junit_properties
from pytest_clip_robust.report.annotations import LONGEST, command, error_commands
from pytest_clip_robust.report.html.render import render_page
from pytest_clip_robust.report.markdown import WORD_JOINER, code, prose
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


def skeleton(name):
    """Return the structure of the page of a run with this name; a message has one more element per further line."""
    page = render_page(hostile_document(name))
    assert all(char.isprintable() or char == "\n" for char in page)
    found = Skeleton(re.sub(r"<br>|<wbr>", "", page))
    return [one for one in found.elements if one[0] != "br"], "".join(found.text)


PLAIN = skeleton("harmless")[0]


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_the_page_has_the_same_elements_as_with_a_harmless_name(name):
    elements, text = skeleton(name)
    assert elements == PLAIN
    assert printable(name) in text


@settings(max_examples=30)
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
    document = hostile_document(name)
    for text in (
        render_gates(document["gates"], width=200, colour=False),
        render_aspects(document["gates"], document["conclusions"], width=200, colour=False),
    ):
        assert all(char.isprintable() or char == "\n" for char in text)


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
