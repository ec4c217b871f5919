"""Images in models of SQLAlchemy 2: the column type ``ImageField``, and ``StoredImage``, what attributes hold.

    main_image: Mapped[StoredImage | None] = mapped_column(ImageField("photos/"))

An upload that is assigned is checked at once and stored by the flush. The commit makes it stay; a rollback, of a
savepoint as well, removes it again. What a row lets go of is deleted after the commit. ``import easyimg`` does not
import this package: it needs SQLAlchemy's ORM.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Mapper, Session

from easyimg.fields import storing, transactions
from easyimg.fields.columns import remember, watch
from easyimg.fields.image import StoredImage
from easyimg.fields.keeping import MappedRows
from easyimg.fields.listening import MappedModels
from easyimg.fields.reading import bind
from easyimg.fields.type import ImageField, render_item
from easyimg.models import add_models
from easyimg.unsettled import add_keeper

__all__ = ["ImageField", "StoredImage", "bind", "render_item"]


@event.listens_for(Mapper, "after_mapper_constructed")
def _remember(mapper: Mapper[Any], _class: type) -> None:
    remember(mapper)


@event.listens_for(Mapper, "mapper_configured")
def _watch(mapper: Mapper[Any], _class: type) -> None:
    """Follow the rows of a class with images; other classes are left alone."""
    remember(mapper)
    if watch(mapper):
        for name in ("before_insert", "before_update", "before_delete"):
            event.listen(mapper, name, getattr(storing, name))


for _name in (
    "before_commit",
    "before_flush",
    "after_flush_postexec",
    "after_commit",
    "after_rollback",
    "after_transaction_end",
):
    event.listen(Session, _name, getattr(transactions, _name))
event.listen(Session, "after_flush", storing.after_flush)

add_models(MappedModels())
add_keeper(MappedRows())
