"""Asking the site's databases, for what easyimg takes over from other apps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections

from easyimg.errors import ConfigError, did_you_mean, shown
from easyimg.foreign import Ask


def connect(alias: str | None) -> Ask:
    """Return what asks a database of ``DATABASES``; None = the one called ``default``.

    Raises:
        ConfigError: there is no such database.
    """
    name = alias or DEFAULT_DB_ALIAS
    if name not in connections:
        raise ConfigError(f"database: DATABASES has no {shown(name)}{did_you_mean(name, connections)}")

    def ask(statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with connections[name].cursor() as cursor:
            cursor.execute(statement, list(values))
            return list(cursor.fetchall())

    return ask
