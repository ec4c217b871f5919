"""From a URL and options to a filesystem of fsspec, or to one line that says what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from fsspec.registry import available_protocols, get_filesystem_class, known_implementations

from easyimg.errors import ConfigError, MissingDependency, did_you_mean, shown
from easyimg.logs import without_secrets
from easyimg.storages.s3 import S3Way
from easyimg.storages.sftp import SftpWay
from easyimg.storages.ways import GoogleCloudWay, Way

_EXTRAS: Final = {
    "s3": ("s3fs", "s3"),
    "s3a": ("s3fs", "s3"),
    "sftp": ("paramiko", "sftp"),
    "ssh": ("paramiko", "sftp"),
}
_WAYS: Final[Mapping[str, Way]] = {
    "s3": S3Way(),
    "s3a": S3Way(),
    "gs": GoogleCloudWay(),
    "gcs": GoogleCloudWay(),
    "sftp": SftpWay(),
    "ssh": SftpWay(),
}
_PLAIN: Final = frozenset({"endpoint_url", "region_name", "host", "project", "account_name", "profile", "known_hosts"})
"""Names of options that a message may repeat."""

_NAMES_BUCKETS: Final = frozenset({"s3", "s3a", "gs", "gcs"})
"""Protocols whose URLs begin with a bucket's name, in which no ``@`` or ``:`` is allowed."""

_CUT_PASSWORD: Final = re.compile(r"[^/@?#]*:[^/@?#]*[?#].*@", re.DOTALL)
"""What follows ``://`` where a URL's host seems to end in the middle of a password."""


class Address:
    """Where files are: a URL of fsspec, and options for its filesystem.

    Args:
        url: a path without ``://`` is a local folder.
        options: for the filesystem.

    Raises:
        ConfigError: it is neither a URL nor a folder, or an option of ours is wrong.
    """

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        scheme = url.partition(":")[0]
        if "://" not in url and ":" in url and scheme not in ("file", "local") and scheme in available_protocols():
            raise ConfigError(f"storage {scheme}: is no URL; write {scheme}://..., or ./{scheme}:... for a folder")
        _check_host(url)
        self._url = url
        self.protocol = url.partition("://")[0] if "://" in url else "file"
        self.way = _WAYS.get(self.protocol) or Way()
        self._options = self.way.options(options)
        self._passwords = _patterns(_passwords(url))
        self._secrets = _patterns({*_passwords(url), *_texts(options)})

    @property
    def host(self) -> str:
        """The host of a URL whose filesystem connects to one; ``""`` for those that name a bucket or a folder."""
        if not self.way.connects:
            return ""
        parts = urlsplit(self._url)
        return f"{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}"

    def open(self) -> tuple[AbstractFileSystem, str]:
        """Return the filesystem and the path inside it.

        Raises:
            ConfigError: the URL names no filesystem, its package is absent, it does not take the options, or there is
                a user in the URL that it would take for a part of the path.
        """
        with self._as_config_errors():
            fs, root = url_to_fs(self._url, **self._options)
            if not isinstance(fs, LocalFileSystem):
                _check_bucket(self.protocol, root)
        return fs, root

    def connect(self) -> AbstractFileSystem:
        """Return a filesystem on a connection of its own; whatever it raises is raised."""
        return url_to_fs(self._url, **self._options, skip_instance_cache=True)[0]

    def kind_and_root(self) -> tuple[type[AbstractFileSystem], str]:
        """Return the filesystem's class and the path inside it, without a connection.

        Raises:
            ConfigError: as of ``open``.
        """
        with self._as_config_errors():
            kind = get_filesystem_class(self.protocol)
            return kind, str(kind._strip_protocol(self._url))  # noqa: SLF001 - documented for implementers

    @contextmanager
    def _as_config_errors(self) -> Iterator[None]:
        try:
            yield
        except ConfigError:
            raise
        except ImportError as exc:
            raise _missing(self.protocol, exc) from exc
        except Exception as exc:
            if "://" in self._url and self.protocol.rpartition("::")[2] not in available_protocols():
                raise ConfigError(f"storage {self.protocol}:// is not known{_meant(self.protocol)}") from exc
            raise ConfigError(f"storage {self.protocol}:// cannot be used: {self.told(exc)}") from exc

    def told(self, exc: BaseException) -> str:
        """Return an error in words, without what is secret in the URL and the options."""
        text = _without(self._secrets, getattr(exc, "strerror", None) or str(exc))
        return f"{type(exc).__name__}: {shown(text, 300)}"

    def redacted(self, text: str) -> str:
        """Return a path without what is secret in the URL. It may hold what some option is called, such as a user."""
        return _without(self._passwords, text)


