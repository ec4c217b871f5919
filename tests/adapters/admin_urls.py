"""The URLs of a site whose admin shows images and products."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from easyimg_django.admin import SourceAdmin, VariantAdmin
from easyimg_django.models import Source, Variant
from tests.adapters.shop.admin import ProductAdmin
from tests.adapters.shop.models import Product

site = admin.AdminSite()
site.register(Source, SourceAdmin)
site.register(Variant, VariantAdmin)
site.register(Product, ProductAdmin)

urlpatterns = [path("admin/", site.urls)]
