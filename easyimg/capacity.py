"""What this machine, or the container on it, lets us use: processors and memory, and how many workers that makes."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

WORKER_BYTES: Final = 500 << 20
"""Memory to have for each worker process: some 250 MB for itself (137 MB were seen with two threads and 200 MB with
eight, each after 120 photos of a camera), and as much for its limited child, which decodes what is heavier."""

_V1_UNLIMITED: Final = 1 << 60
"""cgroup v1 says "no limit" with a number near 2**63."""


class Capacity(NamedTuple):
    """Processors (a quota may give half of one) and bytes of memory."""

    processors: float
    memory: int

    @property
    def processes(self) -> int:
        """How many worker processes suit: one a processor, as far as memory allows, and one in any case."""
        return max(1, min(math.ceil(self.processors), self.memory // WORKER_BYTES))


def measure(root: Path = Path("/")) -> Capacity:
    """Return what may be used: what is there, within this process's affinity and the limits of its control groups.

    Args:
        root: where ``proc`` and ``sys`` are; another folder in tests. The processors are this machine's.
    """
    groups = list(_groups(root))
    quotas = [quota for folder in groups if (quota := _quota(folder)) is not None]
    limits = [limit for folder in groups if (limit := _limit(folder)) is not None]
    return Capacity(min([float(_processors()), *quotas]), min([_physical(), *limits]))


def _processors() -> int:
    """As ``os.process_cpu_count`` of Python 3.13."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _physical() -> int:
    with suppress(ValueError, OSError, AttributeError):  # not everywhere is there a sysconf that knows this
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return 1 << 40


def _groups(root: Path) -> Iterator[Path]:
    """Yield the folders of this process's control groups and of all above them, each of which may set a limit.

    ``/proc/self/cgroup`` has lines ``hierarchy:controllers:path``: https://man7.org/linux/man-pages/man7/cgroups.7.html
    Inside a container the path is often that of the host, and the container's own group is mounted at the top.
    """
    with suppress(OSError, ValueError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and not {"cpu", "memory"} & set(controllers.split(",")):
                continue
            for name in {controllers, *controllers.split(",")} if controllers else ("", "unified"):
                mount = root / "sys/fs/cgroup" / name
                inner = mount / path.lstrip("/")
                yield from (folder for folder in (inner, *inner.parents) if folder.is_relative_to(mount))


def _quota(folder: Path) -> float | None:
    """Return a group's limit of processors: ``cpu.max`` is "quota period" or "max period"; v1 has a file for each."""
    with suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text().split()
        return int(quota) / int(period) if quota != "max" else None
    with suppress(OSError, ValueError):
        limit = int((folder / "cpu.cfs_quota_us").read_text())
        return limit / int((folder / "cpu.cfs_period_us").read_text()) if limit > 0 else None
    return None


def _limit(folder: Path) -> int | None:
    """Return a group's limit of memory, bytes."""
    for name in ("memory.max", "memory.limit_in_bytes"):
        with suppress(OSError, ValueError):
            limit = int((folder / name).read_text())
            return limit if limit < _V1_UNLIMITED else None
    return None
