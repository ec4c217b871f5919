"""SFTP through fsspec and paramiko: one connection for each thread at work, each answer within a time limit."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from fsspec import AbstractFileSystem

from easyimg.errors import ConfigError, shown
from easyimg.storages.ways import Way

ANSWER_SECONDS: Final = 30.0
"""How long an answer, or a place for what is sent, is waited for: a firewall may have forgotten the connection."""

_CONNECT: Final = {"timeout": 10.0, "banner_timeout": 10.0, "auth_timeout": 10.0}


class SftpWay(Way):
    """An SFTP server. What is read is asked for in advance: a megabyte would else wait for 32 answers."""

    connects = True

    def options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return paramiko's options with time limits, and the known hosts as a policy."""
        options = {**_CONNECT, **given}
        known_hosts = options.pop("known_hosts", None)
        if known_hosts is not None:
            options["host_key_policy"] = _known_hosts(known_hosts)
        return options

    def prepare(self, fs: AbstractFileSystem) -> None:
        """Make a new connection fit to be kept."""
        fs.ftp.get_channel().settimeout(ANSWER_SECONDS)
        fs.client.get_transport().set_keepalive(30)

    def is_alive(self, fs: AbstractFileSystem) -> bool:
        """Return whether a connection seems to be open still."""
        transport = fs.client.get_transport()
        return transport is not None and transport.is_active()

    def close(self, fs: AbstractFileSystem) -> None:
        """End a connection."""
        with suppress(Exception):
            fs.client.close()

    def abandon(self, fs: AbstractFileSystem) -> None:
        """Let go of a connection of the process that forked this one, without a word to the server.

        Whatever paramiko sent when it tidies up would stand in the middle of what the parent sends.
        """
        transport = fs.client.get_transport()
        if transport is not None:
            transport.active = False
            transport.sock.close()

    def read(self, fs: AbstractFileSystem, path: str, number: int | None) -> bytes:
        """Return a whole file, or its first bytes."""
        with fs.ftp.open(path, "rb") as file:
            found = file.stat()
            if stat.S_ISDIR(found.st_mode):
                raise IsADirectoryError(path)
            size = found.st_size if number is None else min(found.st_size, number)
            if size:
                file.prefetch(size)
            data: bytes = file.read(size)
            return data

    def delete(self, fs: AbstractFileSystem, path: str) -> None:
        """Remove a file, and no folder: fsspec would remove an empty one."""
        fs.ftp.remove(path)


def _known_hosts(path: Any) -> Any:
    """Return a policy that knows the hosts of a file as ``ssh-keyscan`` writes it, and refuses all others.

    Raises:
        ConfigError: the file cannot be read.
    """
    from paramiko import BadHostKeyException, HostKeys, MissingHostKeyPolicy, SSHException

    try:
        known = HostKeys(os.fspath(path))
    except (OSError, TypeError, SSHException) as exc:
        raise ConfigError(f"known_hosts: {shown(path)} cannot be read: {exc}") from exc

    class KnownHosts(MissingHostKeyPolicy):  # type: ignore[misc]
        def missing_host_key(self, client: Any, hostname: str, key: Any) -> None:  # noqa: ARG002
            if known.check(hostname, key):
                return
            for same in (known.lookup(hostname) or {}).values():
                raise BadHostKeyException(hostname, key, same)
            raise SSHException(f"the host {hostname} is not in {os.fspath(path)}")

    return KnownHosts()
