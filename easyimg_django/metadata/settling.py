"""Settling: publishing what came of a claim, and starting a source's variants over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from django.db.models import F

from easyimg.metadata.rows import FILE_COLUMNS, FORGOTTEN, check_source, closed, facts
from easyimg.preview import Preview
from easyimg.source import Source, SourceInfo
from easyimg.variant import Built, Claim, Failure, Priority, VariantStatus, Wanted
from easyimg_django.functions import DbNow
from easyimg_django.metadata.claims import held
from easyimg_django.metadata.database import Rows
from easyimg_django.metadata.enqueuing import insert_sources


class Verdict(NamedTuple):
    """What a caller of ``publish`` brings."""

    claim: Claim
    built: Sequence[Built]
    failed: Sequence[Failure]
    info: SourceInfo | None
    version: str
    preview: Preview | None
    crashed: bool


def publish(rows: Rows, verdict: Verdict, *, repeated: bool = False) -> frozenset[str]:
    """Settle the claimed rows that are still ours; return their keys.

    Args:
        repeated: the connection was lost while this was committed; rows that already show these very files count as
            accepted, or their files would be taken for leftovers.
    """
    claim = verdict.claim
    source = rows.sources.filter(id=claim.source_id).select_for_update()
    if list(source.values_list("generation", flat=True)) != [claim.generation]:
        return frozenset()
    ours = set(held(rows, claim).select_for_update().values_list("key", flat=True))
    built = [b for b in verdict.built if b.key in ours]
    failed = [f for f in verdict.failed if f.key in ours]
    for file in built:
        _set_built(rows, file)
    for failure in failed:
        _set_failed(rows, failure)
    if built or failed:
        _set_source(rows, verdict, settled=bool(built) or any(f.retry_in is None for f in failed))
    accepted = {b.key for b in built} | {f.key for f in failed}
    return frozenset(accepted | (_already_built(rows, verdict.built) if repeated else set()))


def _already_built(rows: Rows, built: Sequence[Built]) -> set[str]:
    wanted = rows.variants.filter(key__in=[b.key for b in built], status=VariantStatus.BUILT)
    stored = dict(wanted.values_list("key", "file_name"))
    return {b.key for b in built if stored.get(b.key) == b.file_name}


def _set_built(rows: Rows, file: Built) -> None:
    columns = dict(zip(FILE_COLUMNS, file[1:], strict=True))
    fresh = {"status": VariantStatus.BUILT, "attempts": 0, "errors": 0, "built_at": DbNow()}
    rows.variants.filter(key=file.key).update(**columns, **fresh, **closed("", ""))


def _set_failed(rows: Rows, failure: Failure) -> None:
    row = closed(failure.kind, failure.message) | {"status": failure.status}
    if failure.retry_in is not None:
        row |= {"status": VariantStatus.QUEUED, "due_at": DbNow(failure.retry_in)}
    rows.variants.filter(key=failure.key).update(errors=F("errors") + 1, **row)


def _set_source(rows: Rows, verdict: Verdict, *, settled: bool) -> None:
    row: dict[str, Any] = facts(verdict.info) if verdict.info else {}
    if verdict.version:
        row["version"] = verdict.version
    if verdict.preview:
        row |= verdict.preview._asdict()
    if verdict.crashed:
        row["crashes"] = F("crashes") + 1
    elif settled:
        row["crashes"] = 0
    if row:
        rows.sources.filter(id=verdict.claim.source_id).update(**row, updated_at=DbNow())


def queued_again() -> dict[str, Any]:
    """Return the columns of a variant that gets fresh attempts; how often it failed so far is kept.

    Nobody waits for it yet: a page that shows it will say so.
    """
    return {
        "status": VariantStatus.QUEUED,
        "priority": Priority.BACKGROUND,
        "attempts": 0,
        "error_kind": "",
        "error": "",
        "due_at": DbNow(),
        "token": None,
    }


def save_source(rows: Rows, source: Source, row: dict[str, Any]) -> None:
    """Update a source's row, after inserting it where it is absent (a rival may do so at the same moment)."""
    check_source(source)
    change = rows.sources.filter(id=source.id)
    if not change.update(**row, updated_at=DbNow()):
        insert_sources(rows, {source.id: Wanted(source, {})})
        change.update(**row, updated_at=DbNow())


def set_focus(rows: Rows, source: Source, point: dict[str, float | None]) -> None:
    """Record the focus point; start over unless it is the one already known."""
    locked = rows.sources.filter(id=source.id).select_for_update()
    known = list(locked.values_list("focus_x", "focus_y"))
    if not known:
        save_source(rows, source, point)
    elif known != [tuple(point.values())]:
        start_over(rows, source, point)


def start_over(rows: Rows, source: Source, row: dict[str, Any]) -> int:
    """Raise the generation, queue all variants, drop tokens; return the generation."""
    save_source(rows, source, row | {"generation": F("generation") + 1, "crashes": 0, "error": ""})
    rows.variants.filter(source_id=source.id).update(**queued_again(), **FORGOTTEN, errors=0)
    return int(rows.sources.values_list("generation", flat=True).get(id=source.id))
