"""Paging through a million rows: what is counted is bounded, and what is beyond is estimated."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Paginator
from django.utils.functional import cached_property

from easyimg_django.admin.site import site_app
from easyimg_django.models import Source

EXACT = 10_000
"""Rows up to which a list is counted."""


class EstimatingPaginator(Paginator):
    """Counts a list up to 10,000 rows.

    The length of a longer one is that of the whole table, by the totals that the status shows, or unknown where the
    list is filtered: then its first 10,001 rows can be paged through.
    """

    @cached_property
    def count(self) -> int:
        """The number of rows, or about that."""
        counted: int = self.object_list.order_by()[: EXACT + 1].count()
        if counted <= EXACT or self.object_list.query.where:
            return counted
        return max(counted, _total(self.object_list.model))


def _total(model: Any) -> int:
    app = site_app()
    if app is None:
        return 0
    counts = app.metadata.counts(stale_after=0)
    if model is Source:
        return counts.sources
    return counts.generated + counts.pending + counts.source_errors + counts.build_errors
