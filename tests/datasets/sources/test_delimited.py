"""Quotes mean what the file's own format says."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.datasets.sources.delimited import read_delimited
from pytest_clip_robust.errors import DataError


def captions(text):
    return [list(line.values.values())[-1] for line in read_delimited(text, "table")[1]]


def test_bars_have_no_quoting():
    text = (
        'image_name| comment_number| comment\na.jpg| 0| "A dog | runs .\na.jpg| 1| Two " dogs .\nb.jpg| 0| "Three" .\n'
    )
    assert captions(text) == ['"A dog | runs .', 'Two " dogs .', '"Three" .']


def test_tabs_have_no_quoting_unless_the_file_shows_it():
    assert captions('image\tcaption\na\t"Stop\nb\tsign"\n') == ['"Stop', 'sign"']
    assert captions('image\tcaption\na\t"Stop"\nb\tsign\n') == ['"Stop"', "sign"]
    assert captions('image\tcaption\na\t"Say ""stop"" now"\nb\tsign\n') == ['Say "stop" now', "sign"]
    assert captions('"image"\t"caption"\n"a"\t"Stop"\n') == ["Stop"]


def test_commas_have_quoting_where_values_need_it():
    assert captions('image,caption\na,"A dog, two"\nb,"say ""hi"""\n') == ["A dog, two", 'say "hi"']
    assert captions('image,caption\na,"one\nline"\nb,two\n') == ["one\nline", "two"]


def test_commas_without_quoting_keep_stray_quotes():
    assert captions('image,caption\na,"Stop" sign\nb,12" ruler\nc,"Stop\nd,go"\n') == [
        '"Stop" sign',
        '12" ruler',
        '"Stop',
        'go"',
    ]


def test_only_line_breaks_end_lines():
    assert captions("image,caption\r\na,one\u2028two\x0bthree\x85\r\nb,four\r\n") == [
        "one\u2028two\x0bthree\x85",
        "four",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,caption\na,A dog, two\n", "line 2: 3 values under a header of 2 columns, .*; put values that contain"),
        ('image,caption\na,"Stop" sign, red\n', "line 2: .*; write a quote in a quoted value twice, or use tabs"),
        ("image,caption\na\n", "line 2: 1 values under a header of 2 columns"),
        ("image,image\na,b\n", "two columns are called 'image'"),
    ],
)
def test_what_does_not_fit_the_header_is_refused(text, message):
    with pytest.raises(DataError, match=message):
        read_delimited(text, "table")


@given(
    rows=st.lists(st.tuples(*[st.text(st.characters(codec="utf-8", exclude_characters="\r\0"))] * 2), max_size=5),
    delimiter=st.sampled_from([",", "\t"]),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
)
def test_what_the_standard_library_writes_is_read_back(rows, delimiter, quoting):
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter=delimiter, quoting=quoting, lineterminator="\n").writerows(
        [("image", "caption"), *rows]
    )
    found = [tuple(line.values.values()) for line in read_delimited(buffer.getvalue(), "table")[1]]
    assert found == rows
