"""One check of a loaded model: what was measured, what was expected, and what to do if they differ."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """The verdict of a check, most urgent first."""

    FAILED = "failed"
    WARNING = "warning"
    OK = "ok"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One row: `name` is the same for every model; `fix` says what to do and is empty unless the row is not ok."""

    name: str
    status: Status
    measured: str
    expected: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedModel:
    """The checks of one model, with the loader's notes and the seconds that loading and checking took."""

    label: str
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def failed(self) -> bool:
        """Whether a check failed; warnings do not count."""
        return any(check.status == Status.FAILED for check in self.checks)


def not_applicable(name: str, reason: str) -> Check:
    """Return a row for a check that this model cannot be given.

    >>> not_applicable("scale", "the model has no texts").status
    <Status.NOT_APPLICABLE: 'not applicable'>
    """
    return Check(name=name, status=Status.NOT_APPLICABLE, measured=reason)


def judged(name: str, measured: str, *, expected: str = "", failure: str = "", warning: str = "") -> Check:
    """Return a row that failed if there is a `failure`, else a warning if there is one, else ok; both are the fix.

    >>> judged("scale", "scale 100", expected="2 to 100").status
    <Status.OK: 'ok'>
    >>> judged("scale", "scale 300", expected="2 to 100", failure="store its logarithm").fix
    'store its logarithm'
    """
    status = Status.FAILED if failure else Status.WARNING if warning else Status.OK
    return Check(name=name, status=status, measured=measured, expected=expected, fix=failure or warning)
