"""The four seams: Engine, Storage, MetadataStore, BuildQueue; and App, what the use cases see of an EasyImg.

Implementations are plain classes that fit these Protocols; ``easyimg.testing`` holds a contract test for each, so that
a third-party implementation can prove itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from easyimg.variant import ClaimOrder

if TYPE_CHECKING:
    from easyimg.cache import RowCache
    from easyimg.geometry import Focus
    from easyimg.lease import Leases
    from easyimg.outbox import Outbox
    from easyimg.preview import Glimpse, Preview
    from easyimg.settings import Settings
    from easyimg.source import Source, SourceInfo
    from easyimg.spec import VariantSpec
    from easyimg.variant import (
        Built,
        Claim,
        Counts,
        Failure,
        FileRow,
        GivenUp,
        SourceDetail,
        SourceRecord,
        SourceRow,
        Wanted,
    )


class Encoded(NamedTuple):
    """One encoded variant: the whole file's bytes, its actual format and its size in pixels; a glimpse if asked."""

    data: bytes
    format: str
    width: int
    height: int
    glimpse: Glimpse | None = None


@runtime_checkable
class Engine(Protocol):
    """Turns a source's bytes into variants' bytes. Thread-safe, stateless, no I/O but memory.

    The caller has checked bytes and format (``Limits.check_content``); ``format`` names the one loader that may open
    the data. Every output is upright, sRGB, 8 bits a channel, without metadata or profile, and never black behind
    transparency (no ``background`` and a format without alpha: white).
    """

    @property
    def name(self) -> str:
        """``"vips"`` or ``"pillow"``: for status and messages."""
        ...

    def can_write(self, format: str) -> bool:
        """Return whether this installation can encode that output format."""
        ...

    def probe(self, data: bytes, format: str) -> SourceInfo:
        """Return what the header says; decodes no pixels.

        Raises:
            SourceUnreadable: the header is damaged.
            UnsupportedFormat: this installation cannot decode it.
        """
        ...

    def build(
        self,
        data: bytes,
        format: str,
        specs: Sequence[VariantSpec],
        focus: Focus | None = None,
        *,
        glimpse_of: int | None = None,
    ) -> list[Encoded]:
        """Return one Encoded per spec, in their order, from one decode. Equal outputs share one bytes object.

        That at the place ``glimpse_of``, of an opaque still, comes with a glimpse, made from its pixels.

        Each Encoded has exactly the size ``spec.frame(info.size, focus)`` says. Where ``spec.animated`` and
        ``info.is_animated``, a format that can holds all frames of the source, with their delays and plays; all other
        files show its first frame.

        Raises:
            SourceUnreadable: the pixels are damaged; of stills, of the first frame.
            BuildError: an encoder failed; ``spec_index`` says for which spec.
        """
        ...


class StoredFile(NamedTuple):
    """One listed file: its name, its size in bytes, when it was last changed (seconds since 1970; 0 = unknown)."""

    name: str
    size: int
    modified: float


@runtime_checkable
class Storage(Protocol):
    """Where bytes live. Names are relative and ``/``-separated; a bad name raises UnsafeName before any I/O."""

    def read(self, name: str, max_bytes: int | None = None) -> bytes:
        """Return a whole file.

        Raises:
            SourceNotFound: nothing has that name.
            SourceTooLarge: longer than ``max_bytes``; no more than that is ever held.
            StorageError: the storage cannot answer.
        """
        ...

    def write(self, name: str, data: bytes, content_type: str) -> None:
        """Publish a whole file or nothing, replacing what was there."""
        ...

    def delete(self, name: str) -> None:
        """Remove a file; one that is absent is no error."""
        ...

    def size(self, name: str) -> int | None:
        """Return the file's size in bytes, or None when absent."""
        ...

    def url(self, name: str) -> str | None:
        """Return a public URL with no I/O, percent-encoded; None when the storage has no public URLs."""
        ...

    def list(self, prefix: str = "") -> Iterator[StoredFile]:
        """Yield every file below a folder."""
        ...


