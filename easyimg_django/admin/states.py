"""States of variants: their words and colours, and finding the rows of one by its index."""

from __future__ import annotations

from typing import Any, Final

from django.db.models import Q
from django.utils.html import format_html
from django.utils.safestring import SafeString

from easyimg.variant import ERROR_STATUSES, Priority, VariantStatus
from easyimg_django.functions import Literal
from easyimg_django.metadata.reports import FAILED
from easyimg_django.models import Variant

LABELS: Final = dict(Variant.STATUSES)

ORDERS: Final = {
    # What is built next comes first; as the index of what is owed has it, backwards.
    VariantStatus.QUEUED: ("-priority", "-due_at", "-status", "-source_id", "-pk"),
    VariantStatus.BUILDING: ("-priority", "-due_at", "-status", "-source_id", "-pk"),
    VariantStatus.SOURCE_ERROR: ("status", "error_kind", "errors", "pk"),
    VariantStatus.BUILD_ERROR: ("status", "error_kind", "errors", "pk"),
}
"""The orders in which an index gives the rows of a state."""


def badge(status: int, text: Any = "") -> SafeString:
    """Return a state's label (and a text), coloured."""
    name = VariantStatus(status).name.lower().replace("_", "-")
    return format_html('<span class="easyimg-state easyimg-{}">{}{}</span>', name, LABELS[status], text)


def in_state(status: int) -> Q:
    """Return the condition that a variant is in a state, as the state's index can answer it."""
    if status in ERROR_STATUSES:
        return FAILED & Q(status=Literal(status))
    if status == VariantStatus.BUILT:
        # Every source by name: SQLite then reads their index in its order, where it would sort a million rows.
        return Q(source_id__gte="", status=Literal(status))
    # Every priority by name: MariaDB's index, which holds all rows, begins with it.
    return Q(priority__in=[Literal(p) for p in Priority], due_at__isnull=False, status=Literal(status))


def chosen_state(text: Any) -> int | None:
    """Return the state that a query's parameter means; None of any other text."""
    known = {str(status.value): status.value for status in VariantStatus}
    return known.get(str(text))
