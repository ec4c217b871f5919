"""Reading what a page needs: one SELECT, plain tuples.

The one statement that is not the ORM's: making its text anew would cost each page more than the database needs for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from django.db import connections

from easyimg.metadata.rows import records
from easyimg_django.metadata.database import Rows

_Many = Callable[[Sequence[str]], Any]

_Texts = tuple[str, str]

_SPOKEN: Final[dict[str, tuple[_Texts, _Many]]] = {
    # A JSON array: the statement's text never changes. CROSS JOIN fixes the order: each asked key is looked up once.
    "sqlite": (
        records(
            sources="json_each(%s) j CROSS JOIN easyimg_source s ON s.id = j.value",
            variants="json_each(%s) j CROSS JOIN easyimg_variant v ON v.key = j.value",
        ),
        lambda values: json.dumps(values, ensure_ascii=False),
    ),
    "postgresql": (
        records(sources="easyimg_source s WHERE s.id = ANY(%s)", variants="easyimg_variant v WHERE v.key = ANY(%s)"),
        list,
    ),
    # The drivers write a tuple as ('a','b'); an empty one needs something that no key equals.
    "mysql": (
        records(
            sources="easyimg_source s WHERE s.id IN %s",
            variants="easyimg_variant v WHERE v.key IN %s",
            preview="CONCAT(s.color, ' ', COALESCE(s.blur, ''))",
        ),
        lambda values: tuple(values) or ("",),
    ),
}
"""The statement without previews and with them, and how a list is given as one parameter."""


def select(ids: Sequence[str], keys: Sequence[str], previews: bool, rows: Rows) -> list[Any]:
    """Return the rows of sources and variants, as ``records()`` has them."""
    connection = connections[rows.alias]
    texts, many = _SPOKEN[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(texts[previews], (many(ids), many(keys)))
        return list(cursor.fetchall())
