"""The three tables, the same in every database.

``easyimg_source`` and ``easyimg_variant`` are what ``ports.MetadataStore`` describes; ``easyimg_meta`` holds the
schema's version and the leases of roles. No foreign key joins them: its check would lock a source's row for every
variant a page inserts, and wait behind a claim.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from sqlalchemy import (
    CHAR,
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeEngine

from easyimg.metadata.clock import moment, now
from easyimg.metadata.rows import MAX_KIND, MAX_NAME, MAX_STORAGE
from easyimg.variant import ERROR_STATUSES

SCHEMA_VERSION: Final = 2
"""Raised with every change of the tables; ``easyimg migrate`` brings older ones up to it."""

TABLE_NAMES: Final = frozenset({"easyimg_source", "easyimg_variant", "easyimg_meta"})


class Tables(NamedTuple):
    """Our tables inside one MetaData."""

    source: Table
    variant: Table
    meta: Table


def _hex() -> TypeEngine[Any]:
    """32 hex digits, compared byte by byte. PostgreSQL's CHAR would not use its index against text parameters."""
    digits: TypeEngine[Any] = CHAR(32)
    digits = digits.with_variant(mysql.CHAR(32, charset="ascii", collation="ascii_bin"), "mysql", "mariadb")
    return digits.with_variant(String(32, collation="C"), "postgresql")


def _name(length: int) -> TypeEngine[Any]:
    """A storage's name for something: case and accents count."""
    name: TypeEngine[Any] = String(length)
    return name.with_variant(mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")


def _text() -> TypeEngine[Any]:
    text: TypeEngine[Any] = Text()
    return text.with_variant(mysql.TEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")


def define_tables(metadata: MetaData | None = None) -> Tables:
    """Return our tables as part of a MetaData: one's own, to have its migrations manage them, or a fresh one."""
    metadata = MetaData() if metadata is None else metadata
    if "easyimg_source" in metadata.tables:
        return Tables(*(metadata.tables[f"easyimg_{name}"] for name in Tables._fields))
    return Tables(_source(metadata), _variant(metadata), _meta(metadata))


def _source(metadata: MetaData) -> Table:
    return Table(
        "easyimg_source",
        metadata,
        Column("id", _hex(), primary_key=True),
        Column("storage", _name(MAX_STORAGE), nullable=False),
        Column("name", _name(MAX_NAME), nullable=False),
        Column("generation", Integer, nullable=False, default=1),
        Column("version", String(64), nullable=False, default=""),
        Column("width", Integer),
        Column("height", Integer),
        Column("format", String(16)),
        Column("has_alpha", Boolean),
        Column("frames", Integer),
        Column("interlaced", Boolean),
        Column("focus_x", Double),
        Column("focus_y", Double),
        Column("color", String(9)),
        Column("blur", Text),
        Column("crashes", SmallInteger, nullable=False, default=0),
        Column("error", _text(), nullable=False, default=""),
        Column("created_at", moment(), nullable=False, default=now()),
        Column("updated_at", moment(), nullable=False, default=now(), onupdate=now()),
    )


def _variant(metadata: MetaData) -> Table:
    variant = Table(
        "easyimg_variant",
        metadata,
        Column("key", _hex(), primary_key=True),
        Column("source_id", _hex(), nullable=False),
        Column("spec", _text(), nullable=False),
        Column("status", SmallInteger, nullable=False, default=0),
        Column("priority", SmallInteger, nullable=False, default=0, server_default="0"),
        Column("attempts", SmallInteger, nullable=False, default=0),
        Column("errors", SmallInteger, nullable=False, default=0, server_default="0"),
        Column("error_kind", String(MAX_KIND), nullable=False, default=""),
        Column("error", _text(), nullable=False, default=""),
        Column("due_at", moment()),
        Column("token", _hex()),
        Column("file_storage", _name(MAX_STORAGE), nullable=False, default=""),
        Column("file_name", _name(MAX_NAME), nullable=False, default=""),
        Column("format", String(16), nullable=False, default=""),
        Column("width", Integer, nullable=False, default=0),
        Column("height", Integer, nullable=False, default=0),
        Column("bytes", BigInteger, nullable=False, default=0),
        Column("created_at", moment(), nullable=False, default=now()),
        Column("built_at", moment()),
    )
    _index(variant)
    return variant


def _index(variant: Table) -> None:
    """Rows that are BUILT appear in no index but their source's (where the database knows partial indexes)."""
    open_rows = variant.c.due_at.is_not(None)
    failed = variant.c.status >= min(ERROR_STATUSES)
    Index("easyimg_variant_source", variant.c.source_id)
    Index(
        "easyimg_variant_due",
        variant.c.priority,
        variant.c.due_at,
        variant.c.status,  # these two cover the counts and the search for sources at no cost of their own
        variant.c.source_id,
        sqlite_where=open_rows,
        postgresql_where=open_rows,
    )
    Index(
        "easyimg_variant_failed",
        variant.c.status,
        variant.c.error_kind,
        variant.c.errors,  # the status page counts by all three, from the index alone
        sqlite_where=failed,
        postgresql_where=failed,
    )


def _meta(metadata: MetaData) -> Table:
    return Table(
        "easyimg_meta",
        metadata,
        Column("name", String(64), primary_key=True),
        Column("value", String(255), nullable=False, default=""),
        Column("owner", String(255), nullable=False, default=""),
        Column("due_at", moment()),
    )


def include_object(object: Any, name: str | None, type_: str, reflected: bool, compare_to: Any) -> bool:
    """Tell Alembic's autogenerate to leave our tables alone: ``context.configure(include_object=include_object)``."""
    table = name if type_ == "table" else getattr(getattr(object, "table", None), "name", None)
    return table not in TABLE_NAMES
