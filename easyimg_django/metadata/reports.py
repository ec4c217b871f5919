"""Requeue, inspect and the roles: what people and workers ask of the rows beside the queue itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from django.db.models import Q, QuerySet

from easyimg.metadata.rows import detail_of
from easyimg.source import Source
from easyimg.variant import Priority, SourceDetail, VariantStatus
from easyimg_django import models
from easyimg_django.functions import DbNow, Literal
from easyimg_django.metadata.database import Rows
from easyimg_django.metadata.settling import queued_again

FAILED = Q(status__gte=Literal(VariantStatus.SOURCE_ERROR))
"""The condition that a variant was given up, as its index has it."""


class Choice(NamedTuple):
    """Which failed variants to queue again."""

    kinds: Sequence[str] | None
    max_errors: int | None
    include_stale: bool
    stale_after: float
    source_id: str | None

    def some(self, rows: Rows) -> Iterator[QuerySet]:
        """Yield the chosen variants, those of each index apart."""
        of_source = Q() if self.source_id is None else Q(source_id=self.source_id)
        if self.max_errors is None or self.max_errors >= 0:
            failed = FAILED if self.kinds is None else FAILED & Q(error_kind__in=list(self.kinds))
            yield rows.variants.filter(of_source, failed if self.max_errors is None else failed & self._errors)
        if self.include_stale:
            # Every priority by name: MariaDB's index, which holds all rows, begins with it.
            some = Q(priority__in=[Literal(priority) for priority in Priority])
            yield rows.variants.filter(of_source, some, stale(self.stale_after))

    @property
    def _errors(self) -> Q:
        return Q(errors__lte=self.max_errors)


def stale(seconds: float) -> Q:
    """Return the condition that a build ended without a verdict so long ago."""
    return Q(status=Literal(VariantStatus.BUILDING), due_at__lte=DbNow(-seconds))


def chosen(rows: Rows, choice: Choice) -> list[str]:
    """Return the keys of the chosen variants; no lock is taken."""
    return [key for some in choice.some(rows) for key in some.order_by().values_list("key", flat=True)]


def requeue(keys: Sequence[str], stale_after: float, rows: Rows, _lost: int) -> int:
    """Queue those of the chosen variants again that still are as they were chosen; their sources first, as everywhere.

    Args:
        keys: few enough for one short transaction.
        stale_after: as of the choice.
        rows: the tables.
    """
    ids = set(rows.variants.filter(key__in=keys).values_list("source_id", flat=True))
    list(rows.sources.filter(id__in=ids).order_by("id").select_for_update().values_list("id", flat=True))
    same = rows.variants.filter(FAILED | stale(stale_after), key__in=keys).order_by("key").select_for_update()
    again = dict(same.values_list("key", "source_id"))
    if again:
        burdened = Q(crashes__gt=0) | ~Q(error="")
        sources = rows.sources.filter(burdened, id__in=set(again.values()))
        sources.update(crashes=0, error="", updated_at=DbNow())
        rows.variants.filter(key__in=list(again)).update(**queued_again())
    return len(again)


def elect(rows: Rows, role: str, owner: str, seconds: float) -> bool:
    """Take or keep a role: whoever updates its row, or is first to insert it."""
    name, end = f"role:{role}", DbNow(seconds)
    free = Q(owner=owner) | Q(due_at__lte=DbNow())
    if rows.notes.filter(free, name=name).update(owner=owner, due_at=end):
        return True
    if rows.notes.filter(name=name).exists():
        return False
    # Of several that insert it one does, and all ask whose it is.
    rows.notes.bulk_create([models.Note(name=name, owner=owner, due_at=end)], ignore_conflicts=True)
    return bool(rows.notes.filter(name=name, owner=owner).exists())


def inspect(rows: Rows, source: Source) -> SourceDetail | None:
    """Return the whole of a source's rows, variants oldest first."""
    row = rows.sources.filter(id=source.id).first()
    if row is None:
        return None
    variants = rows.variants.filter(source_id=source.id).order_by("created_at", "key")
    return detail_of(row, variants)
