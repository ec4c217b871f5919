"""From a URL and options to a filesystem of fsspec, or to one line that says what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
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
        self._url = url
        self.protocol = url.partition("://")[0] if "://" in url else "file"
        self.way = _WAYS.get(self.protocol) or Way()
        self._options = self.way.options(options)
        self._secrets = _secrets(url, options)

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
            ConfigError: the URL names no filesystem, its package is absent, or it does not take the options.
        """
        with self._as_config_errors():
            fs, root = url_to_fs(self._url, **self._options)
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
            _ = urlsplit(self._url).port  # refuses one that is no number
            return kind, str(kind._strip_protocol(self._url))  # noqa: SLF001 - documented for implementers

    @contextmanager
    def _as_config_errors(self) -> Iterator[None]:
        try:
            yield
        except ImportError as exc:
            raise _missing(self.protocol, exc) from exc
        except Exception as exc:
            if "://" in self._url and self.protocol.rpartition("::")[2] not in available_protocols():
                raise ConfigError(f"storage {self.protocol}:// is not known{_meant(self.protocol)}") from exc
            raise ConfigError(f"storage {self.protocol}:// cannot be used: {self.told(exc)}") from exc

    def told(self, exc: BaseException) -> str:
        """Return an error in words, without what is secret in the URL and the options."""
        text = getattr(exc, "strerror", None) or str(exc)
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return f"{type(exc).__name__}: {shown(without_secrets(text), 300)}"


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


def _secrets(url: str, options: Mapping[str, Any]) -> frozenset[str]:
    """Return texts that must not appear in messages: the URL's password, and all options that are texts but a few."""
    found = {value for value in _texts(options) if len(value) > 3}
    if "://" in url and "@" in url:
        with suppress(ValueError):
            password = urlsplit(url).password
            found |= {password, unquote(password)} if password else set()
    return frozenset(found)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            if name not in _PLAIN:
                yield from _texts(item)
