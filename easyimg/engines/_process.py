"""One child process of a LimitedEngine: started, asked with a deadline, ended."""

from __future__ import annotations

import fcntl
import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from easyimg.engines import _frames as frames
from easyimg.errors import BuildCrashed, BuildTimeout
from easyimg.gather import Gathered

logger = logging.getLogger("easyimg")

_KEPT: Final = frozenset(
    {"PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP", "VIRTUAL_ENV", "SYSTEMROOT"}
)
_KEPT_PREFIXES: Final = ("LC_", "PYTHON", "VIPS_", "LD_", "DYLD_", "MALLOC_", "G_", "COVERAGE_", "GCONV_", "LOCPATH")
_PIPE: Final = 1 << 20
"""Bytes a pipe should hold: one write per MiB of a source instead of sixteen."""


class Gone(Exception):
    """The child had ended before it was asked (idle for long, or its file changed): ask another."""


class ChildProcess:
    """A running ``python -m easyimg.child``. One call at a time; not thread-safe.

    Uses no thread of its own, so that it also works while the interpreter shuts down.

    Args:
        engine: name for ``load_engine``.
        memory: address space, bytes.
        idle: seconds without a question, after which it ends.
    """

    def __init__(self, engine: str, memory: int, idle: float) -> None:
        self.calls = 0
        self.holds: bytes | None = None
        """The digest of the data it has been sent and still keeps; not these themselves, which would stay in memory."""
        self._said = b""
        self._closed = False
        self._memory = memory
        options = ["--engine", engine, "--memory", str(memory), "--idle", str(idle), "--parent", str(os.getpid())]
        self._process = subprocess.Popen(
            [python(), "-m", "easyimg.child", *options],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            start_new_session=True,  # Ctrl-C in a terminal is the parent's to handle
        )
        stdin, stdout, stderr = self._process.stdin, self._process.stdout, self._process.stderr
        assert stdin is not None
        assert stdout is not None
        assert stderr is not None
        self._in, self._out, self._err = stdin.fileno(), stdout.fileno(), stderr.fileno()
        for number in (self._in, self._out, self._err):
            os.set_blocking(number, False)
        for number in (self._in, self._out):
            _widen(number)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether it ended, by itself or killed; asks the system."""
        return self._process.poll() is not None

    def ask(self, header: frames.Header, blobs: Sequence[bytes], seconds: float) -> tuple[frames.Header, list[bytes]]:
        """Return the answer to a frame.

        Raises:
            BuildTimeout: not answered in that time; the child was killed.
            BuildCrashed: the child died.
            Gone: it had ended before this was asked.
        """
        self.calls += 1
        deadline = time.monotonic() + seconds
        heard = False

        def read(size: int) -> bytes:
            nonlocal heard
            data = self._read(size, deadline)
            heard = True
            return data

        try:
            for piece in frames.packed(header, blobs):
                self._write(piece, deadline)
            return frames.unpacked(read)
        except TimeoutError:
            self.kill()
            raise BuildTimeout(f"killed at the time limit of {seconds:g} s") from None
        except (BrokenPipeError, EOFError):
            raise self._ended(heard) from None

    def kill(self) -> None:
        """End the child at once, and wait for that."""
        self._process.kill()
        self._close()

    def interrupt(self) -> None:
        """End the child at once while another thread waits for its answer, which raises BuildCrashed there."""
        self._process.kill()

    def end(self) -> None:
        """Let an idle child end by itself, and wait for that a moment."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._close()

    def forget(self) -> None:
        """Drop a child of the process we were forked from: close our copies of its pipes, leave it alone."""
        self._process.returncode = 0  # or its finaliser would wait for a process that is not our child
        self._close_pipes()

    def _ended(self, heard: bool) -> Exception:
        self._close()
        code = self._process.returncode
        if code == 0 and not heard and self.calls > 1:
            return Gone()
        said = self._said.decode("utf-8", "replace").strip().rpartition("\n")[2]
        hint = f" (memory limit {self._memory / 2**20:.0f} MiB)" if code == -signal.SIGABRT else ""
        return BuildCrashed(f"the building process died: {_reason(code)}{hint}{': ' + said[:200] if said else ''}")

    def _close(self) -> None:
        """Wait for the end of a child that is ending."""
        if self._closed:
            return
        try:
            self._process.wait(1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._hear()
        self._close_pipes()

    def _close_pipes(self) -> None:
        self._closed = True  # the numbers of closed pipes may soon be another file's
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()

    def _write(self, data: bytes, deadline: float) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._in, view) :]
            except BlockingIOError:
                self._wait(self._in, select.POLLOUT, deadline)

    def _read(self, size: int, deadline: float) -> bytes:
        parts = Gathered(size)
        while parts.size < size:
            try:
                part = os.read(self._out, min(size - parts.size, _PIPE))
            except BlockingIOError:
                self._wait(self._out, select.POLLIN, deadline)
                continue
            if not part:
                raise EOFError
            parts.add(part)
        return parts.whole()

    def _wait(self, number: int, event: int, deadline: float) -> None:
        """Wait until a pipe is ready, hearing what the child says meanwhile."""
        poll = select.poll()
        poll.register(number, event)
        poll.register(self._err, select.POLLIN)
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            ready = dict(poll.poll(left * 1000 + 1))
            if self._err in ready and not self._hear():
                poll.unregister(self._err)
            if number in ready:
                return

    def _hear(self) -> bool:
        """Log what the child wrote to its standard error; return whether there may be more."""
        while True:
            try:
                part = os.read(self._err, 65536)
            except BlockingIOError:
                return True
            if not part:
                return False
            self._said = (self._said + part)[-4096:]
            for line in part.decode("utf-8", "replace").splitlines():
                logger.debug("child %d: %s", self.pid, line)


def python() -> str:
    """Return this installation's Python; ``sys.executable`` may be a server that embeds it (uWSGI, mod_wsgi)."""
    if Path(sys.executable or "").name.startswith(("python", "pypy")):
        return sys.executable
    return str(Path(sys.exec_prefix, "bin", "python3"))


def environment() -> dict[str, str]:
    """Return what a child may know: how to find libraries, not the site's passwords."""
    kept = {n: v for n, v in os.environ.items() if n in _KEPT or n.startswith(_KEPT_PREFIXES)}
    paths = [path or str(Path.cwd()) for path in sys.path]
    fixed = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1", "VIPS_CONCURRENCY": "1"}
    return {**kept, **fixed, "MALLOC_ARENA_MAX": "1"}


def _widen(pipe: int) -> None:
    if hasattr(fcntl, "F_SETPIPE_SZ"):  # Linux
        try:
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)
        except OSError:  # the user's share of pipe memory is used up
            return


def _reason(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
