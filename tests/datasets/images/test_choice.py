"""Choice of some images of a set."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.datasets.captions.captions import load_caption_set
from pytest_clip_robust.datasets.catalog import catalog
from pytest_clip_robust.datasets.correspondence.keypoints import load_keypoint_set
from pytest_clip_robust.datasets.correspondence.views import load_view_set
from pytest_clip_robust.datasets.entry import DataEntry, merge
from pytest_clip_robust.datasets.images.choice import even_positions
from pytest_clip_robust.datasets.images.loading import load_image_set
from pytest_clip_robust.errors import DataError


@pytest.fixture(scope="module")
def whole():
    return load_image_set(catalog()["showroom-id"])


@given(count=st.integers(1, 500))
def test_classes_differ_by_one_image_at_most_and_more_images_only_add(whole, count):
    chosen = even_positions(whole, count).tolist()
    assert len(chosen) == min(count, len(whole))
    sizes = Counter(whole.labels[chosen].tolist())
    assert max(sizes.values()) - min(sizes.get(label, 0) for label in range(len(whole.class_names))) <= 1
    assert set(chosen) <= set(even_positions(whole, count + 1).tolist())


def test_an_entry_with_a_number_of_images_reads_these_and_no_others(whole):
    some = load_image_set(merge(catalog()["showroom-id"], DataEntry(name="showroom-id", images=48)))
    places = even_positions(whole, 48)
    assert some.samples == [whole.samples[i] for i in places]
    assert some.digests == [whole.digests[i] for i in places]
    assert some.class_names == whole.class_names
    assert some.fingerprint != whole.fingerprint
    assert len(some.depths.samples) == 48


@pytest.mark.parametrize(
    ("name", "load", "message"),
    [
        ("captions", load_caption_set, "images=9 chooses images by their classes, but captions have none"),
        ("keypoints", load_keypoint_set, "images=9 cannot be used with keypoints"),
        ("views", load_view_set, "images=9 chooses images by their classes, but posed views have none"),
    ],
)
def test_a_number_of_images_is_refused_where_it_would_have_no_effect(name, load, message):
    entry = merge(catalog()[f"showroom-{name}"], DataEntry(name=f"showroom-{name}", images=9))
    with pytest.raises(DataError, match=message):
        load(entry)
