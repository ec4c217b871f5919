"""Storages that fail half-way or are full: faults 7 and 8.

They mount a small file system, which needs root on Linux.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from pathlib import Path

from easyimg.spec import VariantSpec
from easyimg.testing.images import photo
from tests.faults.harness import Trial, fault


def small_disk(trial: Trial, size: str) -> Path:
    """Mount a file system of that size where variants are written; unmounted at the trial's end."""
    folder = trial.site.media / "img"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=777", "easyimg", str(folder)], check=True)
    trial.stack.callback(subprocess.run, ["umount", "-l", str(folder)], check=False)
    return folder


def _no_temporary_files(folder: Path) -> None:
    left = list(folder.glob(".easyimg-*"))
    assert not left, f"{len(left)} temporary files are left"


@fault(7, "a write fails half-way")
def half_written(trial: Trial) -> None:
    """Files of some 250 kB into 1 MiB: the fifth breaks off in its middle. Then the disk grows."""
    folder = small_disk(trial, "1m")
    trial.site.start(2)
    big = VariantSpec(width=1400, format="jpeg", quality=90)
    for turn in range(trial.runs):
        sources = [trial.upload(data=photo(1400, 1050, seed=turn * 10 + n, quality=92)) for n in range(6)]
        trial.order(*sources, specs=[big])
        trial.until(lambda: "No space left" in trial.site.log, "a write that breaks off")
        trial.moment(2.0)
        _no_temporary_files_soon(folder)
        size = sum(path.stat().st_size for path in folder.iterdir()) // 1024 + 16_384
        subprocess.run(["mount", "-o", f"remount,size={size}k", str(folder)], check=True)
        trial.until_quiet()
        # Nearly full again, for the next turn.
        size = sum(path.stat().st_size for path in folder.iterdir()) // 1024 + 1024
        subprocess.run(["mount", "-o", f"remount,size={size}k", str(folder)], check=True)
        (trial.site.folder / "log").write_text("")
    _no_temporary_files(folder)


def _no_temporary_files_soon(folder: Path) -> None:
    end = time.monotonic() + 5
    while list(folder.glob(".easyimg-*")) and time.monotonic() < end:
        time.sleep(0.02)
    _no_temporary_files(folder)


@fault(8, "disk full with 200 variants owed")
def disk_full(trial: Trial) -> None:
    folder = small_disk(trial, "4m")
    trial.site.start(2)
    for _ in range(trial.runs):
        fill = folder / "fill"
        with contextlib.suppress(OSError), fill.open("wb", buffering=0) as file:
            while file.write(b"x" * 4096):
                pass
        trial.order_new(100, specs=(VariantSpec(width=60, format="webp"), VariantSpec(width=90, format="webp")))
        trial.moment(4.0)
        tried = max(row.attempts for row in trial.rows())
        fill.unlink(missing_ok=True)
        seconds = trial.until_quiet()
        trial.notes.append(f"quiet {seconds:.1f} s after there was room; tried {tried} times until then")
        assert tried <= 2, "tried again and again"
    _no_temporary_files(folder)
