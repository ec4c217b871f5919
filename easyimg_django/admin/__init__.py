"""The admin: sources with their focus point, variants with their state, and the status of the queue.

On another site than the default one, register them yourself: ``site.register(Source, SourceAdmin)``, and
``site.register(Variant, VariantAdmin)``.
"""

from django.contrib import admin

from easyimg_django.admin.sources import SourceAdmin
from easyimg_django.admin.variants import VariantAdmin
from easyimg_django.models import Source, Variant

admin.site.register(Source, SourceAdmin)
admin.site.register(Variant, VariantAdmin)

__all__ = ["SourceAdmin", "VariantAdmin"]
