"""The variants: their state, their error, their file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.template.defaultfilters import filesizeformat, truncatechars
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from easyimg.presence import VariantNames
from easyimg.source import Source
from easyimg.tend import build_files_anew, try_again
from easyimg_django.admin import cells
from easyimg_django.admin.filters import KindFilter, StateFilter, StorageFilter
from easyimg_django.admin.rows import RowsAdmin
from easyimg_django.admin.site import site_app
from easyimg_django.admin.states import ORDERS, badge, chosen_state
from easyimg_django.indexes import begins_with
from easyimg_django.pictures import Pictures, Shown

SMALL_FILE = 50_000
"""Bytes up to which a list shows the file itself; of a larger one, its source."""


class VariantAdmin(RowsAdmin):
    """The generated files and those that are owed. They are built again, never edited, and go with their source."""

    actions = ("requeue", "rebuild")
    fields = (
        *("file_picture", "source_link", "state", "file", "spec", "attempts", "errors", "due_at"),
        *("created_at", "built_at", "key"),
    )
    readonly_fields = fields
    list_display = ("thumbnail", "source_name", "state", "file", "recipe", "attempts", "due_at")
    list_display_links = ("thumbnail", "source_name")
    list_filter = (StateFilter, KindFilter, StorageFilter)
    list_select_related = ("source",)
    ordering = ("source_id", "pk")
    ordering_of_found = ("source__name", "source_id", "pk")
    search_help_text = _("The beginning of a source's name, or the key, the file's name or the URL of a variant")

    # Rows.

    def has_change_permission(self, request: Any, obj: Any = None) -> bool:
        """Return False: nothing of a variant can be edited."""
        return False

    def has_delete_permission(self, request: Any, obj: Any = None) -> bool:
        """Return False: variants go with their source, and ``clean`` finds files that nothing names."""
        return False

    def has_queue_permission(self, request: Any) -> bool:
        """Return whether variants may be queued again: with Django's permission to change them."""
        return super().has_change_permission(request)

    def get_queryset(self, request: Any) -> Any:
        """Return the variants with the names of their sources."""
        return super().get_queryset(request).select_related("source").defer("source__blur")

    def get_ordering(self, request: Any) -> Sequence[str]:
        """Return the order in which the index of the chosen state has them; else those of a source together."""
        chosen = chosen_state(request.GET.get("status"))
        return ORDERS[chosen] if chosen in ORDERS else super().get_ordering(request)  # type: ignore[index]

    def get_search_results(self, request: Any, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """Return the variant of a key or a file, else those of sources whose names begin with the term."""
        term = search_term.strip()
        key = term if cells.is_key(term) else _key_of(term)
        if key:
            return queryset.filter(pk=key), False
        return queryset.filter(begins_with("source__name", term, cells.vendor(queryset))) if term else queryset, False

    def complete(self, rows: list[Any]) -> None:
        """Add the pictures: of small files the file itself."""
        cells.add_pictures(rows, [Source(row.source.storage, row.source.name) for row in rows])
        for row in rows:
            shown = _shown_file(row) if row.bytes <= SMALL_FILE else None
            row.easyimg_picture = shown or row.easyimg_picture

    # Cells.

    @admin.display(description=_("picture"))
    def thumbnail(self, row: Any) -> Any:
        """Return the small picture."""
        return cells.picture(row)

    @admin.display(description=_("source image"))
    def source_name(self, row: Any) -> Any:
        """Return the name of the original."""
        return row.source.name

    @admin.display(description=_("state"))
    def state(self, row: Any) -> Any:
        """Return the state, and what went wrong."""
        if not row.error_kind:
            return badge(row.status)
        text = f"{row.error_kind}: {row.error}"
        return format_html(
            '{}<span class="easyimg-error" title="{}">{}</span>', badge(row.status), text, truncatechars(text, 160)
        )

    @admin.display(description=_("file"))
    def file(self, row: Any) -> Any:
        """Return the file's size and format, a link to it."""
        if not row.file_name:
            return None
        text = cells.size(row.width, row.height, f"{row.format}, {filesizeformat(row.bytes)}")
        return cells.link(row.file_storage, row.file_name, text)

    @admin.display(description=_("specification"))
    def recipe(self, row: Any) -> Any:
        """Return what was asked for."""
        return format_html("<code>{}</code>", row.spec)

    @admin.display(description=_("picture"))
    def file_picture(self, row: Any) -> Any:
        """Return the file itself."""
        shown = _shown_file(row)
        return format_html('<div class="easyimg-large">{}</div>', shown.html()) if shown else None

    @admin.display(description=_("source image"))
    def source_link(self, row: Any) -> Any:
        """Return the name of the original, a link to its page."""
        url = reverse("admin:easyimg_django_source_change", args=[row.source_id], current_app=self.admin_site.name)
        return format_html('<a href="{}">{}</a>', url, row.source)

    # Actions.

    @admin.action(permissions=["queue"], description=_("Try failed variants again, with others of their sources"))
    def requeue(self, request: Any, queryset: Any) -> None:
        """Queue failed variants again, source by source."""
        keys = self.chosen(request, queryset)
        if keys is not None:
            ids = queryset.model.objects.using(queryset.db).filter(pk__in=keys).values_list("source_id", flat=True)
            self.act(request, lambda app: cells.queued_text(try_again(app, ids)))

    @admin.action(permissions=["queue"], description=_("Build the files anew"))
    def rebuild(self, request: Any, queryset: Any) -> None:
        """Queue variants again that have a file, or are about to have one."""
        keys = self.chosen(request, queryset)
        if keys is not None:
            self.act(request, lambda app: cells.queued_text(build_files_anew(app, keys)))


def _key_of(term: str) -> str | None:
    """Return the key of the variant whose file, or its URL, was searched for."""
    app = site_app()
    if app is None:
        return None
    names = VariantNames(app.settings.variants_prefix)
    name = names.named_by(term)
    return names.key(name) if name else None


def _shown_file(row: Any) -> Shown | None:
    app = site_app()
    url = Pictures(app).url(row.file_storage, row.file_name) if app is not None and row.file_name else None
    return Shown(url, row.width, row.height) if url else None
