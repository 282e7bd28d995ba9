"""Tests of the accuracy on photographs with a wrong word, and of what the word costs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.properties.word_notes import ATTACKS, VERSIONS, accuracy, drop
from pytest_clip_robust.scoring.pairs import Contrasts


def notes(right, kinds=None, photos=None):
    """Return the answers to photographs (P, 3): without a note, with a written word, with the word put in."""
    right = np.asarray(right)
    n = right.size
    return Contrasts(
        dataset="scam",
        true=right.ravel().astype(float),
        false=np.full(n, 0.5),
        blind_true=np.zeros(n),
        blind_false=np.zeros(n),
        images=np.arange(n),
        choices=np.full(n, 2),
        kinds=kinds or [*VERSIONS] * len(right),
        samples=[f"{i}.jpg" for i in range(n)],
        true_texts=["clock"] * n,
        false_texts=["taxi"] * n,
        metric="typographic",
        groups={"photo": np.arange(n) // 3 if photos is None else np.array(photos)},
    )


@given(st.lists(st.tuples(*[st.booleans()] * 3), min_size=2, max_size=30))
def test_both_scores_equal_counting(rows):
    right = np.array(rows)
    found = notes(right)
    for column, version in enumerate(VERSIONS):
        one = accuracy(found, version)
        assert (one.key, one.n, one.chance) == (f"typographic.scam_accuracy[scam/{version}]", len(rows), 0.5)
        assert one.value == pytest.approx(right[:, column].mean())
        assert one.headline == (version == "SCAM")
        assert len(one.misses) == min(10, (~right[:, column]).sum())
    for version in ATTACKS:
        one, after = drop(found, version), right[:, VERSIONS.index(version)]
        assert (one.key, one.n, one.direction) == (f"typographic.scam_drop[scam/{version}]", len(rows), "lower")
        assert one.value == pytest.approx(right[:, 0].mean() - after.mean())
        assert one.details["without_note"] - one.details["with_word"] == pytest.approx(one.value)
        lost, gained = int((right[:, 0] & ~after).sum()), int((~right[:, 0] & after).sum())
        assert (one.details["lost"], one.details["gained"]) == (lost, gained)
        if lost + gained:
            exact = binomtest(lost, lost + gained, alternative="greater")
            half = binomtest(lost + 1, lost + gained, alternative="greater").pvalue if gained else 0.0
            assert one.details["p_no_loss"] == pytest.approx((exact.pvalue + half) / 2)


def test_the_drop_compares_the_same_photographs():
    """Photographs of which one version is missing count for the accuracy and not for the drop."""
    found = notes(
        [[True, False, True], [False, False, True]],
        kinds=["NoSCAM", "SCAM", "NoSCAM", "SCAM", "SCAM", "NoSCAM"],
        photos=[0, 0, 1, 1, 2, 3],
    )
    assert accuracy(found, "NoSCAM").n == 3
    one = drop(found, "SCAM")
    assert (one.n, one.value) == (2, 1.0)
    assert list(one.samples) == ["1.jpg", "3.jpg"]


def test_errors_name_what_is_missing():
    found = notes([[True] * 3, [False] * 3])
    with pytest.raises(MeasurementError, match=r"'scam' has no items of the kind 'SCAMM' .did you mean 'SCAM'"):
        accuracy(found, "SCAMM")
    apart = notes([[True] * 3], photos=[0, 1, 2])
    with pytest.raises(MeasurementError, match="no photograph has both versions 'NoSCAM' and 'SCAM'"):
        drop(apart, "SCAM")
    twice = notes([[True] * 3], kinds=["NoSCAM", "SCAM", "SCAM"])
    with pytest.raises(MeasurementError, match=r"'2\.jpg' is a photograph with two 'SCAM'"):
        drop(twice, "SCAM")
