"""What a claim is asked with, and what it is made of, in every metadata store. Loads no database library."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from easyimg.metadata.rows import focus_of, preview_of
from easyimg.source import Source
from easyimg.variant import Claim, ClaimOrder, Ordered

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

    def claim(self, crashes: int, token: str, variants: Iterable[Ordered]) -> Claim:
        """Return the claim of some of its variants."""
        return Claim(
            source_id=self.id,
            source=Source(self.storage, self.name),
            generation=self.generation,
            token=token,
            crashes=crashes,
            focus=focus_of(self),
            variants=tuple(variants),
            preview=preview_of(self),
        )
