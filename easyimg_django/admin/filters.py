"""The filters of the lists. Their choices cost no walk through a table, and what they choose is found by an index."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import SimpleListFilter
from django.db.models import Exists, OuterRef
from django.utils.translation import gettext_lazy as _

from easyimg.variant import VariantStatus
from easyimg_django.admin.site import site_app
from easyimg_django.admin.states import LABELS, chosen_state, in_state
from easyimg_django.metadata.reports import FAILED
from easyimg_django.models import Source, Variant

Choices = list[tuple[str, Any]]


class StateFilter(SimpleListFilter):
    """Variants by their state."""

    title = _("state")
    parameter_name = "status"

    def lookups(self, request: Any, model_admin: Any) -> Choices:
        """Return all states."""
        return [(str(status), label) for status, label in LABELS.items()]

    def queryset(self, request: Any, queryset: Any) -> Any:
        """Return the variants in the chosen state."""
        status = chosen_state(self.value())
        return queryset if status is None else queryset.filter(in_state(status))


class VariantsFilter(SimpleListFilter):
    """Sources by the state of a variant; of nearly all of them one is built."""

    title = _("variants")
    parameter_name = "variants"

    def lookups(self, request: Any, model_admin: Any) -> Choices:
        """Return the states that need a look."""
        return [(str(status), label) for status, label in LABELS.items() if status != VariantStatus.BUILT]

    def queryset(self, request: Any, queryset: Any) -> Any:
        """Return the sources with a variant in the chosen state."""
        status = chosen_state(self.value())
        if status in (None, VariantStatus.BUILT):
            return queryset
        variants = Variant.objects.using(queryset.db).filter(in_state(status))
        return queryset.filter(pk__in=variants.values("source_id"))


class KindFilter(SimpleListFilter):
    """Failed variants by the kind of their error."""

    title = _("kind of error")
    parameter_name = "error_kind"

    def lookups(self, request: Any, model_admin: Any) -> Choices:
        """Return the kinds that there are, from the index of the failed."""
        failed = model_admin.get_queryset(request).filter(FAILED).order_by()
        kinds = failed.values_list("error_kind", flat=True).distinct()
        return [(kind, kind) for kind in sorted(kinds)]

    def queryset(self, request: Any, queryset: Any) -> Any:
        """Return the variants that were given up with such an error."""
        kind = self.value()
        return queryset.filter(FAILED, error_kind=kind) if kind else queryset


class StorageFilter(SimpleListFilter):
    """Rows by the storage of the original, where the site has several."""

    title = _("storage")
    parameter_name = "storage"

    def lookups(self, request: Any, model_admin: Any) -> Choices:
        """Return the aliases in the settings."""
        app = site_app()
        aliases = sorted(app.settings.storages) if app is not None else []
        return [(alias, alias) for alias in aliases] if len(aliases) > 1 else []

    def queryset(self, request: Any, queryset: Any) -> Any:
        """Return the rows whose original lies there."""
        alias = self.value()
        if not alias:
            return queryset
        if queryset.model is Source:
            return queryset.filter(storage=alias)
        # No join: SQLite would begin with the sources, and then sort all variants of a storage.
        return queryset.filter(Exists(Source.objects.filter(pk=OuterRef("source_id"), storage=alias)))
