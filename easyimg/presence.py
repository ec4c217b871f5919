"""Which files are there: names of variant files, and what a storage holds compared with what rows say.

Nothing here keeps a million names in memory; what must be remembered lies in a temporary file.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, TypeVar

from easyimg.errors import UnsafeName
from easyimg.formats import FORMATS
from easyimg.ports import App, Storage
from easyimg.variant import SourceRow

T = TypeVar("T")

ASKED_ONE_BY_ONE: Final = 1000
"""Files of a storage that are asked for with ``size()``, one call each. Beyond, one listing costs fewer calls: object
stores list 1,000 files a request, local folders without opening anything."""

_EXTENSIONS = "|".join(sorted({re.escape(form.extension) for form in FORMATS.values()}))
_VARIANT = re.compile(rf"(?P<key>[0-9a-f]{{32}})\.[0-9a-f]{{12}}\.(?:{_EXTENSIONS})", re.ASCII)
_TEMPORARY = re.compile(r"\.easyimg-[0-9a-f]{16}\.tmp", re.ASCII)


class VariantNames:
    """Tells the files of a variants folder apart by their names: exactly those that ``build.variant_name`` makes.

    Args:
        prefix: the folder of the variants inside its storage (``settings.variants_prefix``).
    """

    def __init__(self, prefix: str) -> None:
        self._folder = f"{prefix}/" if prefix else ""

    def key(self, name: str) -> str | None:
        """Return the key in a variant file's name; None of any other name."""
        found = _VARIANT.fullmatch(self._base(name))
        return found["key"] if found else None

    def is_temporary(self, name: str) -> bool:
        """Return whether it is a file in the variants folder that a storage was still writing."""
        return _TEMPORARY.fullmatch(self._base(name)) is not None

    def named_by(self, text: str) -> str | None:
        """Return the name of the variant file that a URL, its path, or a name means; None = of no variant."""
        base = text.partition("?")[0].partition("#")[0].rpartition("/")[2]
        return self._folder + base if _VARIANT.fullmatch(base) else None

    def _base(self, name: str) -> str:
        """Return the name inside the folder; ``""`` outside of it. One in a folder below holds a slash."""
        return name[len(self._folder) :] if name.startswith(self._folder) else ""


class Spill:
    """A map from text to an integer or None that lies in a temporary file: its memory does not grow. One thread."""

    def __init__(self) -> None:
        # An empty name is a private database on disk, deleted when closed: https://sqlite.org/inmemorydb.html
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute("PRAGMA journal_mode=OFF")
        self._database.execute("CREATE TABLE item (name TEXT PRIMARY KEY, value INTEGER) WITHOUT ROWID")

    def add(self, items: Iterable[tuple[str, int | None]]) -> None:
        """Put items in, replacing older ones of the same name."""
        self._database.execute("BEGIN")
        self._database.executemany("INSERT OR REPLACE INTO item VALUES (?, ?)", items)
        self._database.execute("COMMIT")

    def get(self, names: Iterable[str]) -> dict[str, int | None]:
        """Return those of these that are in it."""
        query = "SELECT name, value FROM item WHERE name IN (SELECT value FROM json_each(?))"
        return dict(self._database.execute(query, (json.dumps(list(names)),)))

    def pages(self, size: int) -> Iterator[list[str]]:
        """Yield all names in order, some at a time; it may be changed meanwhile."""
        after = ""
        query = "SELECT name FROM item WHERE name > ? ORDER BY name LIMIT ?"
        while page := [name for (name,) in self._database.execute(query, (after, size))]:
            yield page
            after = page[-1]

    def __len__(self) -> int:
        return int(self._database.execute("SELECT count(*) FROM item").fetchone()[0])

    def close(self) -> None:
        """Delete the temporary file."""
        self._database.close()


class Presence:
    """What a storage holds, asked by the least calls: one by one while they are few, then by one listing.

    A listing only acquits: what it does not show as it should be is asked for again, since it may have been written
    after the listing.

    Args:
        storage: whose files.
        folder: the part of it to list; names outside of it are asked for one by one.
    """

    def __init__(self, storage: Storage, folder: str = "") -> None:
        self.storage = storage
        self._folder = folder
        self._asked = 0
        self._listed: Spill | None = None
        self.found = 0
        """How many of the files asked for were there."""

    @property
    def is_listed(self) -> bool:
        """Whether the listing was made."""
        return self._listed is not None

    def faults(self, expected: Mapping[str, int | None]) -> dict[str, int | None]:
        """Return which of these are absent (None) or have another size than expected, with the size they have.

        Args:
            expected: name -> bytes; None = any size will do.

        Raises:
            StorageError: the storage cannot answer.
        """
        if self._listed is None and self._asked + len(expected) > ASKED_ONE_BY_ONE:
            self._list()
        listed = self._listed.get(expected) if self._listed is not None else {}
        faults = {}
        for name, size in expected.items():
            if name in listed and size in (None, listed[name]):
                self.found += 1
                continue
            actual = self._size(name)
            self.found += actual is not None
            if actual is None or size not in (None, actual):
                faults[name] = actual
        return faults

    def _size(self, name: str) -> int | None:
        self._asked += 1
        try:
            return self.storage.size(name)
        except UnsafeName:  # a row can name it, and no storage ever holds it
            return None

    def _list(self) -> None:
        listed = Spill()
        for files in batches(self.storage.list(self._folder), 10_000):
            listed.add((file.name, file.size) for file in files)
        self._listed = listed

    def close(self) -> None:
        """Forget the listing."""
        if self._listed is not None:
            self._listed.close()
            self._listed = None


class Places:
    """The storages of sources, each asked by the least calls.

    Raises:
        ConfigError: a source lies in a storage that the settings do not have.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._places: dict[str, Presence] = {}

    def __getitem__(self, alias: str) -> Presence:
        if alias not in self._places:
            self._places[alias] = Presence(self._app.storage(alias))
        return self._places[alias]

    def absent(self, sources: Iterable[SourceRow]) -> list[SourceRow]:
        """Return the sources whose original is not there."""
        by_alias: dict[str, dict[str, SourceRow]] = {}
        for row in sources:
            by_alias.setdefault(row.source.storage, {})[row.source.name] = row
        return [rows[name] for alias, rows in by_alias.items() for name in self[alias].faults(dict.fromkeys(rows))]

    def empty(self) -> list[str]:
        """Return the aliases of which not one file that was asked for is there."""
        return [alias for alias, place in self._places.items() if not place.found]

    def close(self) -> None:
        """Forget the listings."""
        for place in self._places.values():
            place.close()


def batches(items: Iterable[T], size: int) -> Iterator[Sequence[T]]:
    """Yield lists of up to ``size`` items."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
