"""Requeue, inspect and the roles: what people and workers ask of the rows beside the queue itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from django.db.models import Q

from easyimg.metadata.rows import detail_of
from easyimg.source import Source
from easyimg.variant import SourceDetail, VariantStatus
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

    def condition(self) -> Q:
        """Return the condition on a variant's row."""
        chosen = FAILED
        if self.kinds is not None:
            chosen &= Q(error_kind__in=list(self.kinds))
        if self.max_errors is not None:
            chosen &= Q(errors__lte=self.max_errors)
        if self.include_stale:
            chosen |= Q(status=VariantStatus.BUILDING, due_at__lte=DbNow(-self.stale_after))
        return chosen if self.source_id is None else chosen & Q(source_id=self.source_id)


def requeue(rows: Rows, choice: Choice) -> int:
    """Queue the chosen variants again; their sources first, as everywhere."""
    chosen = rows.variants.filter(choice.condition())
    burdened = Q(crashes__gt=0) | ~Q(error="")
    sources = rows.sources.filter(burdened, id__in=chosen.values("source_id"))
    sources.update(crashes=0, error="", updated_at=DbNow())
    return int(chosen.update(**queued_again()))


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
