"""Processes of the suite that must not outlive it (Linux)."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def end_with_parent() -> None:
    """Let this process be asked to stop when its parent ends, however that happens."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def adopt_orphans() -> None:
    """Let processes whose parents die become children of this one, so that ``end_all`` finds them."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def stop_on_signals() -> None:
    """Let SIGTERM and SIGINT, also where a shell had them ignored, unwind the stack once; more of them do nothing."""

    def stop(number: int, _: Any) -> None:
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def descendants(pid: int) -> list[int]:
    """Return the ids of all processes below one."""
    return _below([pid], _family())


def end_all(keep: frozenset[int] = frozenset(), seconds: float = 10.0) -> None:
    """Kill everything below this process but those, and what is below them, and bury the dead."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        # From one look: what those to be kept start meanwhile is not in it, and not to be killed.
        family = _family()
        left = set(_below([os.getpid()], family)).difference(keep, _below(keep, family))
        if not left:
            return
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in left:
            with contextlib.suppress(ChildProcessError):  # not ours: its parent dies first, then it is
                os.waitpid(pid, 0)


def _family() -> dict[int, list[int]]:
    """Return the children of every process."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            children.setdefault(int(stat.read_text().rpartition(")")[2].split()[1]), []).append(int(stat.parent.name))
    return children


def _below(roots: Iterable[int], family: dict[int, list[int]]) -> list[int]:
    found, look = [], list(roots)
    while look:
        children = family.get(look.pop(), [])
        found += children
        look += children
    return found


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
