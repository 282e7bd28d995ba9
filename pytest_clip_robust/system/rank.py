"""Ranks: several processes, started by torchrun or Slurm for example, each encode a share into one feature store.

The environment variables RANK and WORLD_SIZE give the number of this process and of all processes, as these launchers
set them. A sample's digest alone decides which rank encodes it, in every run and for every data set.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from pytest_clip_robust.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Rank:
    """Process `index`, counted from 0, of `world_size` processes.

    local_rank: its number among the processes of its machine, which selects a GPU; None if it is not known.

    >>> str(Rank(1, 4)), [Rank(index, 2).owns("abc") for index in (0, 1)]
    ('rank 1 of 4', [True, False])
    """

    index: int
    world_size: int
    local_rank: int | None = None

    def __str__(self) -> str:
        return f"rank {self.index} of {self.world_size}"

    def owns(self, digest: str) -> bool:
        """Return whether this process encodes the sample; exactly one of all processes does."""
        number = int.from_bytes(hashlib.sha256(digest.encode()).digest()[:8], "big")
        return number % self.world_size == self.index


def read_rank(environment: Mapping[str, str]) -> Rank | None:
    """Return the rank given by RANK, WORLD_SIZE and LOCAL_RANK; None if WORLD_SIZE is unset or 1.

    Raises:
        ConfigError: a value is not a number or is out of range, or WORLD_SIZE is given without RANK.
    """
    if not environment.get("WORLD_SIZE"):
        return None
    world_size = _number(environment, "WORLD_SIZE", "the number of processes")
    if world_size < 1:
        raise ConfigError(f"WORLD_SIZE={world_size}: expected the number of processes, 1 or more")
    if world_size == 1:
        return None
    expected = f"a number from 0 to {world_size - 1} (WORLD_SIZE={world_size})"
    if not environment.get("RANK"):
        raise ConfigError(f"WORLD_SIZE={world_size} without RANK: set RANK to {expected}, or unset WORLD_SIZE")
    rank = _number(environment, "RANK", expected)
    if not 0 <= rank < world_size:
        raise ConfigError(f"RANK={rank}: expected {expected}")
    local_rank = None
    if environment.get("LOCAL_RANK"):
        local_rank = _number(environment, "LOCAL_RANK", wanted := "the number of this process on its machine, from 0")
        if local_rank < 0:
            raise ConfigError(f"LOCAL_RANK={local_rank}: expected {wanted}")
    return Rank(rank, world_size, local_rank)


def _number(environment: Mapping[str, str], name: str, wanted: str) -> int:
    try:
        return int(environment[name])
    except ValueError:
        raise ConfigError(f"{name}={environment[name]!r}: expected {wanted}") from None
