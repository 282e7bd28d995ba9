"""JSON Schema of report.json, generated from the types that the document is written and read with.

``python -m pytest_clip_robust.report.schema`` prints it; report.schema.json next to this module is its output.
"""

from __future__ import annotations

import json
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from pytest_clip_robust.core.finding import Status
from pytest_clip_robust.gates import Verdict
from pytest_clip_robust.report.document import SCHEMA, Document

DIALECT = "https://json-schema.org/draft/2020-12/schema"
SCALARS = {str: "string", bool: "boolean", int: "integer", float: "number"}
VERDICTS = [str(verdict) for verdict in Verdict]

NARROWER: dict[tuple[str, str], dict[str, Any]] = {
    ("Document", "schema"): {"const": SCHEMA},
    ("Record", "verdict"): {"enum": VERDICTS},
    ("FindingRecord", "status"): {"enum": [str(status) for status in Status]},
    ("Document", "verdicts"): {
        "type": "object",
        "propertyNames": {"enum": VERDICTS},
        "additionalProperties": {"type": "integer", "minimum": 0},
    },
}
"""Values about which the types say less than is known, by class and key."""


def document_schema() -> dict[str, Any]:
    """Return the schema of the content of report.json."""
    parts: dict[str, Any] = {}
    top = _schema_of(Document, parts)
    return {
        "$schema": DIALECT,
        "title": f"report.json of pytest-clip-robust, schema {SCHEMA}",
        **top,
        "$defs": dict(sorted(parts.items())),
    }


def text_of_schema() -> str:
    """Return the schema as it is published, in report.schema.json."""
    return json.dumps(document_schema(), indent=1) + "\n"


def _schema_of(kind: Any, parts: dict[str, Any]) -> dict[str, Any]:  # noqa: PLR0911 - one per kind of annotation
    """Return the schema of an annotation; every TypedDict is added to `parts` once, by its name."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return {}
    if origin in {Union, UnionType}:
        return {"anyOf": [_schema_of(one, parts) for one in arguments]}
    if origin is Annotated:
        return _schema_of(arguments[0], parts)
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is list:
        return {"type": "array", "items": _schema_of(arguments[0], parts)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema_of(arguments[1], parts)}
    if is_typeddict(kind):
        if kind.__name__ not in parts:
            parts[kind.__name__] = {}  # a part may contain itself
            parts[kind.__name__] = _object(kind, parts)
        return {"$ref": f"#/$defs/{kind.__name__}"}
    return {"type": "null" if kind is NoneType else SCALARS[kind]}


def _object(kind: Any, parts: dict[str, Any]) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    return {
        "type": "object",
        "properties": {
            name: NARROWER.get((kind.__name__, name)) or _schema_of(hint, parts) for name, hint in hints.items()
        },
        "required": sorted(kind.__required_keys__),
        "additionalProperties": False,
    }


if __name__ == "__main__":
    import sys

    sys.stdout.write(text_of_schema())
