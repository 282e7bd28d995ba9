"""The results of a check of a profile's data sets."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Presence(StrEnum):
    """Whether a data set can be read, most urgent first."""

    MISSING = "missing"
    DAMAGED = "damaged"
    DIFFERS = "differs"
    HUB = "on the hub"
    THERE = "there"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedSet:
    """One data set of a profile.

    roles: those that the profile gives it. found: what is there, or why it cannot be read.
    hint: where to get a copy and how to name it; ``""`` unless the set is missing, damaged or differs.
    licence: of the images, as its authors state it.
    """

    name: str
    roles: tuple[str, ...]
    presence: Presence
    found: str
    hint: str = ""
    licence: str = ""

    @property
    def failed(self) -> bool:
        """Whether a run cannot measure on this set."""
        return self.presence in {Presence.MISSING, Presence.DAMAGED}
