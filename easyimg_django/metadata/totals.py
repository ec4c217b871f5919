"""The totals of the status page."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NamedTuple

from django.db import DatabaseError, connections
from django.db.models import Count, F, Min, Q

from easyimg.metadata.rows import EXACT_BELOW, OUTDATED, RECOUNT_AFTER, SUMMARY, iso
from easyimg.variant import Counts, Priority, VariantStatus
from easyimg_django.functions import DbNow, Literal, SecondsSince
from easyimg_django.metadata.database import Rows
from easyimg_django.metadata.reports import FAILED
from easyimg_django.models import Note


class _Totals(NamedTuple):
    """``sources`` and ``generated``, and when they were counted (``""`` = just now)."""

    sources: int
    generated: int
    counted_at: str = ""


def counts(rows: Rows, stale_after: float) -> tuple[Counts, bool]:
    """Count what is not BUILT by its indexes; the totals of large tables come from the row that remembers them.

    Returns the counts, and whether the totals were counted just now and are worth remembering.
    """
    owed = _open_rows(rows, stale_after)
    failed = list(_failed_rows(rows))
    not_built = owed["pending"] + sum(row[3] for row in failed)
    remembered = _remembered(rows, OUTDATED)
    totals = remembered or _counted(rows, not_built)
    found = Counts(
        sources=totals.sources,
        generated=totals.generated,
        queued=owed["pending"] - owed["building"],
        building=owed["building"],
        source_errors=sum(row[3] for row in failed if row[0] == VariantStatus.SOURCE_ERROR),
        build_errors=sum(row[3] for row in failed if row[0] == VariantStatus.BUILD_ERROR),
        stale=owed["stale"],
        oldest_owed=max(0.0, *(_oldest(rows, priority) for priority in Priority)),
        error_counts=tuple(sorted(_sums((errors, count) for _, _, errors, count in failed).items())),
        error_kinds=_error_kinds(rows, _sums((kind, count) for _, kind, _, count in failed)),
        counted_at=totals.counted_at,
    )
    is_large = max(totals.sources, totals.generated + not_built) >= EXACT_BELOW
    return found, remembered is None and is_large


def _sums(pairs: Iterable[tuple[Any, int]]) -> dict[Any, int]:
    total: dict[Any, int] = {}
    for name, count in pairs:
        total[name] = total.get(name, 0) + count
    return total


def _open_rows(rows: Rows, stale_after: float) -> Any:
    """How many are owed, are being built, lapsed. One walk of the index on due_at that sorts nothing."""
    # Every priority by name: MariaDB's index, which holds all rows, begins with it.
    some = rows.variants.filter(priority__in=[Literal(p) for p in Priority], due_at__isnull=False)
    building = Q(status=Literal(VariantStatus.BUILDING))
    return some.aggregate(
        pending=Count(Literal(1)),
        building=Count(Literal(1), filter=building),
        stale=Count(Literal(1), filter=building & Q(due_at__lte=DbNow(-stale_after))),
    )


def _oldest(rows: Rows, priority: Priority) -> float:
    """Return since when the oldest of a priority is due, seconds: the first row of its part of the index."""
    first = rows.variants.filter(priority=Literal(priority), due_at__isnull=False)
    return float(first.aggregate(owed=SecondsSince(Min("due_at")))["owed"] or 0)


def _failed_rows(rows: Rows) -> Any:
    groups = rows.variants.filter(FAILED).order_by().values("status", "error_kind", "errors")
    return groups.annotate(n=Count(Literal(1))).values_list("status", "error_kind", "errors", "n")


def _error_kinds(rows: Rows, kinds: dict[str, int]) -> tuple[tuple[str, int, str], ...]:
    """Return kind, count and one message each, most frequent first."""
    ordered = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    return tuple((kind, count, _example_of(rows, kind)) for kind, count in ordered)


def _example_of(rows: Rows, kind: str) -> str:
    found = rows.variants.filter(FAILED, error_kind=kind).order_by().values_list("error", flat=True)[:1]
    return next(iter(found), "")


# The totals. Never a counter: rows are written in many short transactions, which would queue for its row.


def _remembered(rows: Rows, at_most: float) -> _Totals | None:
    """Return what was counted no longer than so many seconds ago."""
    row = rows.notes.filter(name=SUMMARY).annotate(age=SecondsSince(F("due_at"))).first()
    if row is None or row.age > at_most:
        return None
    sources, _, generated = row.value.partition(" ")
    return _Totals(int(sources), int(generated), iso(row.due_at))


def _counted(rows: Rows, not_built: int) -> _Totals:
    return _Totals(rows.sources.count(), max(0, rows.variants.count() - not_built))


def remember(rows: Rows, found: Counts) -> None:
    """Write the totals down if that is possible now: not inside a caller's transaction, where they would be locked."""
    if connections[rows.alias].in_atomic_block:
        return
    row = {"value": f"{found.sources} {found.generated}", "due_at": DbNow()}
    with suppress(DatabaseError):
        if not rows.notes.filter(name=SUMMARY).update(**row):
            rows.notes.bulk_create([Note(name=SUMMARY, **row)], ignore_conflicts=True)


def recount(rows: Rows) -> None:
    """Count again what was remembered a while ago; forget it where the tables are small by now."""
    if not rows.notes.filter(name=SUMMARY).exists() or _remembered(rows, RECOUNT_AFTER):
        return
    not_built = rows.variants.filter(due_at__isnull=False).count() + rows.variants.filter(FAILED).count()
    totals = _counted(rows, not_built)
    if max(totals.sources, totals.generated + not_built) < EXACT_BELOW:
        rows.notes.filter(name=SUMMARY).delete()
    else:
        remember(rows, Counts(sources=totals.sources, generated=totals.generated))
