"""Keeping slow work off the event loop, where a session runs under one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.util import await_only, concurrency

T = TypeVar("T")


def off_loop(work: Callable[[], T]) -> T:
    """Return what a function returns: run in a thread while an AsyncSession waits for it, else here.

    A task that is cancelled meanwhile is so once the work is done: half of it must not go on behind a rollback.
    """
    if not _is_async():
        return work()
    return await_only(_finished(work))


async def _finished(work: Callable[[], T]) -> T:
    task = asyncio.ensure_future(asyncio.to_thread(work))
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])  # which leaves the task alone, whatever becomes of this one
        except asyncio.CancelledError as exc:  # maybe not the last: anyio's scopes ask again until a task has ended
            cancelled = exc
    if cancelled is None:
        return task.result()
    if not task.cancelled():
        task.exception()  # nobody else looks at it
    raise cancelled


def _is_async() -> bool:
    try:
        return bool(concurrency.in_greenlet())
    except (ImportError, AttributeError):  # without greenlet there are no AsyncSessions
        return False
