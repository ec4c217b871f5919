"""StoredImage: what a model's attribute holds."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from easyimg.current import current_app
from easyimg.ports import App
from easyimg.source import Source
from easyimg.upload import Upload, check_upload

_TEXT = re.compile(r"(?P<name>.+)\|(?P<width>\d+)x(?P<height>\d+)\|(?P<format>[a-z]+)\|(?P<bytes>\d+)", re.DOTALL)

LONGEST_FACTS = len("|1000000x1000000|webp|1099511627776")
"""Characters that a column needs beside the name, at most."""


@dataclass(frozen=True, eq=False)
class StoredImage:
    """The image in a row: an address and what was measured at upload; known with the row, without another query.

    Immutable. Two are equal when they mean the same file; one that is not stored yet equals only itself.

    Args:
        name: in its storage; ``""`` until the upload is stored, which a flush does.
        storage: its alias.
        width: pixels, upright; None where the row holds a bare name.
        height: the same.
        format: by content; None where the row holds a bare name.
        bytes: of the file; None where the row holds a bare name.
    """

    name: str
    storage: str = "default"
    width: int | None = None
    height: int | None = None
    format: str | None = None
    bytes: int | None = None

    is_stored: ClassVar[bool] = True
    """Whether the file is in its storage."""

    @classmethod
    def from_file(cls, file: Any, *, name: str | None = None, app: App | None = None) -> StoredImage:
        """Check an upload, and return it to be assigned; it is stored when its row is flushed.

        Assigning the upload itself does the same; this is for type checkers, for a name, and for another EasyImg.

        Args:
            file: bytes, a :class:`pathlib.Path`, a binary file, or an upload of a framework; text is refused.
            name: what to make the readable part of the file's name from; None = the upload's own name.
            app: the EasyImg; None = the current one.

        Raises:
            SourceUnreadable: empty, damaged, or the file object could not be read.
            SourceTooLarge: beyond a limit.
            UnsupportedFormat: the content is not an allowed image format.
            SpecError: the name or the file is nothing that can be used.
        """
        chosen = app or current_app()
        return NewImage.of(check_upload(file, app=chosen, name=name), chosen)

    @classmethod
    async def from_upload(cls, file: Any, *, name: str | None = None, app: App | None = None) -> StoredImage:
        """Do what :meth:`from_file` does without holding up the event loop, which assigning an upload does."""
        chosen = app or current_app()
        return await asyncio.to_thread(cls.from_file, file, name=name, app=chosen)

    @property
    def source(self) -> Source | None:
        """Its address; None while it is not stored."""
        return Source(self.storage, self.name) if self.name else None

    def __easyimg_source__(self) -> Source | None:
        return self.source

    @property
    def url(self) -> str | None:
        """The original's public URL; None while it is not stored, or where its storage has none. No I/O."""
        return current_app().storage(self.storage).url(self.name) if self.name else None

    @property
    def ratio(self) -> float | None:
        """Width by height; None where they are not known."""
        return self.width / self.height if self.width and self.height else None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        known = {"name": self.name, "storage": self.storage, "url": self.url}
        return {**known, "width": self.width, "height": self.height, "format": self.format, "bytes": self.bytes}

    def __str__(self) -> str:
        return self.name

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StoredImage):
            return NotImplemented
        return self is other or bool(self.name and (self.storage, self.name) == (other.storage, other.name))

    def __hash__(self) -> int:
        return hash((self.storage, self.name)) if self.name else id(self)

    @property
    def text(self) -> str:
        """What its column holds: the name, and the facts where they are known."""
        if None in (self.width, self.height, self.format, self.bytes):
            return self.name
        return f"{self.name}|{self.width}x{self.height}|{self.format}|{self.bytes}"

    @classmethod
    def from_text(cls, text: str, storage: str) -> StoredImage:
        """Return what a column's text says; one without facts is a bare name."""
        found = _TEXT.fullmatch(text)
        if found is None:
            return StoredImage(text, storage)
        name, width, height, form, size = found.groups()
        return StoredImage(name, storage, int(width), int(height), form, int(size))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Let pydantic models (SQLModel, FastAPI's responses) hold images, and write them as ``as_dict()``."""
        from pydantic_core import core_schema

        write = core_schema.plain_serializer_function_ser_schema(cls.as_dict, when_used="json")
        return core_schema.is_instance_schema(StoredImage, serialization=write)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        text, number = {"type": "string"}, {"anyOf": [{"type": "integer"}, {"type": "null"}]}
        maybe = {"anyOf": [text, {"type": "null"}]}
        values = {"name": text, "storage": text, "url": maybe, "width": number, "height": number}
        return {"type": "object", "title": "StoredImage", "properties": {**values, "format": maybe, "bytes": number}}


class AdoptedImage(StoredImage):
    """A file that was in the storage before, given to a row as a Source: the row has it from now on."""


class LostImage(StoredImage):
    """An image whose file was removed when its transaction was rolled back, and whose content is not at hand."""

    is_stored = False


class NewImage(StoredImage):
    """A checked upload that no flush has stored yet."""

    is_stored = False
    upload: Upload
    app: App

    @classmethod
    def of(cls, upload: Upload, app: App) -> Self:
        """Return an upload as an image."""
        info = upload.info
        image = cls("", "", info.width, info.height, info.format, len(upload.data))
        object.__setattr__(image, "upload", upload)
        object.__setattr__(image, "app", app)
        return image

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        return self

    def __reduce__(self) -> Any:
        raise TypeError("an image is pickled once it is stored; flush its session first")

    def kept_as(self, name: str, storage: str) -> StoredImage:
        """Return the same image, stored under that name."""
        return StoredImage(name, storage, self.width, self.height, self.format, self.bytes)
