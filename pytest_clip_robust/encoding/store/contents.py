"""Contents of shards: the samples that they hold, as far as this process has read or written the shards.

All data sets and all corruptions of a model share one key. Without this memory, every read for one of them would read
the shards of all others, so that the bytes read would grow with the product of both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

Hashes = NDArray[np.int64]

KNOWN_BYTES = 256 * 2**20
"""Memory for the contents of shards: 8 bytes per row, so 33 million rows."""


class ShardContents:
    """Remembers the samples of shards, as sorted hashes of their digests.

    Two digests with one hash cost a read that finds nothing; a shard that holds a sample is never left out.
    """

    def __init__(self) -> None:
        self._hashes: LRUCache[str, Hashes] = LRUCache(KNOWN_BYTES, getsizeof=lambda one: one.nbytes)

    def note(self, path: str, digests: Collection[str]) -> None:
        """Remember that the shard at `path` holds `digests`."""
        hashes = hashes_of(digests)
        if hashes.nbytes <= self._hashes.maxsize:
            self._hashes[path] = hashes

    def lacks(self, path: str, wanted: Hashes) -> bool:
        """Return whether the shard at `path` is known to hold none of the samples with the hashes `wanted`."""
        held = self._hashes.get(path)
        if held is None:
            return False
        few, many = sorted((held, wanted), key=len)
        if not len(few):
            return True
        places = np.searchsorted(many, few)
        return not bool((many[np.minimum(places, len(many) - 1)] == few).any())


def hashes_of(digests: Iterable[str]) -> Hashes:
    """Return the sorted hashes of digests, for this process only: Python's hashes differ between processes."""
    return np.sort(np.fromiter(map(hash, digests), np.int64))
