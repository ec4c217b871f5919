"""What another library has made of a site's pictures, in easyimg's words; and where its tables can be asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from easyimg.source import Source
from easyimg.spec import VariantSpec

Ask = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]
"""Runs a statement, with ``%s`` in the place of each value, and returns its rows."""


class Foreign(NamedTuple):
    """One file that another library has built, or was asked for.

    Args:
        source: of which original.
        specs: what easyimg would call it; more than one where its library did not tell them apart, none where easyimg
            has nothing like it.
        file: its name in that library's storage; ``""`` = not built.
    """

    source: Source
    specs: tuple[VariantSpec, ...]
    file: str


class Old(NamedTuple):
    """All that another library has: how many rows, and what they mean, one group a source."""

    total: int
    groups: Iterable[Sequence[Foreign]]


_databases: list[Callable[[str | None], Ask]] = []


def add_database(connect: Callable[[str | None], Ask]) -> None:
    """Let a framework's own databases be asked; called by adapters, once each.

    Args:
        connect: takes the alias of a database, None for the usual one.
    """
    if connect not in _databases:
        _databases.append(connect)


def site_database(alias: str | None) -> Ask | None:
    """Return what asks a database of the site's framework; None where there is no such framework.

    Raises:
        ConfigError: it has no such database.
    """
    return _databases[0](alias) if _databases else None
