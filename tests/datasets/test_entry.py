from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.datasets.catalog import catalog
from pytest_clip_robust.datasets.entry import DataEntry, entry_from_table, merge, parse_data_option
from pytest_clip_robust.errors import ConfigError


def test_an_option_is_a_name_a_location_and_keys():
    entry = parse_data_option(
        "photos=/data/my%3Fphotos?label=species&factors=pose,style&crop_border=2&images=9&role=shift"
    )
    assert entry == DataEntry(
        name="photos",
        location="/data/my?photos",
        label="species",
        factors=("pose", "style"),
        crop_border=2,
        images=9,
        role="shift",
    )


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("photos", "expected NAME=LOCATION"),
        ("=x", "expected NAME=LOCATION"),
        ("photos=", "expected NAME=LOCATION"),
        ("a b=x", "data set name 'a b'"),
        ("photos=x?labl=y", "unknown key 'labl' \\(did you mean 'label'"),
        ("photos=x?label=y&label=z", "is given twice"),
        ("photos=x?crop_border=two", "crop_border='two' is not a whole number"),
        ("photos=x?images=some", "images='some' is not a whole number"),
        ("photos=x?format=zip", "format='zip'; expected one of auto, imagefolder"),
        ("photos=x%00y", "location contains a null character"),
        ("photos=x?subset=some", "subset='some'; expected one of all, present"),
    ],
)
def test_a_wrong_option_is_one_line(option, message):
    with pytest.raises(ConfigError, match=message):
        parse_data_option(option)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"locaton": "x"}, "unknown key 'locaton' \\(did you mean 'location'"),
        ({"location": 3}, "location=3; expected a str"),
        ({"crop_border": True}, "crop_border=True; expected a whole number"),
        ({"crop_border": -1}, "crop_border=-1; expected 0 or more"),
        ({"images": -1}, "images=-1; expected 1 or more, or 0 for all"),
        ({"factors": 3}, "factors=3; expected a string, or a list of strings"),
        ({"classes": [1]}, r"classes\[0\]=1; expected a string"),
    ],
)
def test_a_wrong_table_is_one_line(table, message):
    with pytest.raises(ConfigError, match=message):
        entry_from_table("photos", table)


def test_a_local_copy_keeps_what_the_catalogue_says_of_the_classes():
    entry = merge(catalog()["imagenet-r"], parse_data_option("imagenet-r=/data/imagenet-r"))
    assert (entry.location, entry.split, entry.classes) == ("/data/imagenet-r", "", "imagenet-r")


def test_the_catalogue_says_where_classes_and_licence_of_every_set():
    for entry in catalog().values():
        assert entry.licence, entry.name
        assert entry.role, entry.name


@given(st.text(max_size=40))
def test_any_option_is_an_entry_or_an_error_of_one_line(option):
    message = ""
    try:
        parse_data_option(option)
    except ConfigError as error:
        message = str(error)
    assert "\n" not in message
