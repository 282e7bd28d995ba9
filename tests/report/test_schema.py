"""The published JSON Schema of report.json accepts what is written, and refuses what is broken."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from handmade_reports import MEAN, NLL, TOP1, changed, document_of, flip, miss, record
from hostile_names import HOSTILE, hostile_document

import pytest_clip_robust.report.schema as schema_module
from pytest_clip_robust.gates.record import record_error
from pytest_clip_robust.report.schema import document_schema, text_of_schema

PUBLISHED = Path(schema_module.__file__).with_name("report.schema.json")


@pytest.fixture(scope="module")
def validator():
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(document_schema())
    return jsonschema.Draft202012Validator(json.loads(PUBLISHED.read_text()))


@pytest.fixture(scope="module")
def document():
    records = [
        changed(record(TOP1, 0.6, model="m"), 0.7, verdict="regressed", flips=[flip("s")], misses=[miss("s")]),
        record(MEAN, 0.6, model="m"),
        changed(record(NLL, 0.6, model="m"), 0.6),
        record_error("no weights", model="m", measurement="test_a", test="test_a"),
    ]
    return document_of(records, exit_status=1, not_applicable=[{"reason": "r", "tests": 2}])


def test_the_published_file_follows_from_the_types():
    assert PUBLISHED.read_text() == text_of_schema(), (
        "run python -m pytest_clip_robust.report.schema > report.schema.json"
    )


def test_what_is_written_is_valid(validator, document):
    assert list(validator.iter_errors(json.loads(json.dumps(document)))) == []
    assert list(validator.iter_errors(document_of([], exit_status=5))) == []


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_names_do_not_matter(validator, name):
    assert validator.is_valid(json.loads(json.dumps(hostile_document(name))))


def broken(document, *path, value):
    """Return the document with another value at a path; a value of None removes the key."""
    found = copy.deepcopy(document)
    part = found
    for key in path[:-1]:
        part = part[key]
    if value is None:
        del part[path[-1]]
    else:
        part[path[-1]] = value
    return found


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema",), 5),
        (("alpha",), "0.05"),
        (("profile",), None),
        (("surprise",), 1),
        (("notices",), [1]),
        (("verdicts", "passed"), -1),
        (("verdicts", "lost"), 1),
        (("gates", -1, "verdict"), "lost"),
        (("gates", -1, "test"), None),
        (("gates", -1, "n"), 1.5),
        (("gates", -1, "direction"), "up"),
        (("gates", -1, "interval", "low"), None),
        (("gates", -1, "change", "flips", 0, "truth"), 3),
        (("gates", -1, "misses", 0, "confidence"), "high"),
        (("gates", -1, "plot"), {"x": [1, "a"]}),
        (("conclusions", 0, "verdict"), "fine"),
        (("not_applicable", 0, "tests"), None),
    ],
)
def test_a_broken_document_is_refused(validator, document, path, value):
    assert document["gates"][-1]["measurement"] == TOP1
    assert not validator.is_valid(json.loads(json.dumps(broken(document, *path, value=value))))
