"""The sources: thumbnails, the focus point, and what is done to all variants of a source."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin import actions
from django.db.models import Count, Sum
from django.template.defaultfilters import filesizeformat
from django.template.loader import render_to_string
from django.urls import path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from easyimg.maintain import set_focus
from easyimg.removal import remove_rows
from easyimg.source import Source as Address
from easyimg.tend import build_anew, try_again
from easyimg_django.admin import cells
from easyimg_django.admin.filters import StorageFilter, VariantsFilter
from easyimg_django.admin.focus import SourceForm
from easyimg_django.admin.rows import RowsAdmin
from easyimg_django.admin.site import shown_alias, site_app
from easyimg_django.admin.states import badge
from easyimg_django.admin.status import StatusView
from easyimg_django.indexes import begins_with
from easyimg_django.models import Source, Variant
from easyimg_django.pictures import LARGE, Pictures, picture_of

MAX_DELETED = 200
"""Sources that are deleted at once: each has some files, and a storage may take a moment for each."""

MAX_LISTED = 200
"""Variants that a source's page shows; the list of variants has all of them."""


class SourceAdmin(RowsAdmin):
    """The originals. Deleting one deletes its rows and its variant files; the original stays."""

    actions = ("requeue", "rebuild", "delete_selected")
    delete_confirmation_template = "easyimg_django/admin/delete_confirmation.html"
    delete_selected_confirmation_template = "easyimg_django/admin/delete_selected_confirmation.html"
    fieldsets = (
        (None, {"fields": ("focus", "original", "facts", "given_up")}),
        (_("Variants"), {"fields": ("variant_table",)}),
        (
            _("Record"),
            {
                "classes": ("collapse",),
                "fields": ("id", "storage", "generation", "version", "crashes", "created_at", "updated_at"),
            },
        ),
    )
    form = SourceForm
    list_display = ("thumbnail", "name", "facts", "states", "created_at")
    list_display_links = ("thumbnail", "name")
    list_filter = (VariantsFilter, StorageFilter)
    ordering = ("-created_at", "-pk")
    ordering_of_found = ("name", "pk")
    readonly_fields = (
        *("picture", "original", "facts", "given_up", "variant_table", "id", "storage", "generation", "version"),
        *("crashes", "created_at", "updated_at"),
    )
    search_help_text = _("The beginning of a name, or an id")

    # Rows.

    def get_queryset(self, request: Any) -> Any:
        """Return the sources without their previews, some hundred bytes each."""
        return super().get_queryset(request).defer("blur")

    def get_search_results(self, request: Any, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """Return the source of an id, else those whose names begin with the term."""
        term = search_term.strip()
        if cells.is_key(term):
            return queryset.filter(pk=term), False
        return queryset.filter(begins_with("name", term, cells.vendor(queryset))) if term else queryset, False

    def complete(self, rows: list[Any]) -> None:
        """Add the thumbnails, and how many variants are in which state."""
        cells.add_pictures(rows, [_address(row) for row in rows])
        found = Variant.objects.using(shown_alias()).filter(source_id__in=[row.pk for row in rows]).order_by()
        states: dict[str, list[tuple[int, int]]] = {}
        for id_, status, count in found.values_list("source_id", "status").annotate(Count("pk")):
            states.setdefault(id_, []).append((status, count))
        for row in rows:
            row.easyimg_states = sorted(states.get(row.pk, ()))

    # Cells.

    @admin.display(description=_("picture"))
    def thumbnail(self, row: Any) -> Any:
        """Return the small picture."""
        return cells.picture(row)

    @admin.display(description=_("file"))
    def facts(self, row: Any) -> Any:
        """Return what the header of the original says."""
        if row.width is None:
            return gettext("not read yet")
        frames = ngettext(", %d frame", ", %d frames", row.frames) % row.frames if (row.frames or 1) > 1 else ""
        return cells.size(row.width, row.height, f"{row.format}{frames}")

    @admin.display(description=_("variants"))
    def states(self, row: Any) -> Any:
        """Return how many variants are in which state, each a link to them."""
        url = reverse("admin:easyimg_django_variant_changelist", current_app=self.admin_site.name)
        links = [
            (f"{url}?source__id__exact={row.pk}&status={status}", badge(status, f" {count}"))
            for status, count in row.easyimg_states
        ]
        return format_html_join(" ", '<a href="{}">{}</a>', links)

    # One source.

    def get_fieldsets(self, request: Any, obj: Any = None) -> Any:
        """Return the fields; who may not choose the focus point sees the picture and the numbers."""
        first, *others = self.fieldsets
        if self.has_change_permission(request, obj):
            return self.fieldsets
        return ((None, {"fields": ("picture", *first[1]["fields"])}), *others)

    def get_form(self, request: Any, obj: Any = None, **options: Any) -> Any:
        """Return the form, with the picture to choose the focus point on."""
        form = super().get_form(request, obj, **options)
        app = site_app()
        if obj is not None and app is not None and "focus" in form.base_fields:
            form.base_fields["focus"].widget.picture = picture_of(app, _address(obj), LARGE)
        return form

    @admin.display(description=_("picture"))
    def picture(self, row: Any) -> Any:
        """Return the large picture."""
        app = site_app()
        shown = picture_of(app, _address(row), LARGE) if app is not None else None
        return format_html('<div class="easyimg-large">{}</div>', shown.html()) if shown else None

    @admin.display(description=_("Focus point"))
    def focus(self, row: Any) -> Any:
        """Return the focus point as text."""
        return gettext("none: the centre") if row.focus_x is None else f"{row.focus_x:g}, {row.focus_y:g}"

    @admin.display(description=_("original"))
    def original(self, row: Any) -> Any:
        """Return the name of the original, a link to it where it has a URL."""
        return cells.link(row.storage, row.name)

    @admin.display(description=_("given up"))
    def given_up(self, row: Any) -> Any:
        """Return why nothing more is built of it."""
        return row.error or gettext("no")

    @admin.display(description=_("variants"))
    def variant_table(self, row: Any) -> Any:
        """Return the variants as a table."""
        app = site_app()
        if app is None:
            return None
        some = list(Variant.objects.using(shown_alias()).filter(source_id=row.pk).order_by("pk")[: MAX_LISTED + 1])
        pictures = Pictures(app)
        some.sort(key=lambda variant: (variant.format, variant.width, variant.spec))
        lines = [(v, badge(v.status), pictures.url(v.file_storage, v.file_name)) for v in some[:MAX_LISTED]]
        context = {"lines": lines, "is_cut": len(some) > MAX_LISTED, "source": row}
        return render_to_string("easyimg_django/admin/variants.html", context)

    def save_model(self, request: Any, obj: Any, form: Any, change: bool) -> None:
        """Set the focus point through the metadata store; the row itself is not saved."""
        app = site_app()
        if app is not None and "focus" in form.changed_data:
            set_focus(_address(obj), form.cleaned_data["focus"], app)

    # Actions.

    @admin.action(permissions=["change"], description=_("Try failed variants again"))
    def requeue(self, request: Any, queryset: Any) -> None:
        """Queue the failed variants of the chosen sources again."""
        ids = self.chosen(request, queryset)
        if ids is not None:
            self.act(request, lambda app: cells.queued_text(try_again(app, ids)))

    @admin.action(permissions=["change"], description=_("Build all variants anew"))
    def rebuild(self, request: Any, queryset: Any) -> None:
        """Queue all variants of the chosen sources again."""
        ids = self.chosen(request, queryset)
        if ids is not None:
            self.act(request, lambda app: _anew_text(build_anew(app, ids)))

    @admin.action(
        permissions=["delete"], description=_("Delete selected %(verbose_name_plural)s with their variant files")
    )
    def delete_selected(self, request: Any, queryset: Any) -> Any:
        """Ask, then delete, as Django does, with what belongs to a source in our words."""
        if self.chosen(request, queryset, MAX_DELETED) is None:
            return None
        return self._or_tell(request, lambda: actions.delete_selected(self, request, queryset))

    def get_deleted_objects(self, objs: Any, request: Any) -> Any:
        """Return what goes: the sources, each with the number of its variants. Nothing forbids it, nobody else asks."""
        rows = list(objs)
        found = Variant.objects.using(shown_alias()).filter(source_id__in=[row.pk for row in rows]).order_by()
        sums = {id_: rest for id_, *rest in found.values_list("source_id").annotate(Count("pk"), Sum("bytes"))}
        numbers = [sums.get(row.pk, (0, 0)) for row in rows]
        lines = [_doomed(row, count, size) for row, (count, size) in zip(rows, numbers, strict=True)]
        counts = {
            Source._meta.verbose_name_plural: len(rows),  # noqa: SLF001 - Django's public Options
            Variant._meta.verbose_name_plural: sum(count for count, _size in numbers),  # noqa: SLF001
        }
        return lines, counts, set(), []

    def delete_model(self, request: Any, obj: Any) -> None:
        """Delete a source's rows, and after the commit the files of its variants."""
        self._remove([obj.pk])

    def delete_queryset(self, request: Any, queryset: Any) -> None:
        """Delete some sources' rows, and the files of their variants."""
        self._remove(list(queryset.values_list("pk", flat=True)))

    def _remove(self, ids: list[str]) -> None:
        app = site_app()
        if app is not None:
            remove_rows(app, ids)

    # The status.

    def get_urls(self) -> list[Any]:
        """Return the pages, with the status."""
        view = self.admin_site.admin_view(StatusView(self))
        return [path("status/", view, name="easyimg_django_status"), *super().get_urls()]


def _address(row: Any) -> Address:
    return Address(row.storage, row.name)


def _doomed(row: Any, count: int, size: int | None) -> Any:
    text = ngettext("%(count)d variant, %(size)s", "%(count)d variants, %(size)s", count)
    return format_html("{} ({})", row.name, text % {"count": count, "size": filesizeformat(size or 0)})


def _anew_text(count: int) -> str:
    text = ngettext(
        "All variants of %(count)d source are built anew.", "All variants of %(count)d sources are built anew.", count
    )
    return str(text % {"count": count})
