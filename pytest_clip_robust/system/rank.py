"""Processes that torchrun, Slurm or anybody started side by side: each encodes its share into one store.

RANK and WORLD_SIZE say which of how many this one is, as all such launchers do. The share of a process follows from the
digests of samples alone, so it is the same whatever the order, the data set and the time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from pytest_clip_robust.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Rank:
    """The part of all samples that process `index`, counted from 0, of `world_size` encodes.

    local_rank: its number among those of its machine, which picks a GPU; None where nobody said.

    >>> str(Rank(1, 4)), [Rank(index, 2).owns("abc") for index in (0, 1)]
    ('rank 1 of 4', [True, False])
    """

    index: int
    world_size: int
    local_rank: int | None = None

    def __str__(self) -> str:
        return f"rank {self.index} of {self.world_size}"

    def owns(self, digest: str) -> bool:
        """Tell whether this process encodes the sample; of all processes exactly one does."""
        number = int.from_bytes(hashlib.sha256(digest.encode()).digest()[:8], "big")
        return number % self.world_size == self.index


def read_rank(environment: Mapping[str, str]) -> Rank | None:
    """Read RANK, WORLD_SIZE and LOCAL_RANK; None where WORLD_SIZE is unset or 1, and the process is on its own.

    Raises:
        ConfigError: they are no numbers, do not fit together, or WORLD_SIZE stands alone.
    """
    if not environment.get("WORLD_SIZE"):
        return None
    world_size = _number(environment, "WORLD_SIZE", "how many processes there are")
    if world_size < 1:
        raise ConfigError(f"WORLD_SIZE={world_size}: expected how many processes there are, 1 or more")
    if world_size == 1:
        return None
    which = f"which of the {world_size} processes (WORLD_SIZE) this is, 0 to {world_size - 1}"
    if not environment.get("RANK"):
        raise ConfigError(f"WORLD_SIZE={world_size} without RANK: say in RANK {which}, or unset it")
    rank = _number(environment, "RANK", which)
    if not 0 <= rank < world_size:
        raise ConfigError(f"RANK={rank}: expected {which}")
    local_rank = None
    if environment.get("LOCAL_RANK"):
        local_rank = _number(environment, "LOCAL_RANK", wanted := "this process's number on its machine, from 0")
        if local_rank < 0:
            raise ConfigError(f"LOCAL_RANK={local_rank}: expected {wanted}")
    return Rank(rank, world_size, local_rank)


def _number(environment: Mapping[str, str], name: str, wanted: str) -> int:
    try:
        return int(environment[name])
    except ValueError:
        raise ConfigError(f"{name}={environment[name]!r}: expected {wanted}") from None
