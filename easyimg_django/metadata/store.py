"""DjangoMetadata: the rows in the site's own database, through Django's connections."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from easyimg.geometry import Focus
from easyimg.metadata.claimed import Terms
from easyimg.metadata.rows import by_source, chunks, collect, collect_previews, facts, new_variants
from easyimg.preview import Preview
from easyimg.source import Source, SourceInfo
from easyimg.variant import Built, Claim, ClaimOrder, Counts, Failure, GivenUp, SourceDetail, SourceRecord, Wanted
from easyimg_django.metadata import claims, enqueuing, fetching, reports, searching, settling, totals
from easyimg_django.metadata.database import Database
from easyimg_django.metadata.upkeep import Upkeep
from easyimg_django.metadata.waits import LOCK_WAIT

_PASSING_BY, _LOOKS = 3, 50
"""How often a claim passes by what others are claiming; how often it looks at all, if it only closes what it finds."""


class DjangoMetadata(Upkeep):
    """The rows in the site's own database. Thread-safe: each thread has its own connection, as everywhere in Django.

    Inside ``transaction.atomic()`` every method is a savepoint of that transaction: what it wrote is undone with it,
    and ``after_commit`` waits for its end. A failure undoes that savepoint alone, and is not tried again.

    Args:
        using: an alias of DATABASES; None = what the routers say of the models of ``easyimg_django``.

    Raises:
        ConfigError: there is no such alias, or its database is none of SQLite, PostgreSQL, MariaDB, MySQL.
    """

    def __init__(self, using: str | None = None) -> None:
        self._using = using
        self._db = Database(using)

    @property
    def alias(self) -> str:
        """The alias in DATABASES of the database whose rows are changed."""
        return self._db.writer

    def __repr__(self) -> str:
        return f"DjangoMetadata({self._using!r})"

    @property
    def reader(self) -> str:
        """The alias of DATABASES whose rows are shown: a replica, where the routers say so."""
        return self._db.reader

    def setup(self) -> None:
        """Check that the tables are there; Django's migrations make them.

        Raises:
            MetadataError: they are not, and how to make them.
        """
        self._db.read(lambda rows: (rows.sources.exists(), rows.variants.exists(), rows.notes.exists()))

    def close(self) -> None:
        """Do nothing: the connections are Django's."""

    def after_commit(self, callback: Callable[[], object]) -> None:
        """Call back by ``transaction.on_commit``; at once outside of ``atomic()``."""
        self._db.after_commit(callback)

    def rest(self) -> None:
        """Close this thread's connections to the database of our rows, unless in a transaction."""
        self._db.rest()

    # Rendering.

    def fetch(self, wanted: Mapping[str, Sequence[str]], *, previews: bool = False) -> dict[str, SourceRecord]:
        """Return records by source id, from plain tuples of one SELECT per 5,000 keys."""
        records: dict[str, SourceRecord] = {}
        for ids, keys in chunks(wanted):
            found = self._db.read(partial(fetching.select, ids, keys, previews), newest=False)
            collect(records, found)
            if previews:
                collect_previews(records, found)
        return records

    def enqueue(self, wanted: Sequence[Wanted], *, wait: float | None = None) -> list[str]:
        """Insert what is missing by two INSERTs, each after a SELECT of what is there."""
        wishes = by_source(wanted)
        if not wishes:
            return []
        variants = new_variants(wanted)
        new = self._db.write(lambda rows, _: enqueuing.enqueue(rows, wishes, variants), wait=wait)
        return [id_ for id_ in dict.fromkeys(w.source.id for w in wanted) if id_ in new]

    # Sources.

    def record_info(self, source: Source, info: SourceInfo, version: str = "") -> None:
        """Insert or update a source's facts."""
        row = facts(info) | ({"version": version} if version else {})
        self._db.write(lambda rows, _: settling.save_source(rows, source, row))

    def set_focus(self, source: Source, focus: Focus | None) -> None:
        """Record the focus point; nothing is built again if it is the one already known."""
        point = {"focus_x": focus.x if focus else None, "focus_y": focus.y if focus else None}
        self._db.write(lambda rows, _: settling.set_focus(rows, source, point))

    def replace(self, source: Source, info: SourceInfo | None = None) -> int:
        """Raise the generation; the focus point stays. A source without a row gets one.

        The rows forget the old picture's files; the files themselves stay until ``clean``.
        """
        row = facts(info) | {"version": "", "color": None, "blur": None}
        return self._db.write(lambda rows, _: settling.start_over(rows, source, row))

    # The queue.

    def claim(
        self,
        *,
        lease: float,
        max_attempts: int,
        source_id: str | None = None,
        keys: Sequence[str] | None = None,
        limit: int = 1,
        order: ClaimOrder = ClaimOrder.OLDEST_FIRST,
        gave_up: Callable[[GivenUp], object] = lambda given_up: None,
    ) -> list[Claim]:
        """Claim in one short transaction, after a look without locks; passes by sources that others are claiming."""
        terms = Terms(lease, max_attempts, source_id, keys, limit, order)
        for tried in range(_LOOKS):
            found = self._db.read(lambda rows: searching.candidates(rows, terms))
            if not found:
                break
            taken = self._db.write(partial(claims.claim, terms, found, tried >= _PASSING_BY))
            for given_up in taken.given_up:
                self._db.after_commit(partial(gave_up, given_up))
            if taken.claims:
                return taken.claims
        return []

    def renew(self, claim: Claim, lease: float) -> bool:
        """Push the lease's end; tried once, as one thread renews all leases: none waits long for another's lock."""
        return self._db.write(lambda rows, _: claims.renew(rows, claim, lease), wait=min(LOCK_WAIT, lease / 6))

    def publish(
        self,
        claim: Claim,
        built: Sequence[Built],
        failed: Sequence[Failure] = (),
        *,
        info: SourceInfo | None = None,
        version: str = "",
        preview: Preview | None = None,
        crashed: bool = False,
        again: bool = False,
    ) -> frozenset[str]:
        """Settle claimed variants; after a connection lost at the commit, what was committed counts as accepted."""
        verdict = settling.Verdict(claim, built, failed, info, version, preview, crashed)
        return self._db.write(lambda rows, lost: settling.publish(rows, verdict, repeated=again or lost > 0))

    def release(self, claim: Claim) -> None:
        """Give unfinished variants back in one statement."""
        self._db.write(lambda rows, _: claims.release(rows, claim))

    def due(self, *, overdue: float = 0.0, limit: int = 1000) -> list[str]:
        """Return ids of sources owed too long, oldest due first."""
        return self._db.read(lambda rows: searching.due_sources(rows, limit, overdue=overdue))

    def elect(self, role: str, owner: str, seconds: float) -> bool:
        """Take or keep a role: whoever updates its row, or is first to insert it."""
        return self._db.write(lambda rows, _: reports.elect(rows, role, owner, seconds))

    # People.

    def counts(self, *, stale_after: float) -> Counts:
        """Return the totals for status; of large tables ``sources`` and ``generated`` are remembered ones."""
        found, is_worth_keeping = self._db.read(lambda rows: totals.counts(rows, stale_after), newest=False)
        if is_worth_keeping:
            self._db.read(lambda rows: totals.remember(rows, found))
        return found

    def recount(self) -> None:
        """Count large tables again."""
        self._db.read(totals.recount)

    def requeue(
        self,
        *,
        kinds: Sequence[str] | None = None,
        max_errors: int | None = None,
        include_stale: bool = False,
        stale_after: float = 600.0,
        source_id: str | None = None,
    ) -> int:
        """Queue failed variants again; ``kinds`` and ``max_errors`` do not narrow the stale ones.

        They are found first, then changed in short transactions: what fails again meanwhile is not queued twice.
        """
        choice = reports.Choice(kinds, max_errors, include_stale, stale_after, source_id)
        keys = self._db.read(lambda rows: reports.chosen(rows, choice))
        return sum(self._db.write(partial(reports.requeue, some, stale_after)) for some in enqueuing.chunks(keys))

    def inspect(self, source: Source) -> SourceDetail | None:
        """Return everything the rows say about a source."""
        return self._db.read(lambda rows: reports.inspect(rows, source), newest=False)
