"""Sender: the one thread of a process that talks to a broker, so that no page ever waits for it."""

from __future__ import annotations

import heapq
import logging
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

from easyimg._fork import after_fork
from easyimg.logs import event

SIZE: Final = 10_000
"""Doorbells kept, and remembered, at most. What does not fit is rung for by the sweeper."""

_PAUSES: Final = (1.0, 5.0)
"""Seconds without a try after the broker failed: first, and at most."""


class Sender:
    """Sends ids in the background, each at most once per interval. Thread-safe.

    An id posted again within the interval is sent once more at its end, so nothing queued meanwhile is forgotten. When
    sending fails, everything waits; the pause doubles while it keeps failing, up to a few seconds.

    Args:
        send: sends one id; may raise anything.
        disconnect: called in the sending thread when it ends, and when nothing was sent for ``idle`` seconds.
        interval: seconds between two sends of one id.
        longest_pause: seconds without a try while sending fails, at most; None = the interval. Never below one second,
            never above five.
        idle: seconds.
    """

    def __init__(
        self,
        send: Callable[[str], None],
        disconnect: Callable[[], None],
        *,
        interval: float,
        longest_pause: float | None = None,
        idle: float = 20.0,
    ) -> None:
        self._send = send
        self._disconnect = disconnect
        self._interval = interval
        self._longest_pause = interval if longest_pause is None else longest_pause
        self._idle = idle
        self._thread: threading.Thread | None
        self._closing: float | None
        self._reset()
        after_fork(self._reset)

    def post(self, ids: Iterable[str]) -> None:
        """Take ids to be sent soon; returns at once, never raises."""
        now = time.monotonic()
        ids = list(ids)
        if not ids:
            return
        with self._changed:
            for id_ in ids:
                if id_ not in self._waiting and len(self._waiting) < SIZE:
                    self._add(id_, max(now, self._sent.get(id_, now - self._interval) + self._interval))
            self._start()
            self._changed.notify()

    def close(self, seconds: float = 2.0) -> None:
        """Send what waits, as far as that works within ``seconds``, and end the thread."""
        with self._changed:
            thread, self._thread = self._thread, None
            self._closing = time.monotonic() + seconds
            self._changed.notify_all()
        if thread is not None:
            thread.join(seconds + 0.5)  # a thread that hangs in the broker's client ends with the process

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._thread = None
        self._closing = None
        self._waiting: set[str] = set()
        self._times: list[tuple[float, str]] = []
        self._sent: OrderedDict[str, float] = OrderedDict()
        self._pause = 0.0
        self._not_before = 0.0

    def _add(self, id_: str, when: float) -> None:
        self._waiting.add(id_)
        heapq.heappush(self._times, (when, id_))

    def _start(self) -> None:
        if self._thread is not None or not self._waiting:
            return
        self._closing = None
        thread = threading.Thread(target=self._run, name="easyimg-doorbell", daemon=True)
        try:
            thread.start()
        except RuntimeError as exc:  # the interpreter is shutting down; the sweeper will ring
            event(logging.DEBUG, "no doorbell thread", error=exc)
            return
        self._thread = thread

    def _run(self) -> None:
        connected = False
        try:
            while (id_ := self._next(connected)) is not None:
                if id_:
                    connected = self._try(id_)
                else:
                    self._hang_up()
                    connected = False
        finally:
            self._hang_up()

    def _next(self, connected: bool) -> str | None:
        """Wait for an id to send; ``""`` = nothing to do for long, None = the end."""
        me, idle_at = threading.current_thread(), time.monotonic() + self._idle
        with self._changed:
            while True:
                now = time.monotonic()
                if self._thread is not me and self._closing is None:
                    return None  # posted to while this one was being closed: another thread sends now
                if self._closing is not None and (not self._times or now > self._closing or self._pause):
                    return None
                when = max(self._times[0][0], self._not_before) if self._times else float("inf")
                if when <= now or (self._times and self._closing is not None):
                    id_ = heapq.heappop(self._times)[1]
                    if id_ in self._waiting:  # else it went out earlier, when it was to be tried again
                        self._note(id_, now)
                        return id_
                    continue
                if connected and now >= idle_at:
                    return ""
                wait = min(when, idle_at if connected else float("inf")) - now
                self._changed.wait(None if wait == float("inf") else wait)

    def _try(self, id_: str) -> bool:
        try:
            self._send(id_)
        except Exception as exc:  # noqa: BLE001  # whatever a broker's client raises; the rows are safe
            self._failed(id_, exc)
            return False
        with self._changed:
            self._pause = 0.0
        return True

    def _note(self, id_: str, now: float) -> None:
        """Remember that an id goes out: before it is sent, or one posted meanwhile would be sent twice."""
        self._waiting.discard(id_)
        self._sent[id_] = now
        self._sent.move_to_end(id_)
        if len(self._sent) > SIZE:
            self._sent.popitem(last=False)

    def _failed(self, id_: str, error: Exception) -> None:
        self._hang_up()
        with self._changed:
            now = time.monotonic()
            longest = max(_PAUSES[0], min(_PAUSES[1], self._longest_pause))
            self._pause = min(max(self._pause * 2, _PAUSES[0]), longest)
            # Not all at the same moment: many processes lost the broker together.
            wait = self._pause * random.uniform(0.6, 1.0)  # noqa: S311  # no secret
            self._not_before = now + wait
            self._sent.pop(id_, None)
            if id_ in self._waiting or len(self._waiting) < SIZE:
                self._add(id_, now)
            kept = len(self._waiting)
        event(
            logging.WARNING,
            "the broker cannot be reached, doorbells wait",
            doorbells=kept,
            retry_in=wait,
            kind=type(error).__name__,
            error=error,
        )

    def _hang_up(self) -> None:
        try:
            self._disconnect()
        except Exception as exc:  # noqa: BLE001  # it is going away anyhow
            event(logging.DEBUG, "the broker's connection did not close", error=exc)
