"""Drain: claim and build, source by source, until nothing is due.

Every queue, the command line and ``build=`` in a page end in :func:`drain`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle

from easyimg.alone import Builds
from easyimg.build import PATIENCE, Outcome, build_claim, tell_given_up
from easyimg.errors import MetadataError
from easyimg.ports import App
from easyimg.variant import Claim, ClaimOrder, GivenUp

_TURNS = (ClaimOrder.PAGES_FIRST,) * 3 + (ClaimOrder.OLDEST_FIRST,)
"""A stream of new pages takes three quarters of the claims at most, so that every row's turn comes."""

_builds = Builds()


@dataclass(slots=True)
class Drained:
    """Totals of one ``drain``: variants built, variants failed for good, variants to be tried again, sources done.

    Variants that were given up without another build count as failed; their source is not one that was done.
    """

    built: int = 0
    failed: int = 0
    retried: int = 0
    sources: int = 0
    lost: int = 0

    def add(self, outcome: Outcome) -> None:
        """Count one claim's outcome."""
        self.sources += 1
        self.built += len(outcome.built)
        self.lost += len(outcome.lost)
        self.failed += sum(f.retry_in is None for f in outcome.failed)
        self.retried += sum(f.retry_in is not None for f in outcome.failed)


@dataclass(frozen=True, slots=True)
class _Claims:
    """What one ``drain`` claims, and whom it tells."""

    app: App
    source_id: str | None
    keys: Sequence[str] | None
    stop: Callable[[], bool]
    claimed: Callable[[Claim], None]
    gave_up: Callable[[GivenUp], None]

    def take(self, order: ClaimOrder, *, again: Claim | None = None) -> list[Claim]:
        """Claim what is next, or what is left of a claim that was given back."""
        settings = self.app.settings
        return self.app.metadata.claim(
            lease=settings.lease_seconds,
            max_attempts=settings.max_attempts,
            source_id=again.source_id if again else self.source_id,
            keys=self.keys,
            order=order,
            gave_up=self.gave_up,
        )

    def ready(self, claim: Claim) -> Claim | None:
        """Take a claim anew once nothing is built beside it where one more crash gives its source up.

        That crash must be its own. It is not in hand meanwhile: what is built beside it may yet kill this process.
        """
        settings = self.app.settings
        if not 0 < claim.crashes >= settings.max_attempts - 1:
            return claim
        try:
            self.app.metadata.release(claim)
        except MetadataError:
            self.claimed(claim)  # it is still in hand
            raise
        if not _builds.be_alone(settings.lease_seconds / 2, self.stop):
            return None
        return next(iter(self.take(ClaimOrder.OLDEST_FIRST, again=claim)), None)


def drain(  # noqa: PLR0913 - all by keyword, each one choice of a queue or a command
    app: App,
    *,
    source_id: str | None = None,
    keys: Sequence[str] | None = None,
    limit: int | None = None,
    order: ClaimOrder | None = None,
    isolate: bool = False,
    patience: float = PATIENCE,
    stop: Callable[[], bool] = lambda: False,
    claimed: Callable[[Claim], None] = lambda claim: None,
    progress: Callable[[Outcome], None] = lambda outcome: None,
) -> Drained:
    """Claim and build what is due until nothing is left, and return the totals.

    Args:
        source_id: only this source's variants (a doorbell, an inline build); None = everything due.
        keys: with ``source_id``: only these.
        limit: at most about this many variants; sources are never split.
        order: of all claims; None = what pages wait for first, and every fourth time what waits longest.
        isolate: build in a limited child where settings leave the choice.
        patience: seconds for which publishing a finished build is tried again while the database is away.
        stop: asked before each claim; True ends the loop.
        claimed: called with each claim before it is built.
        progress: called after each source.

    Raises:
        MetadataError: the rows could not be claimed or published. Claimed rows become due again when the lease ends.
        ConfigError: this process cannot build anything (no engine, no storage for variants); claimed rows are given
            back.
    """
    total, orders = Drained(), cycle(_TURNS)

    def gave_up(given_up: GivenUp) -> None:
        total.failed += len(given_up.failed)
        tell_given_up(app, given_up)

    claims = _Claims(app, source_id, keys, stop, claimed, gave_up)
    while not stop() and (limit is None or total.built + total.failed < limit):
        with _builds.one():
            if stop():  # while it waited for another build to be over
                break
            taken = claims.take(order or next(orders))
            if not taken:
                break
            for claim in filter(None, map(claims.ready, taken)):
                claimed(claim)
                try:
                    outcome = build_claim(app, claim, isolate=isolate, patience=patience)
                except (KeyboardInterrupt, SystemExit):  # asked to stop: the next one need not wait for the lease's end
                    app.metadata.release(claim)
                    raise
                total.add(outcome)
                progress(outcome)
    return total
