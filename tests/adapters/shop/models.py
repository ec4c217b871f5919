"""Models as sites have them."""

from __future__ import annotations

from django.core.files.storage import InMemoryStorage
from django.db import models

SHELF = InMemoryStorage(base_url="/shelf/")
"""A storage that no alias names."""


class Product(models.Model):
    name = models.CharField(max_length=100, default="")
    photo = models.ImageField(upload_to="photos/", blank=True)
    leaflet = models.FileField(upload_to="leaflets/", blank=True)
    boxed = models.ImageField(upload_to="boxed/", blank=True, storage=SHELF)

    def __str__(self) -> str:
        return self.name


class Kit(Product):
    parts = models.IntegerField(default=1)


class Offer(Product):
    class Meta:
        proxy = True


class Note(models.Model):
    """A model with files, none of them an image."""

    paper = models.FileField(upload_to="papers/", blank=True)
