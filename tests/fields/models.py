"""Mapped classes for tests, made anew for each, so that none is left behind for the next."""

from __future__ import annotations

from types import SimpleNamespace

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from easyimg.fields import ImageField, StoredImage


def make_models() -> SimpleNamespace:
    class HasPhoto:
        photo: Mapped[StoredImage | None] = mapped_column(ImageField("people/"))

    class Base(DeclarativeBase):
        pass

    class Category(Base):
        __tablename__ = "category"
        id: Mapped[int] = mapped_column(primary_key=True)
        products: Mapped[list[Product]] = relationship(cascade="all, delete-orphan")

    class Product(Base):
        __tablename__ = "product"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str | None] = mapped_column(String(50), unique=True)
        main_image: Mapped[StoredImage | None] = mapped_column(ImageField("photos/"))
        back_image: Mapped[StoredImage | None] = mapped_column(ImageField("photos/back/"))
        category_id: Mapped[int | None] = mapped_column(ForeignKey("category.id"))
        kind: Mapped[str] = mapped_column(String(20), default="product")
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "product"}  # noqa: RUF012

    class Shoe(Product):
        __tablename__ = "shoe"
        id: Mapped[int] = mapped_column(ForeignKey("product.id"), primary_key=True)
        sole: Mapped[StoredImage | None] = mapped_column(ImageField("soles/"))
        __mapper_args__ = {"polymorphic_identity": "shoe"}  # noqa: RUF012

    class Author(HasPhoto, Base):
        __tablename__ = "author"
        first: Mapped[str] = mapped_column(String(20), primary_key=True)
        last: Mapped[str] = mapped_column(String(20), primary_key=True)

    class Plain(Base):
        __tablename__ = "plain"
        id: Mapped[int] = mapped_column(primary_key=True)

    # Annotations are text here, and name classes of this function: SQLAlchemy finds them in its own registry.
    classes = (Base, HasPhoto, Category, Product, Shoe, Author, Plain)
    return SimpleNamespace(**{cls.__name__: cls for cls in classes})
