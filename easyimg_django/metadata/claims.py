"""Claiming and giving back: what happens inside one write transaction of the queue.

A source's row is locked before its variants', always, so that two workers cannot wait for each other.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from django.db.models import F, QuerySet

from easyimg.metadata.claimed import SourceRow, Terms
from easyimg.metadata.rows import GAVE_UP, closed
from easyimg.variant import Claim, Ordered, VariantStatus
from easyimg_django.functions import DbNow
from easyimg_django.metadata.database import Rows


class _VariantRow(NamedTuple):
    """What a claim needs of a variant."""

    key: str
    source_id: str
    spec: str
    status: int
    attempts: int
    error: str


def claim(terms: Terms, sources: Sequence[str], block: bool, rows: Rows, _lost: int) -> list[Claim]:
    """Claim what is still due of the first of these sources; without ``block``, pass by locked ones."""
    claims: list[Claim] = []
    left = list(sources)
    while left and len(claims) < terms.limit:
        size = terms.limit - len(claims)
        claims += _claim_some(rows, terms, left[:size], block)
        left = left[size:]
    return claims


def _claim_some(rows: Rows, terms: Terms, ids: Sequence[str], block: bool) -> list[Claim]:
    locked = rows.sources.filter(id__in=ids).order_by("id").select_for_update(skip_locked=not block)
    sources = {row[0]: SourceRow(*row) for row in locked.values_list(*SourceRow._fields)}
    if block and len(sources) < len(ids):
        _close_orphans(rows, [id_ for id_ in ids if id_ not in sources])
    if not sources:
        return []
    found: Sequence[_VariantRow] = _lock_variants(rows, terms, list(sources))
    crashes = _count_crashes(rows, sources, found)
    found = _give_up_sources(rows, terms, sources, crashes, found)
    found = _give_up_variants(rows, terms, found)
    token = _take(rows, terms, found)
    taken: dict[str, list[Ordered]] = {}
    for row in sorted(found, key=lambda row: row.attempts, reverse=True):  # they came by key, and it stays so
        taken.setdefault(row.source_id, []).append(Ordered(row.key, row.spec, row.attempts + 1))
    return [sources[id_].claim(crashes[id_], token, taken[id_]) for id_ in ids if id_ in taken]


def _lock_variants(rows: Rows, terms: Terms, ids: Sequence[str]) -> list[_VariantRow]:
    due = rows.variants.filter(source_id__in=ids, due_at__lte=DbNow())
    if terms.keys is not None:
        due = due.filter(key__in=terms.keys)
    return [_VariantRow(*row) for row in due.order_by("key").select_for_update().values_list(*_VariantRow._fields)]


def _close_orphans(rows: Rows, ids: Sequence[str]) -> None:
    """Close variants whose source has no row (somebody deleted it by hand): due for ever, they would hide others."""
    orphans = rows.variants.filter(source_id__in=ids, due_at__isnull=False)
    _close(orphans, VariantStatus.SOURCE_ERROR, "its source has no row any more")


def _count_crashes(rows: Rows, sources: Mapping[str, SourceRow], found: Iterable[_VariantRow]) -> dict[str, int]:
    """Add one crash to each source with a lapsed lease; return the crashes of all."""
    lapsed = {row.source_id for row in found if row.status == VariantStatus.BUILDING}
    if lapsed:
        rows.sources.filter(id__in=sorted(lapsed)).update(crashes=F("crashes") + 1, updated_at=DbNow())
    return {id_: row.crashes + (id_ in lapsed) for id_, row in sources.items()}


def _give_up_sources(
    rows: Rows,
    terms: Terms,
    sources: Mapping[str, SourceRow],
    crashes: Mapping[str, int],
    found: Sequence[_VariantRow],
) -> Sequence[_VariantRow]:
    """Close all open variants of sources that crashed too often; return the rows of the others."""
    given_up = {
        id_: row.error or f"crashed {crashes[id_]} times"
        for id_, row in sources.items()
        if row.error or crashes[id_] >= terms.max_attempts
    }
    for id_, error in given_up.items():
        rows.sources.filter(id=id_).update(error=error, updated_at=DbNow())
        _close(rows.variants.filter(source_id=id_, due_at__isnull=False), VariantStatus.SOURCE_ERROR, error)
    return [row for row in found if row.source_id not in given_up]


def _give_up_variants(rows: Rows, terms: Terms, found: Sequence[_VariantRow]) -> Sequence[_VariantRow]:
    """Close variants whose attempts are used up; return the others."""
    for row in found:
        if row.attempts >= terms.max_attempts:
            error = f"gave up after {row.attempts} attempts{': ' if row.error else ''}{row.error}"
            _close(rows.variants.filter(key=row.key), VariantStatus.BUILD_ERROR, error)
    return [row for row in found if row.attempts < terms.max_attempts]


def _close(variants: QuerySet, status: VariantStatus, error: str) -> None:
    variants.update(status=status, errors=F("errors") + 1, **closed(GAVE_UP, error))


def _take(rows: Rows, terms: Terms, found: Sequence[_VariantRow]) -> str:
    """Make these rows ours under a fresh token, each counting one more attempt."""
    token = secrets.token_hex(16)
    if found:
        rows.variants.filter(key__in=[row.key for row in found]).update(
            status=VariantStatus.BUILDING, token=token, attempts=F("attempts") + 1, due_at=DbNow(terms.lease)
        )
    return token


def held(rows: Rows, claim: Claim) -> QuerySet:
    """Return the variants that are still a claim's (replacing a source drops the tokens)."""
    return rows.variants.filter(source_id=claim.source_id, token=claim.token, status=VariantStatus.BUILDING)


def renew(rows: Rows, claim: Claim, lease: float) -> bool:
    """Push the lease's end; one statement."""
    return bool(held(rows, claim).update(due_at=DbNow(lease)))


def release(rows: Rows, claim: Claim) -> None:
    """Give back, not counting the attempt; one statement."""
    held(rows, claim).update(status=VariantStatus.QUEUED, due_at=DbNow(), token=None, attempts=F("attempts") - 1)
