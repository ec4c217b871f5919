"""What a claim is asked with, and what it is made of, in every metadata store. Loads no database library."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from easyimg.metadata.rows import GAVE_UP, focus_of, preview_of, said
from easyimg.source import Source
from easyimg.variant import Claim, ClaimOrder, Failure, GivenUp, Ordered, VariantStatus

CANDIDATES: Final = 16
"""Sources looked at beyond those asked for, because others may be claiming the first ones right now."""


class Terms(NamedTuple):
    """What a caller of ``claim`` asked for."""

    lease: float
    max_attempts: int
    source_id: str | None
    keys: Sequence[str] | None
    limit: int
    order: ClaimOrder

    @property
    def candidates(self) -> int:
        """How many sources to look for."""
        return 1 if self.source_id else self.limit + CANDIDATES


class Taken(NamedTuple):
    """What one transaction handed out, and what it closed on the way."""

    claims: list[Claim]
    given_up: list[GivenUp]


class Closing(NamedTuple):
    """How variants are closed that nobody tries any more."""

    status: VariantStatus
    error: str

    def on(self, source_id: str, source: Source | None, keys: Iterable[str]) -> GivenUp:
        """Return what is told of it, once it is done."""
        return GivenUp(source_id, source, tuple(Failure(key, self.status, GAVE_UP, self.error) for key in keys))


NO_SOURCE: Final = Closing(VariantStatus.SOURCE_ERROR, "its source has no row any more")
"""Somebody deleted it by hand. Due for ever, they would hide others."""


def used_up(attempts: int, cause: str) -> Closing:
    """Return the verdict on a variant whose attempts are used up.

    Args:
        attempts: how many there were.
        cause: the last error; ``""`` = none was ever written down.
    """
    return Closing(VariantStatus.BUILD_ERROR, said(f"gave up after {attempts} attempts{': ' if cause else ''}{cause}"))


def died(crashes: int, cause: str) -> Closing:
    """Return the verdict on all that is owed of a source whose builds ended without one too often.

    The original may be fine: nobody lived to tell.
    """
    times = "once" if crashes == 1 else f"{crashes} times"
    last = f" (last error: {cause})" if cause else ""
    return Closing(VariantStatus.BUILD_ERROR, said(f"gave up: the process that built it died or hung {times}{last}"))


class SourceRow(NamedTuple):
    """What a claim needs of a source."""

    id: str
    storage: str
    name: str
    generation: int
    crashes: int
    error: str
    focus_x: float | None
    focus_y: float | None
    color: str | None
    blur: str | None

    @property
    def source(self) -> Source:
        """Where the original lies."""
        return Source(self.storage, self.name)

    def verdict(self, crashes: int, max_attempts: int, cause: str) -> Closing | None:
        """Return how all that is owed of it is to be closed; None = it may be tried.

        Args:
            crashes: by now.
            max_attempts: so many crashes give it up.
            cause: the last error of any of its variants.
        """
        if self.error:  # given up before: what is still owed was ordered at that very moment
            return Closing(VariantStatus.SOURCE_ERROR, self.error)
        return died(crashes, cause) if crashes >= max_attempts else None

    def claim(self, crashes: int, token: str, variants: Iterable[Ordered], due: str) -> Claim:
        """Return the claim of some of its variants."""
        return Claim(
            source_id=self.id,
            source=self.source,
            generation=self.generation,
            token=token,
            crashes=crashes,
            focus=focus_of(self),
            variants=tuple(variants),
            preview=preview_of(self),
            due=due,
        )