@runtime_checkable
class MetadataStore(Protocol):
    """The rows: which variants exist, in which state. It is the build queue. Thread-safe.

    Two tables, *source* and *variant*. ``due_at`` of a variant is the queued or next-try time when QUEUED, the end of
    the lease when BUILDING, NULL when BUILT or given up; a variant is claimable while ``due_at <= database now`` and
    ``attempts < max_attempts``. Only the database's clock is used. Every method is one short transaction of its own, in
    connections of its own, and is never part of a caller's transaction; unless the store says otherwise, and fits
    ``joined.JoinsTransactions``.

    Every method may raise MetadataError.
    """

    def setup(self) -> None:
        """Create what is missing and check the schema's version; safe to call again and from several processes.

        Raises:
            MetadataError: the schema is older or newer than this code; the message says what to run.
        """
        ...

    def fetch(self, wanted: Mapping[str, Sequence[str]], *, previews: bool = False) -> dict[str, SourceRecord]:
        """Return records by source id, with those of the asked variant keys that exist: source id -> keys.

        One SELECT (sources left-joined to variants) for up to 5,000 keys, chunks of that beyond. A source that has no
        row is absent from the result.

        Args:
            wanted: source id -> keys.
            previews: fetch these too: a page that shows none need not pay for them.
        """
        ...

    def enqueue(self, wanted: Sequence[Wanted], *, wait: float | None = None) -> list[str]:
        """Insert what is missing, in at most two statements, and return the ids of sources with anything new.

        Existing sources and variants stay as they are, but facts given in ``Wanted.info`` fill empty ones, and variants
        that are QUEUED with a lower priority take the one given (two statements more). New variants are QUEUED and due
        now; those of a given-up source are born SOURCE_ERROR.

        Args:
            wait: seconds to wait for a lock, tried once; None = as long as the store normally does, with retries.
        """
        ...

    def record_info(self, source: Source, info: SourceInfo, version: str = "") -> None:
        """Insert or update a source's row with its measured facts (at upload, or when first seen)."""
        ...

    def set_focus(self, source: Source, focus: Focus | None) -> None:
        """Record the point that crops of this source keep in view, and queue its variants again (as replace does)."""
        ...

    def replace(self, source: Source, info: SourceInfo | None = None) -> int:
        """Note that the file behind the name has changed: raise the generation, queue all its variants, drop tokens.

        Its preview is forgotten.

        Returns the new generation. One transaction; a build that is under way can no longer publish.
        """
        ...

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
        """Claim all claimable variants of up to ``limit`` sources (or of one source, or those keys) in an order.

        Counts one attempt per variant, sets BUILDING and ``due_at = now + lease`` under a fresh token, before it
        returns. A claim that takes over a lapsed lease counts one crash on its source first. Two claimers never get
        one variant. Variants whose attempts are used up are closed on the way: BUILD_ERROR "gave up after N attempts",
        with the last error; all that is owed of a source at its Nth crash. Those ordered of it later, and those whose
        source has no row, are SOURCE_ERROR.

        Args:
            lease: seconds.
            max_attempts: of a variant, and crashes of a source.
            source_id: only this source's.
            keys: only these variants.
            limit: sources at most.
            order: which come first.
            gave_up: called with what was closed of each source, after the commit. It must not raise.
        """
        ...

    def renew(self, claim: Claim, lease: float) -> bool:
        """Push the lease's end to now + ``lease``; False = the claim is no longer ours."""
        ...

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
        """Settle claimed variants where token and generation still hold; return the keys that were accepted.

        Built ones become BUILT with their error count reset; failed ones take their status, kind and message, or
        return to QUEUED when ``retry_in`` is set. A verdict sets the source's crashes to 0. Facts and a preview are
        recorded only under the claim's generation; without a preview, the one there is stays. ``crashed=True``: there
        is no verdict, a limited child died or was killed; counts one crash on the source instead.

        Args:
            again: an earlier call with this verdict ended in an error, and may have been committed all the same: rows
                that show these very files count as accepted.
        """
        ...

    def release(self, claim: Claim) -> None:
        """Give unfinished variants back: QUEUED, due since ``claim.due``, the attempt not counted.

        So the age of what is owed goes on growing while nobody who claims it can build it.
        """
        ...

    def due(self, *, overdue: float = 0.0, limit: int = 1000) -> list[str]:
        """Return ids of sources with anything claimable that became due more than ``overdue`` seconds ago."""
        ...

    def elect(self, role: str, owner: str, seconds: float) -> bool:
        """Take or keep a named role (``"sweeper"``) for some seconds; False = another owner holds it."""
        ...

    def counts(self, *, stale_after: float) -> Counts:
        """Return the totals for status. ``stale`` = BUILDING, lease lapsed more than ``stale_after`` seconds ago."""
        ...

    def recount(self) -> None:
        """Refresh what ``counts`` remembers of large tables, if it remembers anything; the sweeper calls it."""
        ...

    def requeue(
        self,
        *,
        kinds: Sequence[str] | None = None,
        max_errors: int | None = None,
        include_stale: bool = False,
        stale_after: float = 600.0,
        source_id: str | None = None,
    ) -> int:
        """Set failed variants QUEUED with fresh attempts and no crashes on their source; return how many.

        Args:
            kinds: only these error kinds.
            max_errors: only those that failed at most so often since they were last built, also before a requeue.
            include_stale: also BUILDING ones whose lease lapsed more than ``stale_after`` seconds ago.
            source_id: only this source's.
        """
        ...

    def inspect(self, source: Source) -> SourceDetail | None:
        """Return everything the rows say about a source; None when it has no row."""
        ...

    def file_page(self, after: str = "", limit: int = 1000) -> list[FileRow]:
        """Return the next variants in order of key, whatever their status; fewer than ``limit`` at the end.

        Args:
            after: the last key of the page before; ``""`` begins.
        """
        ...

    def file_rows(self, keys: Sequence[str]) -> dict[str, FileRow]:
        """Return those of these variants that exist, by key."""
        ...

    def source_page(self, after: str = "", limit: int = 1000) -> list[SourceRow]:
        """Return the next sources in order of id; fewer than ``limit`` at the end."""
        ...

    def source_rows(self, ids: Sequence[str]) -> dict[str, SourceRow]:
        """Return those of these sources that exist, by id."""
        ...

    def owe(self, rows: Sequence[FileRow]) -> frozenset[str]:
        """Queue variants again whose files are lost, with fresh attempts and no token; return the keys that changed.

        Only BUILT and BUILDING ones, and of these only rows that still are exactly as given: a variant that was built,
        claimed, replaced or queued meanwhile is left alone. An older build can no longer publish.
        """
        ...

    def remove(self, sources: Sequence[SourceRow]) -> frozenset[str]:
        """Delete sources with all their variants, unless their generation has changed; return the ids that are gone.

        A build that is under way can no longer publish. Files are not touched.
        """
        ...

    def close(self) -> None:
        """Close all connections; the store may be used again afterwards."""
        ...


