"""Builder: drains that remember what they hold, so that it can be given back when the process has to end."""

from __future__ import annotations

import logging
import threading
import time
from typing import Final, NamedTuple

from easyimg.build import Outcome
from easyimg.drain import Drained, drain
from easyimg.errors import MetadataError
from easyimg.logs import event
from easyimg.ports import App
from easyimg.variant import Claim, ClaimOrder

FINISH_SECONDS: Final = 9.0
"""How long builds under way in a worker may take after SIGTERM, before their leases are given back.

Containers are killed 10 seconds after it by default (``docker stop``)."""


class Held(NamedTuple):
    """A claim being built: since when (``time.monotonic``) and by which thread."""

    claim: Claim
    since: float
    thread: int


class Builder:
    """Drains rows and knows the claims in hand. Thread-safe.

    Args:
        app: whose rows are built.
        isolate: build in a limited child where settings leave the choice.
    """

    def __init__(self, app: App, *, isolate: bool = False) -> None:
        self.stopping = threading.Event()
        self._app = app
        self._isolate = isolate
        self._held: dict[tuple[str, str], Held] = {}
        self._left: list[Claim] = []
        self._lock = threading.Lock()

    def answer(self, source_id: str) -> None:
        """Build the newest picture that a page waits for, then what is due of the source a doorbell names.

        Doorbells come in the order they were sent. Answered in that order alone, the ten thousand of a bulk order would
        hold up those of every page that is viewed meanwhile. One whose source has nothing due, as it was built already,
        stands for what waits longest.

        Raises:
            MetadataError: as :meth:`run`.
        """
        self.run(limit=1, order=ClaimOrder.PAGES_ONLY)
        if not self.run(source_id).sources:
            self.run(limit=1, order=ClaimOrder.OLDEST_FIRST)

    def run(
        self, source_id: str | None = None, *, limit: int | None = None, order: ClaimOrder | None = None
    ) -> Drained:
        """Build what is due (of one source, or everything) until nothing is left or ``stopping`` is set.

        Args:
            source_id: only this source's.
            limit: about so many variants.
            order: see :func:`easyimg.drain.drain`.

        Raises:
            MetadataError: the rows could not be claimed or published; what is still ours is given back by the next
                run or by :meth:`release`.
        """
        self._give_back_left()
        try:
            return drain(
                self._app,
                source_id=source_id,
                limit=limit,
                order=order,
                isolate=self._isolate,
                stop=self.stopping.is_set,
                claimed=self._take,
                progress=self._settle,
            )
        finally:
            self._leave()

    def held(self) -> list[Held]:
        """Return what is being built now."""
        with self._lock:
            return list(self._held.values())

    def release(self, *, but: frozenset[Claim] = frozenset()) -> int:
        """Give back every claim in hand and return how many; what its threads still publish changes nothing.

        Args:
            but: claims to keep: their lease shall lapse, which counts as a crash of their source.
        """
        claims = [held.claim for held in self.held() if held.claim not in but]
        with self._lock:
            claims += self._left
            self._left = []
        for claim in claims:
            try:
                self._app.metadata.release(claim)
            except MetadataError as exc:
                event(
                    logging.WARNING,
                    "a lease could not be given back and ends by itself",
                    source=claim.source,
                    kind=exc.kind,
                    error=exc,
                )
        return len(claims)

    def forget(self) -> None:
        """Drop everything in hand without a word: it belongs to the process we were forked from."""
        self.stopping = threading.Event()
        self._held, self._left, self._lock = {}, [], threading.Lock()

    def _take(self, claim: Claim) -> None:
        with self._lock:
            self._held[claim.token, claim.source_id] = Held(claim, time.monotonic(), threading.get_ident())

    def _settle(self, outcome: Outcome) -> None:
        claim = outcome.claim
        with self._lock:
            self._held.pop((claim.token, claim.source_id), None)
        event(
            logging.INFO,
            "settled",
            source=claim.source,
            built=len(outcome.built),
            failed=len(outcome.failed),
            seconds=outcome.seconds,
        )

    def _leave(self) -> None:
        """Note what this thread's drain could not settle, because it was raised out of it."""
        me = threading.get_ident()
        with self._lock:
            mine = [key for key, held in self._held.items() if held.thread == me]
            self._left += [self._held.pop(key).claim for key in mine]

    def _give_back_left(self) -> None:
        with self._lock:
            left, self._left = self._left, []
        while left:
            try:
                self._app.metadata.release(left[-1])
            except BaseException:
                with self._lock:
                    self._left += left
                raise
            left.pop()
