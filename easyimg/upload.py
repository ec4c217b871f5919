"""Taking in an upload: check that it is an allowed picture, store it under a safe name, record what its header says.

Nothing is stored before every check has passed, and nothing stays stored when its row could not be written.
``save_upload`` is all of it; models store at one time and record at another, with the parts.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import re
import secrets
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from easyimg.build import content_version
from easyimg.current import current_app
from easyimg.errors import EasyImgError, SourceTooLarge, SourceUnreadable, SpecError, StorageError, shown
from easyimg.formats import FORMATS
from easyimg.gather import Gathered
from easyimg.joined import after_commit
from easyimg.ports import App, Storage
from easyimg.signals import file_post_save
from easyimg.source import Limits, Source, SourceInfo
from easyimg.storages.names import check_name
from easyimg.unsettled import FOLDER

MAX_SLUG = 60
"""Characters of the readable part of a name."""

_CHUNK = 1 << 18


@dataclass(frozen=True, slots=True)
class Upload:
    """A picture that was checked and is stored nowhere yet.

    Args:
        data: the whole file.
        info: what its header says.
        readable: the part of its name that people can read.
    """

    data: bytes = field(repr=False)
    info: SourceInfo
    readable: str

    @property
    def version(self) -> str:
        """The hash of its content that its row will hold."""
        return content_version(self.data, None)

    @property
    def mime(self) -> str:
        """The content type, by content."""
        return FORMATS[self.info.format].mime

    def free_name(self, place: Storage, prefix: str) -> str:
        """Return a name that nothing in the storage has yet; one look at the storage, as a rule.

        Raises:
            SpecError: the prefix is not one.
            UnsafeName: the prefix could leave the storage's root.
            StorageError: the storage cannot answer.
        """
        check_prefix(prefix)
        extension = FORMATS[self.info.format].extension
        while True:
            name = f"{prefix}{self.readable}-{secrets.token_hex(4)}.{extension}"
            if place.size(name) is None:
                return name


def check_prefix(prefix: Any) -> None:
    """Refuse what cannot stand before the names of uploads.

    Raises:
        SpecError: it is no string, or the folder of our own notes.
        UnsafeName: it could leave the storage's root.
    """
    if not isinstance(prefix, str):
        raise SpecError(f"prefix: {shown(prefix)} is not a string such as 'photos/'")
    check_name(f"{prefix}x")
    if prefix.startswith(FOLDER):
        raise SpecError(f"prefix: {shown(prefix)} is the folder of easyimg's notes; choose another, such as 'photos/'")


def save_upload(
    file: Any, *, app: App | None = None, prefix: str = "", storage: str = "default", name: str | None = None
) -> Source:
    """Check an upload, store it, record its dimensions, and return its Source.

    The stored name is ``<prefix><slug>-<8 hex digits>.<extension>``: safe, unique, and with the extension that the
    content calls for, whatever the file was called.

    Args:
        file: bytes, a :class:`pathlib.Path`, a binary file object, or an upload of a framework (an object with
            ``stream`` or ``file``). What can seek is read from its beginning, and is there again afterwards. Text is
            refused: a visitor may have typed that path.
        app: the EasyImg; None = the current one.
        prefix: put before the name; ``"photos/"`` is a folder.
        storage: alias of the storage that keeps it.
        name: what to make the readable part from; None = the file's own name.

    Raises:
        SourceUnreadable: empty, damaged, or the file object could not be read.
        SourceTooLarge: beyond a limit; no more than ``max_bytes`` + 1 bytes are ever read.
        UnsupportedFormat: the content is not an allowed image format.
        SpecError: the prefix, the name or the file is nothing that can be used.
        UnsafeName: the prefix could leave the storage's root.
        NoBuildProcess: the process that looks at it cannot be started now.
        StorageError, MetadataError: it could not be kept. Nothing of it stays behind.
    """
    chosen = app or current_app()
    place = chosen.storage(storage)
    upload = check_upload(file, app=chosen, name=name)
    source = Source(storage, upload.free_name(place, prefix))
    place.write(source.name, upload.data, upload.mime)
    try:
        record_upload(chosen, source, upload.info, upload.version)
    except BaseException:
        with contextlib.suppress(StorageError):  # the first error is the one to be told
            place.delete(source.name)
        raise
    return source


def check_upload(file: Any, *, app: App | None = None, name: str | None = None) -> Upload:
    """Read an upload and check that it is an allowed picture; store nothing. Arguments and errors: ``save_upload``."""
    chosen = app or current_app()
    if not isinstance(name, str | None):
        raise SpecError(f"name: {shown(name)} is not a string such as 'shoe.jpg'")
    data = read_upload(file, chosen.settings.limits)
    return Upload(data, check_picture(chosen, data), slug(name or _file_name(file)))


def record_upload(app: App, source: Source, info: SourceInfo, version: str) -> None:
    """Record what is known of a stored upload, and send ``file_post_save`` once that is committed.

    Raises:
        MetadataError: the row could not be written.
    """
    app.metadata.record_info(source, info, version)
    after_commit(app.metadata, lambda: file_post_save.send_robust(app, source=source, info=info))


def check_picture(app: App, data: bytes) -> SourceInfo:
    """Return what the header of an upload says, after refusing what is not an allowed picture; decodes no pixels."""
    limits = app.settings.limits
    found = limits.check_content(data)
    info = app.limited_engine.probe(data, found)
    limits.check_info(info)
    return info


def read_upload(file: Any, limits: Limits) -> bytes:
    """Return the whole content of an upload, never holding more than ``max_bytes`` + 1 bytes of it."""
    if isinstance(file, bytes | bytearray | memoryview):
        limits.check_bytes(memoryview(file).nbytes)
        return bytes(file)
    if isinstance(file, str):  # a form's field that should hold a file and came as text
        raise SpecError(
            f"file: {shown(file)} is text, which a visitor may have typed; give an upload, or pathlib.Path(...) for a "
            "file of your own"
        )
    try:
        if isinstance(file, os.PathLike):
            limits.check_bytes(Path(file).stat().st_size)
            with Path(file).open("rb") as opened:
                return _read(opened, limits.max_bytes)
        return _read(_stream_of(file), limits.max_bytes)
    except EasyImgError:
        raise
    except (OSError, ValueError) as exc:  # ValueError: a closed file, a path with a null character
        raise SourceUnreadable(f"the upload could not be read: {exc}") from exc


def slug(name: str) -> str:
    """Return the readable, safe part of a stored name: lower case letters, digits and hyphens."""
    stem = PurePosixPath(name.replace("\\", "/")).stem
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain)[:MAX_SLUG].strip("-") or "image"


def _stream_of(file: Any) -> BinaryIO:
    """Return the binary file inside a framework's upload (Werkzeug: ``stream``; Starlette, Django: ``file``)."""
    for candidate in (getattr(file, "stream", None), getattr(file, "file", None), file):
        if callable(getattr(candidate, "read", None)):
            return cast(BinaryIO, candidate)
    raise SpecError(f"file: {shown(file)} is not bytes, a pathlib.Path, a binary file or an upload")


