"""The observer: looks at every row and its file again and again while things break."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

from PIL import Image
from sqlalchemy import select

from easyimg import EasyImg
from easyimg.metadata.clock import seconds_since
from easyimg.metadata.tables import define_tables
from easyimg.variant import VariantStatus
from tests.faults.timing import Timing
from tests.faults.visitor import Reader, Visitor, decoded, serving

EVERY = 0.02
"""Seconds between two looks. With thousands of rows a look takes longer: it then rests for as long as it looked."""


class Row(NamedTuple):
    """A variant's row with its source's generation."""

    key: str
    source_id: str
    status: int
    file_name: str
    bytes: int
    built_at: Any
    error_kind: str
    error: str
    due_at: Any
    attempts: int
    token: str
    generation: int
    crashes: int
    late: float | None
    """Seconds since it is due by the database's clock, negative until then; None = it is not owed."""

    @property
    def is_due(self) -> bool:
        """Whether a worker may claim it now."""
        return self.late is not None and self.late >= 0


TABLES = define_tables()
QUERY = select(
    *(TABLES.variant.c[name] for name in Row._fields[:-3]),
    TABLES.source.c.generation,
    TABLES.source.c.crashes,
    seconds_since(TABLES.variant.c.due_at),
).join_from(TABLES.variant, TABLES.source, TABLES.variant.c.source_id == TABLES.source.c.id)

OWED = select(TABLES.variant.c.key).where(TABLES.variant.c.due_at.is_not(None)).limit(1)


def read_rows(app: EasyImg) -> list[Row]:
    """Return all rows."""
    engine: Any = app.metadata.engine  # type: ignore[attr-defined]
    try:
        with engine.connect() as connection:
            return [Row(*row) for row in connection.execute(QUERY)]
    except Exception:
        engine.dispose()  # a server that was started again
        raise


def is_owed(app: EasyImg) -> bool:
    """Return whether any row is owed."""
    engine: Any = app.metadata.engine  # type: ignore[attr-defined]
    try:
        with engine.connect() as connection:
            return connection.execute(OWED).first() is not None
    except Exception:
        engine.dispose()
        raise


@dataclass
class Seen:
    """What the observer found wrong, by kind: keys or file names, each with what was seen."""

    duplicated: dict[str, str] = field(default_factory=dict)
    partial: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)
    looks: int = 0
    blind: int = 0


class Observer:
    """Looks every 20 ms, in a thread: at all rows, and at each file of a BUILT row, on the disk and once by HTTP.

    Args:
        app: whose rows.
        media: folder of the files, served while the observer looks.
        ordered: variant key -> name of its source, of what visitors may see.
        may_fail: names of sources that may be gone.
        ready: returns how many builds the site's workers could do at a time now.
    """

    def __init__(
        self, app: EasyImg, media: Path, ordered: dict[str, str], may_fail: set[str], ready: Callable[[], int]
    ) -> None:
        self.seen = Seen()
        self.timing = Timing(ready)
        self.visitor: Visitor
        """Set once it looks."""
        self.pixels: Callable[[Row, Image.Image], str] = lambda row, image: ""
        """Called with each new file; says what is wrong with what it shows."""
        self.removed: set[str] = set()
        """Files that a case removed itself: to be built again."""
        self._app = app
        self._media = media
        self._ordered = ordered
        self._may_fail = may_fail
        self._stack = contextlib.ExitStack()
        self._known: dict[str, tuple[Any, int, str]] = {}
        self._decoded: set[tuple[str, Any]] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="observer", daemon=True)

    def __enter__(self) -> Self:
        self._app.metadata.setup()
        port = self._stack.enter_context(serving(self._media))
        self._reader = Reader(port)
        self._stack.callback(self._reader.close)
        self.visitor = Visitor(self._app, port, self._ordered, self._need_not_be_there)
        self._thread.start()
        self.visitor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self.visitor.close()
        self._thread.join(60)
        self._stack.close()

    def restart_timing(self) -> None:
        """Time from now on only."""
        with self._lock:
            self.timing.restart()

    def _need_not_be_there(self, name: str) -> bool:
        return name in self.removed or name in self._may_fail

    def _run(self) -> None:
        while not self._stop.is_set():
            started = time.monotonic()
            try:
                self.look()
            except Exception:  # noqa: BLE001  # a database that is down: what it hides shows later
                self.seen.blind += 1
            took = time.monotonic() - started
            self._stop.wait(max(took, EVERY - took))

    def look(self) -> list[Row]:
        """Look once and return the rows."""
        with self._lock:  # one look at a time, or an old one would seem to take back what a newer one saw
            rows = read_rows(self._app)
            self.seen.looks += 1
            self.timing.look(rows)
            for row in rows:
                if row.status == VariantStatus.BUILT:
                    self._check(row)
        self.visitor.tell(row.key for row in rows)
        return rows

    def _check(self, row: Row) -> None:
        before = self._known.get(row.key)
        if before and before[0] != row.built_at and before[1] == row.generation and row.file_name not in self.removed:
            self.seen.duplicated[row.key] = f"published at {before[0]} and at {row.built_at}"
        self._known[row.key] = (row.built_at, row.generation, row.file_name)
        if row.file_name in self.removed:
            return
        path = self._media / row.file_name
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            self.seen.missing[row.key] = f"BUILT, and {row.file_name} is not there"
            return
        if size != row.bytes:
            self.seen.partial[row.key] = f"{row.file_name} has {size} bytes, its row says {row.bytes}"
        elif (row.file_name, row.built_at) not in self._decoded:
            self._decoded.add((row.file_name, row.built_at))
            self._decode(row)

    def _decode(self, row: Row) -> None:
        data = self._reader.get(f"/media/{row.file_name}")
        if data is None:
            self.seen.missing[row.key] = f"BUILT, and the URL of {row.file_name} answers nothing"
            return
        try:
            image = decoded(data)
        except Exception as exc:  # noqa: BLE001  # decoders raise what they like
            self.seen.partial[row.key] = f"{row.file_name} cannot be decoded: {exc}"
            return
        if wrong := self.pixels(row, image):
            self.seen.wrong[row.key] = wrong
