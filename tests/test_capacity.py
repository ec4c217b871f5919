"""How many worker processes suit a machine, or what a container may use of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from easyimg.capacity import Capacity, measure

MB = 1 << 20
HERE = len(os.sched_getaffinity(0))

V2 = "0::/shop/web"
V1 = "4:memory:/shop\n1:cpu,cpuacct:/shop\n0::/"


def machine(root: Path, groups: str, files: dict[str, str]) -> Path:
    """Make a ``/proc/self/cgroup`` and files below ``/sys/fs/cgroup``."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(groups + "\n")
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


@pytest.mark.parametrize(
    ("processors", "memory", "processes"),
    [
        (8, 64_000, 8),
        (8, 2_000, 4),
        (2, 1_024, 2),
        (2, 999, 1),
        (1, 256, 1),
        (0.5, 4_000, 1),
        (1.5, 4_000, 2),
    ],
)
def test_one_process_a_processor_as_far_as_memory_allows(processors: float, memory: int, processes: int) -> None:
    assert Capacity(processors, memory * MB).processes == processes


@pytest.mark.parametrize(
    ("groups", "files", "processors", "memory"),
    [
        (V2, {"shop/web/cpu.max": "50000 100000", "shop/web/memory.max": str(600 * MB)}, 0.5, 600 * MB),
        (V2, {"shop/cpu.max": "25000 100000", "shop/web/cpu.max": "max 100000"}, 0.25, None),
        (V2, {"shop/memory.max": str(300 * MB), "shop/web/memory.max": "max"}, HERE, 300 * MB),
        ("0::/../..", {"cpu.max": "40000 100000", "memory.max": str(700 * MB)}, 0.4, 700 * MB),
        (
            V1,
            {
                "cpu,cpuacct/shop/cpu.cfs_quota_us": "30000",
                "cpu,cpuacct/shop/cpu.cfs_period_us": "100000",
                "memory/shop/memory.limit_in_bytes": str(500 * MB),
            },
            0.3,
            500 * MB,
        ),
        (
            V1,  # inside a container, its group is mounted at the top
            {"cpu/cpu.cfs_quota_us": "20000", "cpu/cpu.cfs_period_us": "100000"},
            0.2,
            None,
        ),
        (V1, {"cpu/cpu.cfs_quota_us": "-1", "memory/memory.limit_in_bytes": str(2**63 - 4096)}, HERE, None),
        (V2, {"cpu.max": "odd", "memory.max": ""}, HERE, None),
        ("", {}, HERE, None),
    ],
)
def test_limits_of_control_groups_count_wherever_they_are_set(
    tmp_path: Path, groups: str, files: dict[str, str], processors: float, memory: int | None
) -> None:
    found = measure(machine(tmp_path, groups, files))
    assert found.processors == processors
    assert found.memory == (memory or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def test_without_control_groups_there_is_what_the_machine_has(tmp_path: Path) -> None:
    assert measure(tmp_path) == (HERE, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    assert 1 <= measure().processes <= HERE


def test_affinity_counts() -> None:
    script = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    script += "from easyimg.capacity import measure; print(measure().processes)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
