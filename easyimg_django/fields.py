"""Column types that Django's own fields do not say: the same as in ``easyimg.metadata.tables``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.db import models


class HexField(models.CharField):
    """32 hex digits, compared byte by byte."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"max_length": 32, **options})

    def db_type(self, connection: Any) -> str:
        """Return the type; PostgreSQL's is not spelled "varchar", for which Django would make one index more."""
        return {
            "mysql": "char(32) CHARACTER SET ascii COLLATE ascii_bin",
            "postgresql": 'character varying(32) COLLATE "C"',
        }.get(connection.vendor, "char(32)")


class NameField(models.CharField):
    """A storage's name for something: case and accents count."""

    def db_type(self, connection: Any) -> str:
        """Return the type; MariaDB's default collation takes ``A`` for ``a``. Of PostgreSQL's name see ``HexField``."""
        kind = "character varying" if connection.vendor == "postgresql" else "varchar"
        collation = " CHARACTER SET utf8mb4 COLLATE utf8mb4_bin" if connection.vendor == "mysql" else ""
        return f"{kind}({self.max_length}){collation}"


class MessageField(models.TextField):
    """Some kilobytes of text with any character."""

    def db_type(self, connection: Any) -> str:
        """Return the type; MariaDB's default character set may know fewer characters."""
        return "text CHARACTER SET utf8mb4 COLLATE utf8mb4_bin" if connection.vendor == "mysql" else "text"


class MomentField(models.DateTimeField):
    """A time in UTC by the database's clock, whatever ``USE_TZ`` and ``TIME_ZONE`` say; aware in Python."""

    def get_internal_type(self) -> str:
        """Return a name of its own, so that no back end converts by the site's time zone."""
        return "EasyImgMomentField"

    def db_type(self, connection: Any) -> str:
        """Return the type; SQLite has none for times, and text of this form sorts as it should."""
        types = {"sqlite": "varchar(23)", "mysql": "datetime(6)", "postgresql": "timestamp with time zone"}
        return types.get(connection.vendor, "timestamp")

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> datetime | None:
        """Return an aware time in UTC."""
        if value is None:
            return None
        time: datetime = datetime.fromisoformat(value) if isinstance(value, str) else value
        if time.tzinfo is None:
            # Without USE_TZ, Django has PostgreSQL's driver give times of the connection's zone, without saying so.
            zone = ZoneInfo(connection.timezone_name) if connection.vendor == "postgresql" else UTC
            time = time.replace(tzinfo=zone)
        return time.astimezone(UTC)
