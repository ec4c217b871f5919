"""The metadata store on Django's ORM."""

from easyimg_django.metadata.store import DjangoMetadata

__all__ = ["DjangoMetadata"]
