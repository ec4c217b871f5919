"""Variants and sources as rows: the values that cross the metadata port, and the states a variant moves through."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import NamedTuple

from easyimg.geometry import Focus
from easyimg.preview import Preview
from easyimg.source import Source, SourceInfo


class VariantStatus(IntEnum):
    """States of a variant.

    QUEUED -> BUILDING -> BUILT | SOURCE_ERROR | BUILD_ERROR; BUILDING -> QUEUED (released, or to be tried again
    later); requeue and replace -> QUEUED.

    SOURCE_ERROR: the original is missing, damaged or refused, or was given up before the variant was ordered.
    BUILD_ERROR: the original may be fine; making this file failed for good, or nobody lived to say why not.
    """

    QUEUED = 0
    BUILDING = 1
    BUILT = 2
    SOURCE_ERROR = 3
    BUILD_ERROR = 4


class Priority(IntEnum):
    """Who waits for a queued variant.

    BACKGROUND: nobody yet; it was ordered in bulk, or requeued. PAGE: a page that was shown without it. An order raises
    the priority of what is queued already, and nothing lowers it.
    """

    BACKGROUND = 0
    PAGE = 1


class ClaimOrder(Enum):
    """What a claim takes first.

    PAGES_FIRST: what pages wait for, newest first, since their visitors are still there; then the rest, oldest first.
    PAGES_ONLY: the former alone. OLDEST_FIRST: whatever has been due longest; a share of claims in this order moves
    what would otherwise wait behind a stream of new pages for ever.
    """

    PAGES_FIRST = "pages first"
    PAGES_ONLY = "pages only"
    OLDEST_FIRST = "oldest first"


ERROR_STATUSES = (VariantStatus.SOURCE_ERROR, VariantStatus.BUILD_ERROR)


class Variant(NamedTuple):
    """One variant's row, as rendering needs it. ``width`` and ``height`` are pixels of the file (0 = not built).

    ``is_background``: QUEUED, and no page has asked for it so far.
    """

    key: str
    status: VariantStatus
    storage: str = ""
    file_name: str = ""
    format: str = ""
    width: int = 0
    height: int = 0
    is_background: bool = False


class SourceRecord(NamedTuple):
    """One source's row with those of its variants that were asked for.

    ``info`` is None until the source was seen; ``generation`` counts replacements; ``given_up`` says why nothing more
    is built of this generation (``""`` = all is well); ``preview`` is there from the first build on,
    where it was asked for (``is_previewed``).
    """

    id: str
    generation: int
    info: SourceInfo | None
    focus: Focus | None
    given_up: str
    variants: dict[str, Variant]
    preview: Preview | None = None
    is_previewed: bool = False


class Wanted(NamedTuple):
    """Variants to be queued for one source: key -> canonical spec; with the source's facts where they are known."""

    source: Source
    specs: dict[str, str]
    info: SourceInfo | None = None
    priority: Priority = Priority.PAGE


class Ordered(NamedTuple):
    """One claimed variant: what to build."""

    key: str
    spec: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to build some variants of one source, until the lease ends or the source is replaced.

    Args:
        source_id: of the claimed rows.
        source: where the original lies.
        generation: of the source when claimed; publishing requires it unchanged.
        token: this claim's secret; publishing requires it unchanged.
        crashes: earlier claims of this generation that ended without a verdict.
        focus: the source's own focus point.
        variants: what to build, largest attempts first.
        preview: of the source, from an earlier build of this generation.
        due: when the first of the variants became due, as the database writes it: releasing them gives it back.
    """

    source_id: str
    source: Source
    generation: int
    token: str
    crashes: int
    focus: Focus | None
    variants: tuple[Ordered, ...]
    preview: Preview | None = None
    due: str = ""


class Built(NamedTuple):
    """A finished variant file, ready to be published."""

    key: str
    storage: str
    file_name: str
    format: str
    width: int
    height: int
    bytes: int


class Failure(NamedTuple):
    """Why a claimed variant was not built.

    ``retry_in`` = seconds until it may be tried again; None = a verdict, not to be tried again by itself.
    """

    key: str
    status: VariantStatus
    kind: str
    message: str
    retry_in: float | None = None


class GivenUp(NamedTuple):
    """What a claim closed of one source instead of handing it out: too many tries of it ended without a verdict.

    ``source`` is None where it has no row any more.
    """

    source_id: str
    source: Source | None
    failed: tuple[Failure, ...]


@dataclass(frozen=True, slots=True)
class Counts:
    """What the status command shows, from the rows.

    ``generated`` = BUILT variants; ``pending`` = all that is owed (queued, building, waiting for a retry);
    ``oldest_owed`` = seconds since the longest waiting due row became due; ``counted_at`` = when ``sources`` and
    ``generated`` were counted, where that was not just now (large tables; ISO 8601, UTC).
    """

    sources: int = 0
    generated: int = 0
    queued: int = 0
    building: int = 0
    source_errors: int = 0
    build_errors: int = 0
    stale: int = 0
    oldest_owed: float = 0.0
    error_counts: tuple[tuple[int, int], ...] = ()
    error_kinds: tuple[tuple[str, int, str], ...] = ()
    counted_at: str = ""

    @property
    def pending(self) -> int:
        """All that is owed."""
        return self.queued + self.building


class VariantDetail(NamedTuple):
    """Everything a row says about one variant, for ``easyimg inspect``. Times are ISO 8601, UTC.

    ``attempts`` were made since it was last queued; ``errors`` are its failed builds since the last good one.
    """

    key: str
    spec: str
    status: VariantStatus
    attempts: int
    errors: int
    error_kind: str
    error: str
    due_at: str
    storage: str
    file_name: str
    format: str
    width: int
    height: int
    bytes: int
    created_at: str
    built_at: str


@dataclass(frozen=True, slots=True)
class SourceDetail:
    """Everything the rows say about one source."""

    id: str
    source: Source
    generation: int
    version: str
    info: SourceInfo | None
    focus: Focus | None
    crashes: int
    error: str
    created_at: str
    variants: tuple[VariantDetail, ...] = field(default=())


class FileRow(NamedTuple):
    """What one variant's row says about its file. ``built_at`` is ISO 8601, UTC; ``""`` of a row without a file."""

    key: str
    source_id: str
    status: VariantStatus
    storage: str
    file_name: str
    bytes: int
    built_at: str


class SourceRow(NamedTuple):
    """One source's row, to be compared with the original it names.

    ``version`` = hash of the content (and focus) its variants were built from, ``""`` until then; ``idle`` = seconds
    since the row last changed.
    """

    id: str
    source: Source
    generation: int
    version: str
    focus: Focus | None
    idle: float
