"""The site's own admin of its models, as the docs say; registered by ``tests.adapters.admin_urls``."""

from __future__ import annotations

from django.contrib import admin
from django.db import models

from easyimg_django.forms import ImageField, ImageInput


class ProductAdmin(admin.ModelAdmin):
    fields = ("name", "photo", "boxed")
    formfield_overrides = {models.ImageField: {"form_class": ImageField, "widget": ImageInput}}  # noqa: RUF012
