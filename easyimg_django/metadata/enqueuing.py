"""Queueing variants: new rows are inserted, and those that wait already get the priority of whoever asks now."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from django.db import connections
from django.db.models import Case, F, When

from easyimg.errors import MetadataError
from easyimg.metadata.rows import GAVE_UP, NewVariant, facts
from easyimg.variant import Priority, VariantStatus, Wanted
from easyimg_django.functions import DbNow
from easyimg_django.metadata.database import Rows
from easyimg_django.models import Source, Variant

CHUNK = 500
"""Keys per statement. From 1,000 on, MariaDB turns an IN list into a temporary table, and its plan may change."""


def chunks(items: Iterable[Any]) -> Iterable[list[Any]]:
    """Yield lists of up to ``CHUNK`` items."""
    rest = iter(items)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk


def enqueue(rows: Rows, wishes: Mapping[str, Wanted], variants: Sequence[NewVariant]) -> set[str]:
    """Insert what is absent and raise the priority of what waits; return ids of sources with anything new.

    Args:
        wishes: by source id, sorted.
        variants: sorted by key.
    """
    errors = insert_sources(rows, wishes)
    inserted = _insert_variants(rows, variants, errors)
    known = [key for key, _, _, priority in variants if priority > Priority.BACKGROUND and key not in inserted]
    for keys in chunks(known):
        _raise(rows, keys)
    return {source_id for key, source_id, _, _ in variants if key in inserted}


def insert_sources(rows: Rows, wishes: Mapping[str, Wanted]) -> dict[str, str]:
    """Insert the sources that have no row, and fill empty facts; return why those with a row were given up."""
    known: dict[str, tuple[str, int | None]] = {}
    for ids in chunks(wishes):
        found = rows.sources.filter(id__in=ids).values_list("id", "error", "width")
        known.update((id_, (error, width)) for id_, error, width in found)
    new = [_source(wish) for id_, wish in wishes.items() if id_ not in known]
    if new:
        _check_charset(rows, new)
        rows.sources.bulk_create(new, ignore_conflicts=True)
    for id_, wish in wishes.items():
        # Also of those just inserted by us or a rival: whoever comes second fills what the first one did not know.
        if wish.info is not None and (id_ in known) and known[id_][1] is None:
            rows.sources.filter(id=id_, width=None).update(**facts(wish.info), updated_at=DbNow())
    return {id_: error for id_, (error, _) in known.items() if error}


def _check_charset(rows: Rows, sources: Iterable[Source]) -> None:
    """Refuse names that MariaDB would keep with question marks in them: Django 4.2 connects with three-byte UTF-8."""
    connection = connections[rows.alias]
    if connection.vendor != "mysql" or all(max(source.name) <= "\uffff" for source in sources):
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@character_set_connection")
        charset = cursor.fetchone()[0]
    if charset != "utf8mb4":
        raise MetadataError(
            f"a name cannot be kept over a connection in {charset}: set OPTIONS = {{'charset': 'utf8mb4'}} "
            f"in DATABASES[{rows.alias!r}]"
        )


def _source(wish: Wanted) -> Source:
    source = wish.source
    return Source(id=source.id, storage=source.storage, name=source.name, **facts(wish.info))


def _insert_variants(rows: Rows, variants: Sequence[NewVariant], errors: Mapping[str, str]) -> set[str]:
    """Insert variants where absent; return the keys of those that were.

    Their token tells ours from a rival's: nothing else says so alike on all databases. A claim takes its place.
    """
    if not variants:
        return set()
    token = secrets.token_hex(16)
    now = DbNow()
    rows.variants.bulk_create([_variant(row, token, now, errors) for row in variants], ignore_conflicts=True)
    inserted: set[str] = set()
    for some in chunks(variants):
        inserted.update(rows.variants.filter(key__in=[v[0] for v in some], token=token).values_list("key", flat=True))
    return inserted


def _variant(row: NewVariant, token: str, now: DbNow, errors: Mapping[str, str]) -> Variant:
    """Return a new row: QUEUED and due now; SOURCE_ERROR with the source's own words when that was given up."""
    key, source_id, spec, priority = row
    row_is = {"key": key, "source_id": source_id, "spec": spec, "priority": priority, "token": token, "created_at": now}
    if source_id not in errors:
        return Variant(due_at=now, **row_is)
    given_up = VariantStatus.SOURCE_ERROR.value
    return Variant(status=given_up, error_kind=GAVE_UP, error=errors[source_id], **row_is)


def _raise(rows: Rows, keys: Sequence[str]) -> None:
    """Raise what nobody is claiming right now: who claims it is about to build it.

    They become the newest of what pages wait for, which is built next. One to be tried later keeps its time.
    """
    waits = {"status": VariantStatus.QUEUED, "priority": Priority.BACKGROUND}
    behind = rows.variants.filter(key__in=keys, **waits).order_by("key").select_for_update(skip_locked=True)
    found = list(behind.values_list("key", flat=True))
    if found:
        newest = Case(When(due_at__lte=DbNow(), then=DbNow()), default=F("due_at"))
        rows.variants.filter(key__in=found).update(due_at=newest, priority=Priority.PAGE)
