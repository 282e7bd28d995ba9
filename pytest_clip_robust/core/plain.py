"""Reader of plain data: TOML and JSON values, checked against type annotations and converted to them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from numbers import Real
from types import NoneType
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints, is_typeddict

from pytest_clip_robust.errors import LONGEST_SHOWN, ClipRobustError, ConfigError, did_you_mean, shown

T = TypeVar("T")

LIMIT = 2**63


@dataclass(frozen=True, slots=True)
class AtLeast:
    """The smallest allowed number, in ``Annotated[int, AtLeast(0)]``."""

    least: int


Count = Annotated[int, AtLeast(0)]
NotNegative = Annotated[float, AtLeast(0)]


def read_section(
    cls: type[T], table: object, *, where: str, error: type[ClipRobustError] = ConfigError, **given: object
) -> T:
    """Return the dataclass `cls` with the values of `table`; a missing key keeps its field's default.

    Args:
        cls: its annotations say what is allowed; see `read_value`.
        table: as TOML or JSON gives it.
        where: names the table in messages, such as ``profile mine.toml: corruptions``.
        error: the class of error to raise.
        given: fields that are set here and are not keys of the table.

    Raises:
        ClipRobustError: `table` is not a table, a key is unknown, a value is not allowed, or `cls` refuses them.

    >>> @dataclass(frozen=True)
    ... class Section:
    ...     images: Count = 0
    >>> read_section(Section, {"images": 3}, where="corruptions")
    Section(images=3)
    >>> read_section(Section, {"image": 3}, where="corruptions")
    Traceback (most recent call last):
    pytest_clip_robust.errors.ConfigError: corruptions: unknown key 'image' (did you mean 'images'?); expected images
    """
    if not isinstance(table, Mapping):
        raise error(f"{where} is {shown(table)}; expected a table")
    hints = _hints(cls)  # type: ignore[arg-type]
    known = [field.name for field in fields(cls) if field.name not in given]  # type: ignore[arg-type]
    for key in table:
        if key not in known:
            near = did_you_mean(str(key), known)
            raise error(f"{where}: unknown key {shown(key)}{near}; expected {', '.join(known)}")
    values = {key: read_value(hints[key], value, where=f"{where}.{key}", error=error) for key, value in table.items()}
    try:
        return cls(**given, **values)
    except error as cause:
        raise error(f"{where}: {cause}") from None


def read_value(kind: Any, value: object, *, where: str, error: type[ClipRobustError] = ConfigError) -> Any:
    """Return `value` as the annotation `kind`.

    ``Literal`` names the allowed values, and `AtLeast` a lower bound. ``tuple[str, ...]`` takes a list, or one string
    for a list of one; a tuple of a ``Literal`` is returned in the Literal's order, without repetitions. A TypedDict
    needs its required keys and keeps unknown ones. Numbers must be finite.

    Raises:
        ClipRobustError: `value` does not fit; the message begins with `where`.

    >>> read_value(tuple[Literal[1, 3, 5], ...], [5, 1], where="severities")
    (1, 5)
    >>> read_value(tuple[Literal[1, 3, 5], ...], [2], where="severities")
    Traceback (most recent call last):
    pytest_clip_robust.errors.ConfigError: severities[0]=2; expected one of 1, 3, 5
    """
    return _Reader(error).read(kind, value, where)


def part_of(where: str, key: str) -> str:
    r"""Return the name of the value of `key` in the table that `where` names, fit to print.

    >>> part_of("gates", "zero_shot.top1"), part_of("gates", "\n")
    ('gates.zero_shot.top1', "gates.'\\n'")
    """
    plain = key if key.isprintable() and len(key) <= LONGEST_SHOWN else shown(key)
    return f"{where}.{plain}" if where else plain


class _Reader:
    """Reads values of every supported kind; each method returns the value or raises `error`."""

    def __init__(self, error: type[ClipRobustError]) -> None:
        self._error = error
        self._readers: Mapping[Any, Callable[[Sequence[Any], Any, str], Any]] = {
            Annotated: self._at_least,
            Literal: self._one_of,
            tuple: self._tuple,
            list: self._list,
            dict: self._dict,
        }

    def read(self, kind: Any, value: Any, where: str) -> Any:
        origin, arguments = get_origin(kind), get_args(kind)
        if NoneType in arguments:
            return None if value is None else self.read(arguments[0], value, where)
        if origin in self._readers:
            return self._readers[origin](arguments, value, where)
        if is_typeddict(kind):
            return self._typed_dict(kind, value, where)
        return value if kind is Any else self._scalar(kind, value, where)

    def _expect(self, holds: bool, value: object, where: str, words: str) -> None:  # noqa: FBT001 - a condition
        if not holds:
            raise self._error(f"{where}={shown(value)}; expected {words}")

    def _scalar(self, kind: type, value: Any, where: str) -> Any:
        if kind is float:
            self._expect(isinstance(value, Real) and not isinstance(value, bool), value, where, "a number")
            try:
                number = float(value)
            except OverflowError:
                number = math.inf
            self._expect(math.isfinite(number), value, where, "a finite number")
            return number
        if kind is int:
            whole = isinstance(value, int) and not isinstance(value, bool)
            self._expect(whole, value, where, "a whole number")
            self._expect(abs(value) < LIMIT, value, where, "a whole number of at most 64 bits")
        else:
            self._expect(isinstance(value, kind), value, where, {str: "a string", bool: "true or false"}[kind])
        return value

    def _at_least(self, arguments: Sequence[Any], value: Any, where: str) -> Any:
        kind, bound = arguments
        read = self.read(kind, value, where)
        self._expect(read >= bound.least, value, where, f"{bound.least} or more")
        return read

    def _one_of(self, allowed: Sequence[Any], value: Any, where: str) -> Any:
        near = did_you_mean(value, map(str, allowed)) if isinstance(value, str) else ""
        same = [one for one in allowed if type(one) is type(value) and one == value]
        self._expect(bool(same), value, where, f"one of {', '.join(map(str, allowed))}{near}")
        return value

    def _tuple(self, arguments: Sequence[Any], value: Any, where: str) -> tuple[Any, ...]:
        kind = arguments[0]
        if kind is str or (get_origin(kind) is Literal and isinstance(value, str)):
            self._expect(isinstance(value, str | list | tuple), value, where, "a string, or a list of strings")
            value = [value] if isinstance(value, str) else value
        read = self._list(arguments, value, where)
        self._expect("" not in read, value, where, "strings that are not empty")
        return tuple(one for one in get_args(kind) if one in read) if get_origin(kind) is Literal else tuple(read)

    def _list(self, arguments: Sequence[Any], value: Any, where: str) -> list[Any]:
        self._expect(isinstance(value, list | tuple), value, where, "a list")
        return [self.read(arguments[0], one, f"{where}[{place}]") for place, one in enumerate(value)]

    def _dict(self, arguments: Sequence[Any], value: Any, where: str) -> dict[str, Any]:
        return self._table({}, arguments[1], value, where)

    def _typed_dict(self, kind: Any, value: Any, where: str) -> Any:
        read = self._table(_hints(kind), Any, value, where)
        for key in sorted(kind.__required_keys__ - set(read)):
            raise self._error(f"{where or 'the top level'} has no {shown(key)}")
        return read

    def _table(self, kinds: Mapping[str, Any], other: Any, value: Any, where: str) -> dict[str, Any]:
        self._expect(isinstance(value, Mapping), value, where, "a table")
        return {key: self.read(kinds.get(key, other), one, part_of(where, key)) for key, one in value.items()}


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls, include_extras=True)
