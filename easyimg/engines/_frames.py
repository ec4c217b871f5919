"""What goes through the pipes between a LimitedEngine and its child: a small JSON header, then raw bytes.

A frame is the header's length (4 bytes, big-endian), the header, and the blobs it gives the sizes of in ``"blobs"``.
Both ends are of one installation and one moment, so the form may change with any release.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

from easyimg import errors
from easyimg.errors import BuildError, EasyImgError
from easyimg.geometry import Focus
from easyimg.source import SourceInfo

_LENGTH: Final = struct.Struct(">I")

Header = dict[str, Any]


def packed(header: Header, blobs: Sequence[bytes] = ()) -> list[bytes]:
    """Return a frame as pieces to be written one after the other; blobs are not copied."""
    text = json.dumps({**header, "blobs": [len(blob) for blob in blobs]}, separators=(",", ":")).encode()
    return [_LENGTH.pack(len(text)) + text, *blobs]


def unpacked(read: Callable[[int], bytes]) -> tuple[Header, list[bytes]]:
    """Return the next frame's header and blobs.

    Args:
        read: returns exactly that many bytes, or raises.
    """
    (length,) = _LENGTH.unpack(read(_LENGTH.size))
    header: Header = json.loads(read(length))
    return header, [read(size) for size in header["blobs"]]


def info_fields(info: SourceInfo) -> list[Any]:
    """Return measured facts as a JSON list."""
    return [info.width, info.height, info.format, info.has_alpha, info.frames, info.interlaced]


def as_info(values: Sequence[Any]) -> SourceInfo:
    """Return the facts that :func:`info_fields` wrote."""
    return SourceInfo(*values)


def as_focus(values: Sequence[float] | None) -> Focus | None:
    """Return a focus point from its JSON list."""
    return None if values is None else Focus(*values)


def error_fields(error: Exception) -> Header:
    """Return an error as JSON values: its class's name, its message, its plain attributes."""
    plain = {n: v for n, v in vars(error).items() if isinstance(v, str | int | float | list | tuple | None)}
    return {"kind": type(error).__name__, "message": str(error), "attributes": plain}


def as_error(fields: Header) -> Exception:
    """Return the same error; one that is not of our tree becomes a BuildError that names it."""
    kind, message = fields["kind"], fields["message"]
    cls = getattr(errors, kind, None)
    if not (isinstance(cls, type) and issubclass(cls, EasyImgError)):
        return MemoryError(message) if kind == "MemoryError" else BuildError(f"{kind}: {message}")
    error = cls.__new__(cls)
    Exception.__init__(error, message)  # constructors differ, and have done their work over there
    for name, value in fields["attributes"].items():
        setattr(error, name, tuple(value) if isinstance(value, list) else value)
    return error