@runtime_checkable
class BuildQueue(Protocol):
    """How a build is asked for. The rows are already committed; a doorbell only says "look at this source"."""

    @property
    def inline(self) -> bool:
        """Whether ``ring`` returns only after the builds, so that the caller may look for their files."""
        ...

    def ring(self, source_ids: Iterable[str]) -> None:
        """Ask for these sources' due variants to be built soon. Never raises, never waits for a broker.

        With no ids, something is known to be owed that was rung for before: a queue whose builders live in this process
        makes sure that they run.
        """
        ...

    def close(self) -> None:
        """Stop what this queue started: finish or release current builds."""
        ...


class App(Protocol):
    """What use cases see of an EasyImg: settings and the four ports."""

    @property
    def settings(self) -> Settings:
        """The frozen settings."""
        ...

    @property
    def metadata(self) -> MetadataStore:
        """The rows."""
        ...

    @property
    def engine(self) -> Engine:
        """The pixel library."""
        ...

    @property
    def limited_engine(self) -> Engine:
        """The same pixel library inside a child process with a memory and a time limit."""
        ...

    @property
    def queue(self) -> BuildQueue:
        """The doorbell."""
        ...

    @property
    def cache(self) -> RowCache:
        """Built rows remembered in this process."""
        ...

    @property
    def leases(self) -> Leases:
        """What keeps the claims in hand."""
        ...

    @property
    def outbox(self) -> Outbox:
        """Where new rows are ordered; keeps what the metadata store cannot take now."""
        ...

    def storage(self, alias: str) -> Storage:
        """Return the storage of that alias, or raise ConfigError naming the known ones."""
        ...
