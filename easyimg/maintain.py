"""Looking after the rows: status, building what is owed, requeue, the sweep."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock
from typing import Any

from easyimg.build import Outcome
from easyimg.checks import check_fractions
from easyimg.current import current_app
from easyimg.drain import Drained, drain
from easyimg.errors import REQUEUE, MetadataError, SpecError, remedy, shown
from easyimg.geometry import Focus
from easyimg.joined import resting, rows_changed
from easyimg.logs import event
from easyimg.ports import App
from easyimg.source import as_source
from easyimg.variant import Counts


def process_queue(
    app: App | None = None,
    *,
    max_errors: int | None = None,
    stale_after: float | None = None,
    limit: int | None = None,
    progress: Callable[[Outcome], None] = lambda outcome: None,
) -> int:
    """Build everything that is due and return how many variants were built: the body of a cron job or a task.

    Args:
        app: the EasyImg; None = the current one.
        max_errors: first give variants that failed at most so often another chance; None = leave them.
        stale_after: first requeue variants whose build ended without a verdict this many seconds ago.
        limit: stop after about this many variants.
        progress: called after each source.
    """
    return build_due(
        app or current_app(), max_errors=max_errors, stale_after=stale_after, limit=limit, progress=progress
    ).built


def build_due(
    app: App,
    *,
    max_errors: int | None = None,
    stale_after: float | None = None,
    limit: int | None = None,
    progress: Callable[[Outcome], None] = lambda outcome: None,
    stop: Callable[[], bool] = lambda: False,
    workers: int = 1,
) -> Drained:
    """Build everything that is due and return the totals; see :func:`process_queue`.

    Args:
        stop: asked before each source; True ends the work.
        workers: threads that build. The pixel libraries let go of the interpreter's lock while they decode and encode,
            so threads use all processors, and share one engine and one pool of connections.
    """
    revive(app, max_errors=max_errors, stale_after=stale_after)
    if workers == 1:
        return drain(app, limit=limit, progress=progress, stop=stop)
    return _drain_in_threads(app, workers, limit, progress, stop)


def revive(app: App, *, max_errors: int | None = None, stale_after: float | None = None) -> int:
    """Queue what was kept, failed variants and lapsed builds again, as far as asked; return how many rows changed."""
    app.outbox.flush()
    revived = 0
    if max_errors is not None:
        revived += app.metadata.requeue(max_errors=max_errors)
    if stale_after is not None:
        revived += app.metadata.requeue(max_errors=-1, include_stale=True, stale_after=stale_after)
    return revived


def _drain_in_threads(
    app: App, workers: int, limit: int | None, progress: Callable[[Outcome], None], stop: Callable[[], bool]
) -> Drained:
    """Let several threads drain. When this one is interrupted, or one fails, the others end after their source."""
    total, lock, halted = Drained(), Lock(), Event()

    def note(outcome: Outcome) -> None:
        with lock:
            total.add(outcome)
            progress(outcome)

    def enough() -> bool:
        return halted.is_set() or stop() or (limit is not None and total.built + total.failed >= limit)

    def work() -> None:
        with resting(app):
            drain(app, progress=note, stop=enough)

    with ThreadPoolExecutor(workers, thread_name_prefix="easyimg-build") as pool:
        futures = [pool.submit(work) for _ in range(workers)]
        try:
            for future in futures:
                future.result()
        finally:
            halted.set()
    return total


def set_focus(source: Any, focus: Any, app: App | None = None) -> None:
    """Say which point of a source crops keep in view, and queue its variants again; None = the centre.

    Every crop that names no point of its own follows it (``crop=True``, the default), and so does what CSS cuts
    (``object-position``). Other processes may show the previous crop for ``cache_seconds``.

    Args:
        source: as ``img()`` takes it: a name, a Source, a model's field.
        focus: (x, y) as fractions of the upright source: (0, 0) is the top left, (0.5, 0.5) the centre.
        app: the EasyImg; None = the current one.

    Raises:
        SpecError: ``source`` or ``focus`` is not allowed.
    """
    chosen, known = app or current_app(), as_source(source)
    if known is None:
        raise SpecError(f"source: {shown(source)} names no source")
    chosen.metadata.set_focus(known, None if focus is None else Focus(*check_fractions("focus", focus, 2)))
    rows_changed(chosen, [known.id])


def sweep(
    app: App,
    *,
    overdue: float | None = None,
    limit: int = 1000,
    ring: Callable[[Iterable[str]], None] | None = None,
) -> int:
    """Ring again for what is owed too long (lost doorbells, lapsed leases, due retries); return for how many sources.

    Args:
        overdue: seconds a row may wait before it is rung for again; None = half of ``sweep_seconds``. Called twice in
            that time, nothing goes unnoticed for longer.
        limit: sources at most.
        ring: rings for source ids; None = the app's queue does.
    """
    app.outbox.flush()
    app.metadata.recount()
    seconds = app.settings.sweep_seconds / 2 if overdue is None else overdue
    ids = app.metadata.due(overdue=seconds, limit=limit)
    if ids:
        (ring or app.queue.ring)(ids)
    return len(ids)


def status_report(counts: Counts, *, stale_after: float, command: str = "easyimg") -> dict[str, Any]:
    """Return the status as plain values; the keys are a promise to scripts."""
    return {
        "counts": {
            "sources": counts.sources,
            "generated": counts.generated,
            "queued": counts.queued,
            "building": counts.building,
            "pending": counts.pending,
            "source_errors": counts.source_errors,
            "build_errors": counts.build_errors,
        },
        "counted_at": counts.counted_at or None,
        "avg_per_source": counts.generated / counts.sources if counts.sources else 0.0,
        "stale": {"threshold_seconds": stale_after, "count": counts.stale},
        "oldest_owed_seconds": round(counts.oldest_owed, 3),
        "error_dist": [{"error_count": n, "count": count} for n, count in counts.error_counts],
        "errors": [
            {"kind": kind, "count": count, "example": example, "remedy": remedy(kind)}
            for kind, count, example in counts.error_kinds
        ],
        "suggestions": suggestions(counts, stale_after=stale_after, command=command),
    }


def tripped(report: Mapping[str, Any], *, fail_on_stale: bool, fail_on_errors: int | None) -> bool:
    """Return whether a gate trips: anything stale, or more than that many failed variants."""
    errors = report["counts"]["source_errors"] + report["counts"]["build_errors"]
    return (fail_on_stale and report["stale"]["count"] > 0) or (fail_on_errors is not None and errors > fail_on_errors)


def health_report(
    app: App,
    *,
    stale_after: float = 600.0,
    fail_on_stale: bool = False,
    fail_on_errors: int | None = None,
    command: str = "easyimg",
) -> dict[str, Any]:
    """Return the status as plain values for a monitor, and as ``status`` the verdict.

    ``"ok"``; ``"failing"``: a gate trips; ``"unavailable"``: the metadata store does not answer, and there is nothing
    else in the report. Pages are rendered in all three cases.

    Args:
        app: whose rows.
        stale_after: seconds after its lease's end from which a build without a verdict counts as stale.
        fail_on_stale: whether a stale build fails.
        fail_on_errors: more failed variants than that fail; None = any number is fine.
        command: of the suggestions.
    """
    try:
        counts = app.metadata.counts(stale_after=stale_after)
    except MetadataError as exc:
        event(logging.ERROR, "the status cannot be told", error=exc)
        return {"status": "unavailable"}
    report = status_report(counts, stale_after=stale_after, command=command)
    trips = tripped(report, fail_on_stale=fail_on_stale, fail_on_errors=fail_on_errors)
    return {"status": "failing" if trips else "ok", **report}


def suggestions(counts: Counts, *, stale_after: float, command: str = "easyimg") -> list[str]:
    """Return the commands that would help now, most urgent first; errors that no other try can help get none."""
    found = []
    if counts.stale:
        found.append(f"{command} build --stale-after {stale_after:g}")
    kinds = [f"--kind {kind}" for kind, _, _ in counts.error_kinds if remedy(kind) == REQUEUE]
    if kinds:
        found.append(" ".join([command, "requeue", *kinds]))
    if counts.queued and not counts.building:
        found.append(f"{command} build")
    return found
