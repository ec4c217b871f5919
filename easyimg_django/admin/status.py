"""The status: what is built, what is owed and what failed, in the words of ``easyimg status``."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.template.response import TemplateResponse
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _

from easyimg.maintain import status_report
from easyimg.variant import VariantStatus
from easyimg_django.admin.site import site_app
from easyimg_django.models import Variant

STALE_AFTER = 600
"""Seconds after which a build without a verdict is called stale, as by the command."""


class StatusView:
    """The page with the counts. Whoever may look at sources and variants may see it.

    Args:
        source_admin: the admin that it belongs to.
    """

    def __init__(self, source_admin: Any) -> None:
        self._admin = source_admin

    def __call__(self, request: Any) -> TemplateResponse:
        """Return the page."""
        app = site_app()
        if app is None or not self._may_look(request):
            raise PermissionDenied
        counts = app.metadata.counts(stale_after=STALE_AFTER)
        report = status_report(counts, stale_after=STALE_AFTER, command="python manage.py easyimg")
        context = {
            **self._admin.admin_site.each_context(request),
            "title": _("Status"),
            "opts": self._admin.opts,
            "media": self._admin.media,
            "report": report,
            "counted_at": parse_datetime(report["counted_at"] or ""),
            "states": _states(report["counts"]),
        }
        request.current_app = self._admin.admin_site.name
        return TemplateResponse(request, "easyimg_django/admin/status.html", context)

    def _may_look(self, request: Any) -> bool:
        variants = self._admin.admin_site._registry.get(Variant)  # noqa: SLF001 - public from Django 5.0 on
        may_variants = variants is None or variants.has_view_permission(request)
        return bool(self._admin.has_view_permission(request) and may_variants)


def _states(counts: dict[str, int]) -> list[dict[str, Any]]:
    """Return label, count, state and share of each state, as the command shows them."""
    labels = (
        (_("built"), "generated", VariantStatus.BUILT),
        (_("queued"), "queued", VariantStatus.QUEUED),
        (_("building"), "building", VariantStatus.BUILDING),
        (_("source errors"), "source_errors", VariantStatus.SOURCE_ERROR),
        (_("build errors"), "build_errors", VariantStatus.BUILD_ERROR),
    )
    total = max(1, counts["generated"] + counts["pending"] + counts["source_errors"] + counts["build_errors"])
    return [
        {"label": label, "count": counts[key], "status": int(status), "share": f"{counts[key] / total:.4f}"}
        for label, key, status in labels
    ]
