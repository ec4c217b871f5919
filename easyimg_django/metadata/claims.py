"""Claiming and giving back: what happens inside one write transaction of the queue.

A source's row is locked before its variants', always, so that two workers cannot wait for each other.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from django.db.models import CharField, F, QuerySet, Value
from django.db.models.functions import Cast

from easyimg.metadata.claimed import NO_SOURCE, Closing, SourceRow, Taken, Terms, used_up
from easyimg.metadata.rows import GAVE_UP, closed
from easyimg.source import Source
from easyimg.variant import Claim, GivenUp, Ordered, VariantStatus
from easyimg_django.fields import MomentField
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
    due: str


def claim(terms: Terms, sources: Sequence[str], block: bool, rows: Rows, _lost: int) -> Taken:
    """Claim what is still due of the first of these sources; without ``block``, pass by locked ones."""
    taken = Taken([], [])
    left = list(sources)
    while left and len(taken.claims) < terms.limit:
        size = terms.limit - len(taken.claims)
        taken.claims.extend(_claim_some(rows, terms, left[:size], block, taken.given_up))
        left = left[size:]
    return taken


def _claim_some(rows: Rows, terms: Terms, ids: Sequence[str], block: bool, given_up: list[GivenUp]) -> list[Claim]:
    locked = rows.sources.filter(id__in=ids).order_by("id").select_for_update(skip_locked=not block)
    sources = {row[0]: SourceRow(*row) for row in locked.values_list(*SourceRow._fields)}
    if block and len(sources) < len(ids):
        given_up += [_close_all(rows, id_, None, NO_SOURCE) for id_ in ids if id_ not in sources]
    if not sources:
        return []
    found: Sequence[_VariantRow] = _lock_variants(rows, terms, list(sources))
    crashes = _count_crashes(rows, sources, found)
    found = _give_up_sources(rows, terms, sources, crashes, found, given_up)
    found = _give_up_variants(rows, terms, sources, found, given_up)
    token = _take(rows, terms, found)
    taken: dict[str, list[Ordered]] = {}
    due: dict[str, str] = {}
    for row in sorted(found, key=lambda row: row.attempts, reverse=True):  # they came by key, and it stays so
        taken.setdefault(row.source_id, []).append(Ordered(row.key, row.spec, row.attempts + 1))
        due[row.source_id] = min(row.due, due.get(row.source_id, row.due))  # as text, they sort as they should
    return [sources[id_].claim(crashes[id_], token, taken[id_], due[id_]) for id_ in ids if id_ in taken]


def _lock_variants(rows: Rows, terms: Terms, ids: Sequence[str]) -> list[_VariantRow]:
    due = rows.variants.filter(source_id__in=ids, due_at__lte=DbNow())
    if terms.keys is not None:
        due = due.filter(key__in=terms.keys)
    due = due.order_by("key").select_for_update().annotate(due=Cast("due_at", CharField()))
    return [_VariantRow(*row) for row in due.values_list(*_VariantRow._fields)]


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
    given_up: list[GivenUp],
) -> Sequence[_VariantRow]:
    """Close all open variants of sources that crashed too often; return the rows of the others."""
    causes = {row.source_id: row.error for row in found if row.error}
    over = {
        id_: closing
        for id_, source in sources.items()
        if (closing := source.verdict(crashes[id_], terms.max_attempts, causes.get(id_, "")))
    }
    for id_, closing in over.items():
        rows.sources.filter(id=id_).update(error=closing.error, updated_at=DbNow())
        given_up.append(_close_all(rows, id_, sources[id_].source, closing))
    return [row for row in found if row.source_id not in over]


def _give_up_variants(
    rows: Rows,
    terms: Terms,
    sources: Mapping[str, SourceRow],
    found: Sequence[_VariantRow],
    given_up: list[GivenUp],
) -> Sequence[_VariantRow]:
    """Close variants whose attempts are used up; return the others."""
    for row in found:
        if row.attempts >= terms.max_attempts:
            closing = used_up(row.attempts, row.error)
            _close(rows, [row.key], closing)
            given_up.append(closing.on(row.source_id, sources[row.source_id].source, [row.key]))
    return [row for row in found if row.attempts < terms.max_attempts]


def _close_all(rows: Rows, source_id: str, source: Source | None, closing: Closing) -> GivenUp:
    """Close all that is owed of a source."""
    owed = rows.variants.filter(source_id=source_id, due_at__isnull=False)
    keys = list(owed.order_by("key").select_for_update().values_list("key", flat=True))
    _close(rows, keys, closing)
    return closing.on(source_id, source, keys)


def _close(rows: Rows, keys: Sequence[str], closing: Closing) -> None:
    row = {"status": closing.status, "errors": F("errors") + 1, **closed(GAVE_UP, closing.error)}
    rows.variants.filter(key__in=keys).update(**row)


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
    due = Cast(Value(claim.due, CharField()), MomentField()) if claim.due else DbNow()
    held(rows, claim).update(status=VariantStatus.QUEUED, due_at=due, token=None, attempts=F("attempts") - 1)
