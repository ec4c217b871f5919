"""LimitedEngine: an engine inside child processes with a memory and a time limit.

libvips runs out of memory with an abort, not an exception, and cannot be interrupted; it must not be used in a process
that forks later. So builds of untrusted pictures run in ``python -m easyimg.child``, started once and asked again and
again through pipes.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Final

import xxhash

from easyimg import _fork
from easyimg._fork import after_fork
from easyimg.engines import _frames as frames
from easyimg.engines._process import ChildProcess, Gone
from easyimg.errors import BuildCrashed, NoBuildProcess
from easyimg.formats import FORMATS
from easyimg.geometry import Focus
from easyimg.ports import Encoded
from easyimg.preview import Glimpse
from easyimg.source import SourceInfo
from easyimg.spec import VariantSpec

_CALLS: Final = 2000
"""A child is replaced after so many calls, so that what its memory lost to fragments comes back."""


Answer = tuple[frames.Header, list[bytes]]


class LimitedEngine:
    """The engine behind child processes. Thread-safe: as many children as calls at one time; fits ``ports.Engine``.

    Children start when first needed and stay; a process forked from this one starts its own.

    Args:
        engine: ``"auto"``, ``"vips"`` or ``"pillow"``.
        seconds: a call may take; then the child is killed and BuildTimeout raised.
        memory: address space of a child, bytes. Beyond it the child dies, which raises BuildCrashed.
        idle: seconds after which a child that is asked nothing ends.
    """

    def __init__(
        self, engine: str = "auto", *, seconds: float = 30.0, memory: int = 2 << 30, idle: float = 300.0
    ) -> None:
        self._engine = engine
        self._seconds = seconds
        self._memory = memory
        self._idle_seconds = idle
        self._started: dict[int, ChildProcess] = {}
        self._idle: list[ChildProcess] = []
        self._lock = threading.Lock()
        self._seed = int.from_bytes(os.urandom(8), "big")  # nobody can make data that pass for other data
        self._description: tuple[str, frozenset[str]] | None = None
        after_fork(self._forked)

    @property
    def name(self) -> str:
        """The name of the engine in the child: ``"vips"`` or ``"pillow"``."""
        return self._engine if self._engine != "auto" else self._described()[0]

    def can_write(self, format: str) -> bool:
        """Return whether the child's engine can encode that output format; asked once."""
        return format in self._described()[1]

    def probe(self, data: bytes, format: str) -> SourceInfo:
        """Return what the header says; the data stay with the child for the build that follows."""
        answer, _ = self._ask({"call": "probe", "format": format}, data)
        return frames.as_info(answer["info"])

    def build(
        self,
        data: bytes,
        format: str,
        specs: Sequence[VariantSpec],
        focus: Focus | None = None,
        *,
        glimpse_of: int | None = None,
    ) -> list[Encoded]:
        """Return one Encoded per spec, in their order."""
        header = {"call": "build", "format": format, "specs": [spec.canonical for spec in specs], "focus": focus}
        answer, blobs = self._ask({**header, "glimpse_of": glimpse_of}, data)
        files = [Encoded(blobs[place], *rest) for place, *rest in answer["files"]]
        if glimpse_of is not None and answer["color"]:
            files[glimpse_of] = files[glimpse_of]._replace(glimpse=Glimpse(answer["color"], blobs[-1]))
        return files

    def close(self) -> None:
        """End all children; builds under way raise BuildCrashed. The engine may be used again afterwards."""
        with self._lock:
            idle, self._idle = self._idle, []
            busy = [child for child in self._started.values() if child not in idle]
            self._started = {}
        for child in busy:
            child.interrupt()
        for child in idle:
            child.end()

    def _described(self) -> tuple[str, frozenset[str]]:
        if self._description is None:
            answer, _ = self._ask({"call": "describe", "formats": list(FORMATS)}, None)
            self._description = answer["name"], frozenset(answer["writes"])
        return self._description

    def _ask(self, header: frames.Header, data: bytes | None) -> Answer:
        digest = None if data is None else xxhash.xxh3_128_digest(data, self._seed)
        child = self._take(digest)
        try:
            answer = self._ask_child(child, header, data, digest)
        except Gone:
            self._drop(child)
            return self._ask(header, data)
        except BaseException:
            self._drop(child)
            raise
        self._give_back(child)
        error = answer[0].get("error")
        if error is None:
            return answer
        raised = frames.as_error(error)
        if isinstance(raised, MemoryError):
            raise BuildCrashed(f"out of memory (limit {self._memory / 2**20:.0f} MiB)") from raised
        raise raised

    def _ask_child(
        self, child: ChildProcess, header: frames.Header, data: bytes | None, digest: bytes | None
    ) -> Answer:
        """Ask, sending the data unless the child still has them."""
        blobs = [] if data is None or child.holds == digest else [data]
        answer = child.ask(header, blobs, self._seconds)
        built = header["call"] == "build" and "error" not in answer[0]
        child.holds = None if built else digest
        return answer

    def _take(self, digest: bytes | None) -> ChildProcess:
        """Return an idle child, that which holds these data if there is one, or a new one.

        One that was killed while it was idle is passed by: the kernel may choose it when memory is short, and the next
        picture is not to blame.
        """
        with self._lock:
            holder = next((child for child in self._idle if digest is not None and child.holds == digest), None)
            if holder is not None:
                self._idle.remove(holder)
            self._bury()
            if holder is not None or self._idle:
                return holder or self._idle.pop()
        with _fork.no_fork:  # until it is known: a forked process must close its copies of the child's pipes
            try:
                child = ChildProcess(self._engine, self._memory, self._idle_seconds)
            except OSError as exc:
                raise NoBuildProcess(f"the process that builds cannot be started: {exc}") from exc
            with self._lock:
                self._started[child.pid] = child
        return child

    def _bury(self) -> None:
        """Let go of every idle child that has ended: until it is waited for, the system keeps it and its pipes."""
        ended = [child for child in self._idle if child.has_ended]
        for child in ended:
            self._idle.remove(child)
            self._started.pop(child.pid, None)
            child.kill()  # at once: only its pipes are left

    def _give_back(self, child: ChildProcess) -> None:
        with self._lock:
            if child.calls < _CALLS and child.pid in self._started:
                self._idle.append(child)
                return
        self._drop(child)

    def _drop(self, child: ChildProcess) -> None:
        with self._lock:
            self._started.pop(child.pid, None)
        child.kill()

    def _forked(self) -> None:
        self._lock = threading.Lock()
        for child in self._started.values():
            child.forget()
        self._started, self._idle = {}, []
