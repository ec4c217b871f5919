"""Every error easyimg raises.

    EasyImgError
    ├── ConfigError            settings that cannot work, or no EasyImg to be found
    │   └── MissingDependency  an optional package is absent; the message holds the pip line
    ├── SpecError (ValueError) an option of Img, or a stored variant spec, is not allowed
    ├── SourceError            the uploaded original is the problem; no retry can help, except:
    │   ├── SourceNotFound     nothing is stored under that name
    │   ├── SourceUnreadable   empty, damaged, or not decodable
    │   ├── SourceTooLarge     beyond a limit of bytes, pixels, side or frames
    │   └── UnsupportedFormat  recognised by content, but not on the allow-list or not decodable here
    ├── BuildError             the original is fine, making a variant of it failed
    │   ├── BuildTimeout       killed at the time limit
    │   └── BuildCrashed       the building process died
    ├── StorageError           reading or writing bytes failed; a retry may help
    │   └── UnsafeName         a storage name that could leave its root
    ├── MetadataError          the metadata store failed; a retry may help
    └── QueueError             the broker failed; rows are safe, the sweeper rings again

A message says what was wrong, the value (shortened by :func:`shown`), and what is allowed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class EasyImgError(Exception):
    """Base of every error raised on purpose by easyimg.

    ``retryable`` says whether trying the same thing again later can help.
    """

    retryable: ClassVar[bool] = False

    @property
    def kind(self) -> str:
        """Return the name stored in a failed row's ``error_kind`` column."""
        return type(self).__name__


class ConfigError(EasyImgError):
    """Settings cannot work, or no EasyImg is configured."""


class NoBuildProcess(ConfigError):
    """The limited child cannot be started now: no room for one more process, or this Python is not there any more."""


class MissingDependency(ConfigError):
    """An optional package is not installed."""

    def __init__(self, package: str, needed_for: str, extra: str) -> None:
        self.package = package
        self.extra = extra
        super().__init__(f"{needed_for} needs the package {package!r}: pip install 'easyimg[{extra}]'")


class SpecError(EasyImgError, ValueError):
    """An image option, or the spec of a stored variant, is not allowed."""


class SourceError(EasyImgError):
    """The source itself is the problem."""


class SourceNotFound(SourceError):
    """Nothing is stored under the source's name."""

    def __init__(self, storage: str, name: str) -> None:
        self.storage = storage
        self.name = name
        super().__init__(f"no file {shown(name)} in storage {storage!r}")


class SourceUnreadable(SourceError):
    """The source is empty, damaged, or cannot be decoded."""


class SourceTooLarge(SourceError):
    """The source is beyond a limit of bytes, pixels, side length or frames."""


class UnsupportedFormat(SourceError):
    """The content is of a format that is not allowed, or not decodable by this installation."""

    def __init__(self, found: str | None, allowed: Iterable[str], reason: str | None = None) -> None:
        self.found = found
        self.allowed = tuple(allowed)
        what = f"found {found}" if found else "the content is not a known image format"
        super().__init__(f"{what}{': ' + reason if reason else ''}; allowed: {', '.join(self.allowed)}")


class BuildError(EasyImgError):
    """Making a variant failed although the source could be read.

    ``spec_index`` is the position of the failing spec in the engine call, where one is to blame.
    """

    def __init__(self, message: str, spec_index: int | None = None) -> None:
        self.spec_index = spec_index
        super().__init__(message)


class BuildTimeout(BuildError):
    """The build was killed at its time limit."""

    retryable = True


class BuildCrashed(BuildError):
    """The process that built died: out of its memory limit, or a crash inside the decoder."""

    retryable = True


class StorageError(EasyImgError):
    """A storage could not read or write."""

    retryable = True


class UnsafeName(StorageError):
    """A storage name that is not relative, or could leave the storage's root."""

    retryable = False


class MetadataError(EasyImgError):
    """The metadata store could not answer."""

    retryable = True


class QueueError(EasyImgError):
    """The broker could not take a message."""

    retryable = True


def error_kinds() -> dict[str, type[EasyImgError] | None]:
    """Return the ``error_kind`` of failed rows -> its class; None = given up before another build began."""
    found: dict[str, type[EasyImgError] | None] = {"GaveUp": None}
    waiting: list[type[EasyImgError]] = [SourceError, BuildError, StorageError, SpecError]
    for kind in waiting:
        found[kind.__name__] = kind
        waiting.extend(kind.__subclasses__())
    return found


REQUEUE = "requeue"
"""What helps against errors that another try can overcome."""


def remedy(kind: str) -> str:
    """Return what helps variants that were given up with an error of some kind: :data:`REQUEUE`, or what comes first.

    Args:
        kind: the row's ``error_kind``; one of somebody else's engine is taken for a failed build.
    """
    error = error_kinds().get(kind, BuildError)
    if error is None or error.retryable:
        return REQUEUE
    if issubclass(error, SourceNotFound):
        return "put the file there and requeue"
    if issubclass(error, (SourceTooLarge, UnsupportedFormat)):
        return "replace the upload, or allow it in the settings and requeue"
    if issubclass(error, SourceError):
        return "replace the upload"
    return "mend the cause and requeue"


def shown(value: object, limit: int = 80) -> str:
    """Return ``repr(value)`` cut to ``limit`` characters, for use in messages."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest known word, else the list of known words."""
    words = sorted(known)
    close = difflib.get_close_matches(word, words, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(words)}" if words else ""
