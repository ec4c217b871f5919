"""OpenSSH's server, unprivileged, on a free port of this machine, with keys and a folder of its own."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

from tests import services

_CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
StrictModes no
UsePAM yes
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 100
Subsystem sftp internal-sftp
"""


class Sshd:
    """A server; its files are below ``media``. ``with`` ends it and removes its folder."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="easyimg-sshd-"))
        self._account = services._account(self.folder)
        self.user = pwd.getpwuid(self._account.get("user", os.getuid())).pw_name
        self.port = services.free_port()
        self.known_hosts = self.folder / "known_hosts"
        self._server: subprocess.Popen[bytes] | None = None
        for name in ("host", "user"):
            services._prepare(self.folder, ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", name], **self._account)
        kind, key, *_ = (self.folder / "host.pub").read_text().split()
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {kind} {key}\n")
        (self.folder / "config").write_text(_CONFIG.format(port=self.port, folder=self.folder))
        self.media("")

    @property
    def options(self) -> dict[str, Any]:
        """What a storage needs beside the URL."""
        return {
            "username": self.user,
            "key_filename": str(self.folder / "user"),
            "known_hosts": str(self.known_hosts),
            "look_for_keys": False,
            "allow_agent": False,
        }

    def media(self, name: str) -> Path:
        """Return a folder that the server's account may write to."""
        path = self.folder / "media" / name
        path.mkdir(parents=True, exist_ok=True)
        if self._account:
            os.chown(path, self._account["user"], self._account["group"])
        return path

    def url(self, name: str) -> str:
        """Return the storage URL of such a folder."""
        return f"sftp://127.0.0.1:{self.port}{self.media(name)}"

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        sshd = services.find_sshd()
        assert sshd is not None
        self._server = services._launch(self.folder, [sshd, "-D", "-e", "-f", f"{self.folder}/config"], **self._account)
        end = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5) as connection:
                if connection.recv(4) == b"SSH-":
                    return
            log = (self.folder / "log").read_text()
            assert self._server.poll() is None, log
            assert time.monotonic() < end, log
            time.sleep(0.1)

    def sessions(self) -> list[int]:
        """Return the processes that watch over a connection each."""
        return [] if self._server is None else _children(self._server.pid)

    def signal_sessions(self, number: signal.Signals) -> int:
        """Signal all that serve connections; return how many connections there were."""
        sessions = self.sessions()
        for pid in [child for session in sessions for child in _children(session)] + sessions:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return len(sessions)

    def drop_all(self) -> None:
        """Cut all connections, and wait until that is done."""
        end = time.monotonic() + 30
        while self.signal_sessions(signal.SIGKILL):
            assert time.monotonic() < end
            time.sleep(0.02)

    def stop(self) -> None:
        """End the server and all its connections."""
        if self._server is not None:
            self.signal_sessions(signal.SIGKILL)
            services._stop(self._server)
            self._server = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def _children(pid: int) -> list[int]:
    with contextlib.suppress(FileNotFoundError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []
