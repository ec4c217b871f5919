"""What the lists of sources and of variants have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import SEARCH_VAR, ChangeList
from django.db import connections
from django.http import HttpResponseRedirect
from django.utils.translation import gettext as _

from easyimg import EasyImg
from easyimg.errors import EasyImgError, MetadataError
from easyimg_django.admin.paging import EstimatingPaginator
from easyimg_django.admin.site import shown_alias, site_app

MAX_CHOSEN = 1000
"""Rows that an action takes at once: a request is no place for more."""


class RowsList(ChangeList):
    """A page of rows, with what else is shown of them."""

    result_list: Any

    def get_results(self, request: Any) -> None:
        """Read the page's rows, and what belongs to them in a query or two for all."""
        super().get_results(request)
        rows: list[Any] = list(self.result_list)
        self.model_admin.complete(rows)
        self.result_list = rows
        self.is_cut = self.result_count > self.paginator.per_page and bool(self.queryset.query.where)


class RowsAdmin(admin.ModelAdmin):
    """Rows that are looked at, and changed through the metadata store alone; a million of them as well as ten."""

    change_list_template = "easyimg_django/admin/change_list.html"
    list_per_page = 50
    ordering_of_found: Sequence[str]
    paginator = EstimatingPaginator
    search_fields = ("name",)  # shows the box; get_search_results says what is searched
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER if hasattr(admin, "ShowFacets") else None  # from Django 5.0 on
    sortable_by = ()

    class Media:
        """The style sheet of all pages."""

        css = {"all": ("easyimg_django/admin.css",)}  # noqa: RUF012 - Django's own form

    # Who may do what.

    def has_module_permission(self, request: Any) -> bool:
        """Return whether to name the app at all."""
        return site_app() is not None and bool(super().has_module_permission(request))

    def has_view_permission(self, request: Any, obj: Any = None) -> bool:
        """Return whether rows may be looked at."""
        return site_app() is not None and bool(super().has_view_permission(request, obj))

    def has_change_permission(self, request: Any, obj: Any = None) -> bool:
        """Return whether rows may be queued again and focus points chosen."""
        return site_app() is not None and bool(super().has_change_permission(request, obj))

    def has_delete_permission(self, request: Any, obj: Any = None) -> bool:
        """Return whether rows may be deleted."""
        return site_app() is not None and bool(super().has_delete_permission(request, obj))

    def has_add_permission(self, request: Any) -> bool:
        """Return False: uploads and pages add rows."""
        return False

    # Rows.

    def get_queryset(self, request: Any) -> Any:
        """Return the rows of the database that the metadata store reads."""
        return super().get_queryset(request).using(shown_alias())

    def get_ordering(self, request: Any) -> Sequence[str]:
        """Return the order of the list; SQLite would sort all that a search finds, if not in the order of its index."""
        is_search = bool(request.GET.get(SEARCH_VAR)) and connections[shown_alias()].vendor == "sqlite"
        return self.ordering_of_found if is_search else super().get_ordering(request)

    def get_changelist(self, request: Any, **options: Any) -> type[ChangeList]:
        """Return the list that completes its rows."""
        return RowsList

    def complete(self, rows: list[Any]) -> None:
        """Add what else is shown of a page's rows."""
        raise NotImplementedError

    # What goes wrong is told, not shown as a broken page.

    def changeform_view(self, request: Any, *args: Any, **options: Any) -> Any:
        """Show or change a row."""
        return self._or_tell(request, lambda: super(RowsAdmin, self).changeform_view(request, *args, **options))

    def delete_view(self, request: Any, *args: Any, **options: Any) -> Any:
        """Ask whether to delete, and do so."""
        return self._or_tell(request, lambda: super(RowsAdmin, self).delete_view(request, *args, **options))

    def _or_tell(self, request: Any, view: Callable[[], Any]) -> Any:
        try:
            return view()
        except MetadataError as exc:
            if request.method != "POST":
                raise
            self.message_user(request, str(exc), messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def chosen(self, request: Any, queryset: Any, limit: int = MAX_CHOSEN) -> list[str] | None:
        """Return the primary keys of what was chosen for an action; None, and a message, where they are too many."""
        keys = list(queryset.values_list("pk", flat=True)[: limit + 1])
        if len(keys) <= limit:
            return keys
        text = _("At most %(limit)d can be chosen at once; for more, there is the command “easyimg” of manage.py.")
        self.message_user(request, text % {"limit": limit}, messages.ERROR)
        return None

    def act(self, request: Any, work: Callable[[EasyImg], str]) -> None:
        """Do something and tell what came of it."""
        app = site_app()
        if app is None:
            return
        try:
            self.message_user(request, work(app), messages.SUCCESS)
        except EasyImgError as exc:
            self.message_user(request, str(exc), messages.ERROR)
