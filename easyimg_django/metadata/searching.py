"""Looking for work, without locks: an idle worker never writes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from easyimg.metadata.claimed import Terms
from easyimg.variant import ClaimOrder, Priority
from easyimg_django.functions import DbNow, Literal
from easyimg_django.metadata.database import Rows


class _Walk(NamedTuple):
    """What was met along the index of one priority: source id -> when it became due; and whether that was all."""

    met: dict[str, datetime]
    is_all: bool


def candidates(rows: Rows, terms: Terms) -> list[str]:
    """Return sources worth a claim."""
    limit = terms.candidates
    return due_sources(rows, limit, source_id=terms.source_id, keys=terms.keys, order=terms.order)


def due_sources(
    rows: Rows,
    limit: int,
    *,
    overdue: float = 0.0,
    source_id: str | None = None,
    keys: Sequence[str] | None = None,
    order: ClaimOrder = ClaimOrder.OLDEST_FIRST,
) -> list[str]:
    """Return up to ``limit`` ids of sources with variants that are due.

    Walks the index from an end; a GROUP BY would read the whole backlog.
    """
    due = rows.variants.filter(due_at__lte=DbNow(-overdue))
    if source_id is not None:
        due = due.filter(source_id=source_id)
    if keys is not None:
        due = due.filter(key__in=keys)
    found: dict[str, None] = {}
    while len(found) < limit:
        rest = due.exclude(source_id__in=list(found)) if found else due
        ids, is_all = _look(rest, limit, order)
        found.update(dict.fromkeys(ids))
        if is_all:
            break
    return list(found)[:limit]


def _look(due: object, limit: int, order: ClaimOrder) -> tuple[list[str], bool]:
    """Return sources in order, and whether there are no more."""
    is_oldest = order is ClaimOrder.OLDEST_FIRST
    pages = _walk(due, Priority.PAGE, 4 * limit, newest=not is_oldest)
    first = sorted(pages.met, key=lambda id_: (pages.met[id_], id_), reverse=not is_oldest)
    if order is ClaimOrder.PAGES_ONLY or (not is_oldest and len(first) >= limit):
        return first, pages.is_all
    behind = _walk(due, Priority.BACKGROUND, 4 * limit, newest=False)
    if is_oldest:
        both = [(when, id_) for walk in (pages, behind) for id_, when in walk.met.items()]
        return [id_ for _, id_ in sorted(both)], pages.is_all and behind.is_all
    rest = sorted(behind.met, key=lambda id_: (behind.met[id_], id_))
    return first + rest, pages.is_all and behind.is_all


def _walk(due: object, priority: Priority, steps: int, *, newest: bool) -> _Walk:
    some = due.filter(priority=Literal(priority)).order_by("-due_at" if newest else "due_at")  # type: ignore[attr-defined]
    found = list(some.values_list("source_id", "due_at")[:steps])
    met: dict[str, datetime] = {}
    for id_, when in found:
        met.setdefault(id_, when)  # the first that is met is the oldest, or the newest
    return _Walk(met, len(found) < steps)