def _read(stream: BinaryIO, max_bytes: int) -> bytes:
    """Read a stream from its beginning, in pieces: one ``read`` may return less than it was asked for.

    A stream that can seek is at its beginning again afterwards, whatever became of it.
    """
    parts = Gathered(_rewound(stream, max_bytes + 1))
    try:
        while part := stream.read(min(_CHUNK, max_bytes + 1 - parts.size)):
            parts.add(_checked(part))
            if parts.size > max_bytes:
                raise SourceTooLarge(f"more than {max_bytes:,} bytes, which is what is allowed at most")
        return parts.whole()
    finally:
        with contextlib.suppress(OSError, ValueError):  # what was read is read
            _rewound(stream, 0)  # a view may want to read it as well


def _checked(part: Any) -> bytes:
    if isinstance(part, bytes):
        return part
    if inspect.iscoroutine(part):
        part.close()  # else Python warns that nobody awaited it
        raise SpecError("file: its read() is a coroutine; give what `await file.read()` returns")
    raise SpecError(f"file: read() gave {type(part).__name__}, not bytes; open the file in binary mode")


def _rewound(stream: BinaryIO, most: int) -> int:
    """Go to the beginning of a stream that can; return how many bytes it says it has, ``most`` at most."""
    if not (callable(getattr(stream, "seekable", None)) and stream.seekable()):
        return 0
    size = stream.seek(0, os.SEEK_END) if callable(getattr(stream, "tell", None)) else 0
    stream.seek(0)
    return min(size, most) if isinstance(size, int) else 0


def _file_name(file: Any) -> str:
    if isinstance(file, os.PathLike):
        return os.fspath(cast("os.PathLike[str]", file))
    found = getattr(file, "filename", None) or getattr(file, "name", None)
    return found if isinstance(found, str) else ""