def _missing(protocol: str, error: ImportError) -> ConfigError:
    """Return what to install for a protocol that fsspec knows."""
    if protocol in _EXTRAS:
        package, extra = _EXTRAS[protocol]
        return MissingDependency(package, f"storage {protocol}://", extra)
    package = str(known_implementations.get(protocol, {}).get("class", "fsspec")).partition(".")[0]
    advice = "" if package == "fsspec" else f": pip install {package.replace('_', '-')}"
    return ConfigError(f"storage {protocol}:// needs a package that is not installed{advice} ({error})")


def _meant(protocol: str) -> str:
    """Return what is near, else what is usual: fsspec knows sixty."""
    guess = did_you_mean(protocol, available_protocols())
    return guess if "mean" in guess else "; use file://, s3://, gs://, abfs://, sftp:// or another of fsspec's"


def _check_host(url: str) -> None:
    """Refuse a URL whose host cannot be told from its password; nothing of it is repeated.

    Raises:
        ConfigError: it is such a URL.
    """
    for part in url.split("::"):
        scheme, there, rest = part.partition("://")
        may_hold_one = there and ("@" in rest or (scheme in _WAYS and _WAYS[scheme].connects))
        if may_hold_one and not _has_clear_host(part, rest):
            raise ConfigError(
                f"storage {scheme}://: host and port cannot be read from the URL; write a password with one of "
                "/ ? # @ [ ] into the storage's options"
            )


def _has_clear_host(url: str, rest: str) -> bool:
    try:
        _ = urlsplit(url).port
    except ValueError:  # it quotes what it takes for the port, which may be a part of a password
        return False
    return not _CUT_PASSWORD.match(rest)


def _check_bucket(protocol: str, root: str) -> None:
    """Refuse credentials in front of a bucket: its filesystem takes them for a part of the bucket's name.

    Raises:
        ConfigError: they are there.
    """
    protocol = protocol.rpartition("::")[2]
    bucket = root.removeprefix(f"{protocol}://").lstrip("/").partition("/")[0]
    is_wrong = "@" in bucket and ":" in bucket
    if protocol in _NAMES_BUCKETS:
        is_wrong = "@" in bucket or (":" in bucket and not bucket.startswith("arn:"))
    if is_wrong:
        raise ConfigError(
            f"storage {protocol}://: what stands before the bucket's name is not read as user and password; "
            "write credentials into the storage's options"
        )


def _passwords(url: str) -> Iterator[str]:
    """Yield the passwords of a URL, and of those that it is chained to, as written and as meant."""
    for part in url.split("::"):
        password = urlsplit(part).password if "://" in part and "@" in part else None
        if password:
            yield password
            yield unquote(password)


def _patterns(secrets: Iterable[str]) -> tuple[re.Pattern[str], ...]:
    """Return what to look for in a message: a short secret only as a whole word, as "a" is in every message."""
    longest_first = sorted({s for s in secrets if s}, key=len, reverse=True)
    return tuple(re.compile(re.escape(s) if len(s) > 3 else rf"(?<!\w){re.escape(s)}(?!\w)") for s in longest_first)


def _without(secrets: Iterable[re.Pattern[str]], text: str) -> str:
    for secret in secrets:
        text = secret.sub("***", text)
    return without_secrets(text)


def _texts(value: Any) -> Iterator[str]:
    """Yield all texts of options but a few; of most nobody can say here whether they are secret."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, bytes):
        yield value.decode("utf-8", "replace")
    elif isinstance(value, Mapping):
        for name, item in value.items():
            if name not in _PLAIN:
                yield from _texts(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _texts(item)
