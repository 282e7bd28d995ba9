"""Sizes in bytes, as people write and read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.core.byte_sizes import byte_size_in_words, parse_byte_size


@pytest.mark.parametrize("text", ["", "5", "5XB", "-1GB", "1.2.3GB", "GB", "1e3GB", "٣GB", "1 GB 2"])
def test_texts_that_are_no_sizes(text):
    assert parse_byte_size(text) is None


@given(st.integers(0, 10**6), st.sampled_from("kmgt"), st.sampled_from(["", "i"]), st.sampled_from(["", "b"]))
def test_every_form_of_a_size_has_the_same_bytes(number, prefix, binary, unit):
    base = 1024 if binary else 1000
    text = f"{number}{prefix}{binary}{unit}"
    expected = number * base ** (1 + "kmgt".index(prefix))
    assert parse_byte_size(text) == parse_byte_size(text.upper()) == parse_byte_size(f" {text} ") == expected


@given(st.integers(1024, 2**50))
def test_a_size_in_words_is_read_as_the_same_size_but_for_rounding(size):
    assert parse_byte_size(byte_size_in_words(size)) == pytest.approx(size, rel=0.006)
