"""NewestKept: a cache of results that can be larger than its limit."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import NoReturn, TypeVar

from cachetools import LRUCache

Result = TypeVar("Result")


class NewestKept(LRUCache[Hashable, Result]):
    """Keeps the results that were used last up to `limit` bytes, and the newest also if it is larger, alone.

    The tests of one data set run in a row, and each asks for the same result: if it was too large to be kept, each
    would compute it again. A result above the limit is dropped before the next one is computed, so that two of them are
    never in memory at once because of this cache.
    """

    def __init__(self, limit: int, *, size_of: Callable[[Result], int]) -> None:
        """Set the `limit`, and a function that returns the bytes of a result."""
        super().__init__(limit, getsizeof=lambda result: min(size_of(result), limit))

    def __missing__(self, key: Hashable) -> NoReturn:
        if len(self) == 1 and self.currsize == self.maxsize:
            self.clear()
        raise KeyError(key)
