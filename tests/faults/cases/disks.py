"""Storages that fail half-way or are full: faults 7 and 8.

A local disk is made small by mounting one, which needs root on Linux; an object store is one of ``bucket.py``.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import time
from collections import Counter
from functools import partial
from itertools import pairwise
from pathlib import Path

from PIL import Image

from easyimg.build import retry_delay
from easyimg.source import Source
from easyimg.spec import VariantSpec
from easyimg.testing.images import photo
from easyimg.variant import VariantStatus
from tests.faults import bucket
from tests.faults.harness import Trial, fault
from tests.faults.observer import Row

BIG = VariantSpec(width=1400, format="jpeg", quality=90)
"""Files of some 250 kB."""

ATTEMPTS = 3


def small_disk(trial: Trial, size: str) -> Path | None:
    """Mount a file system of that size where variants are written; unmounted at the trial's end. None = not allowed."""
    folder = trial.site.media / "img"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=777", "easyimg", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        trial.result.not_done = "no small disk: this account may not mount one"
        return None
    trial.stack.callback(subprocess.run, ["umount", "-l", str(folder)], check=False)
    return folder


def _resize(folder: Path, room: int) -> None:
    """Let a small disk have that many free KiB."""
    size = sum(path.stat().st_size for path in folder.iterdir()) // 1024 + room
    subprocess.run(["mount", "-o", f"remount,size={size}k", str(folder)], check=True)


def _no_temporary_files(trial: Trial) -> None:
    left = [*trial.site.media.glob("img/.easyimg-*"), *trial.site.media.glob("img/.upload-*")]
    assert not left, f"{len(left)} temporary files are left"


def _failing(trial: Trial, said: str, sources: list[Source]) -> list[Row]:
    """Wait until one of these sources' rows waits for its next try, and says why; return all that do."""
    ids = {source.id for source in sources}

    def waiting() -> list[Row]:
        rows = [row for row in trial.rows() if row.source_id in ids and row.status == VariantStatus.QUEUED]
        return [row for row in rows if row.error_kind == "StorageError" and said in row.error]

    found: list[Row] = trial.until(waiting, f"a row that waits and says {said!r}")
    for row in found:
        assert not list(trial.site.media.glob(f"img/{row.key}.*")), f"a file under the final name of {row.key}"
    return found


@fault(7, "a write fails half-way: disk, object store, store that moves", options={"max_attempts": ATTEMPTS})
def half_written(trial: Trial) -> None:
    turns = (_disk, partial(_bucket, kind="put"), partial(_bucket, kind="move"))
    for turn in range(trial.runs):
        _without_workers(trial)
        turns[turn % 3](trial, [trial.upload(data=photo(1400, 1050, seed=turn * 10 + n, quality=92)) for n in range(6)])
        trial.until_quiet()
        _no_temporary_files(trial)
    wrong = [row for row in trial.rows() if row.status != VariantStatus.BUILT]
    assert not wrong, wrong[:2]


def _without_workers(trial: Trial) -> None:
    for worker in trial.site.workers:
        worker.stop()
    trial.site.workers.clear()


def _disk(trial: Trial, sources: list[Source]) -> None:
    """Write six files of 250 kB into 1 MiB: the fifth breaks off in its middle. Then the disk grows."""
    folder = trial.site.media / "img"
    if not folder.exists() and small_disk(trial, "1m") is None:
        trial.order(*sources, specs=[BIG])
        trial.site.start(2)
        return
    _resize(folder, 1024)
    trial.site.start(2)
    trial.order(*sources, specs=[BIG])
    waiting = _failing(trial, "No space left", sources)
    trial.moment(1.0)
    _no_temporary_files_soon(trial)
    trial.notes.append(f"disk: {len(waiting)} waited: {waiting[0].error}")
    _resize(folder, 16_384)


def _no_temporary_files_soon(trial: Trial) -> None:
    trial.until(lambda: _is_clean(trial), "temporary files to be removed")


def _is_clean(trial: Trial) -> bool:
    with contextlib.suppress(AssertionError):
        _no_temporary_files(trial)
        return True
    return False


def _bucket(trial: Trial, sources: list[Source], kind: str) -> None:
    """Let uploads break off after some bytes for a while."""
    _use(trial, kind)
    _cuts_short_when_misused(trial, kind)
    huge = [trial.upload(data=_noise())] if kind == "put" else []
    trial.site.start(2)
    after = trial.random.randrange(10_000, 60_000)
    _break(trial, after)
    trial.order(*sources, *huge, specs=[BIG])
    all_ = len(sources) + len(huge)
    trial.until(lambda: len(_failing(trial, "broke", [*sources, *huge])) == all_, "rows that all wait")
    trial.notes.append(f"{kind}: {_failing(trial, 'broke', sources)[0].error}")
    assert _is_clean(trial), "what had been uploaded is left"
    if huge:
        _give_up(trial, huge[0], after)
    (trial.site.folder / "outage.json").unlink()
    if huge:
        said = trial.site.command("requeue", "--kind", "StorageError")
        assert "Requeued 1 variants" in said.stdout, said


def _give_up(trial: Trial, huge: Source, after: int) -> None:
    """Let only uploads of one big file break, until it is given up; those of others succeed meanwhile."""
    _break(trial, 600_000)
    trial.until(lambda: not any(row.due_at is not None for row in trial.rows()), "all built but one, which is given up")
    (row,) = [row for row in trial.rows() if row.status != VariantStatus.BUILT]
    assert row.source_id == huge.id, row
    assert row.status == VariantStatus.BUILD_ERROR, row
    assert "broke after 600000 bytes" in row.error, row
    assert f"gave up after {ATTEMPTS} attempts" in row.error, row
    _pauses_grow(trial, after)


def _use(trial: Trial, kind: str) -> None:
    """Let workers started from now on keep variants in that storage."""
    settings = json.loads((trial.site.folder / "site.json").read_text())
    (trial.site.folder / "site.json").write_text(json.dumps({**settings, "variants": kind}))
    (trial.site.folder / "site_app.py").write_text(bucket.APP)


def _cuts_short_when_misused(trial: Trial, kind: str) -> None:
    """Show that the store punishes what must not be done: an error inside ``with fs.open`` publishes a part."""
    name = str(trial.site.media / "cut" / f"{kind}-{len(trial.notes)}")
    _break(trial, 10_000)
    with contextlib.suppress(ConnectionResetError), bucket.filesystem(trial.site.folder, kind).open(name, "wb") as file:
        file.write(bytes(30_000))
    assert Path(name).stat().st_size == 10_000


def _noise() -> bytes:
    """Return a picture that no encoder makes small."""
    out = io.BytesIO()
    Image.effect_noise((1400, 1050), 200).save(out, "JPEG", quality=90)
    return out.getvalue()


def _break(trial: Trial, after: int) -> None:
    folder = trial.site.folder
    (folder / "outage.tmp").write_text(json.dumps({"after": after}))
    (folder / "outage.tmp").replace(folder / "outage.json")


def _pauses_grow(trial: Trial, first: int) -> None:
    """The big file was tried three times: once with all others, at least 5 s later, at least 20 s after that."""
    lines = [line.split() for line in (trial.site.folder / "broken").read_text().splitlines()]
    begun = max(float(when) for after, when in lines if int(after) == first)
    tries = [float(when) for after, when in lines if int(after) == 600_000][-(ATTEMPTS - 1) :]
    pauses = [later - earlier for earlier, later in pairwise([begun, *tries])]
    assert len(pauses) == 2, lines
    assert pauses[0] > 4, pauses
    assert pauses[1] > 19, pauses


def _tries(seconds: float) -> int:
    """Return how many tries the pauses between them leave room for."""
    tries, end = 1, 0.0
    while (end := end + retry_delay(tries)) < seconds:
        tries += 1
    return tries


@fault(8, "disk full with 200 variants owed")
def disk_full(trial: Trial) -> None:
    folder = small_disk(trial, "4m")
    if folder is None:
        trial.order_new(1)
        trial.site.start(1)
        return
    trial.site.start(2)
    for _ in range(trial.runs):
        fill = folder / "fill"
        with contextlib.suppress(OSError), fill.open("wb", buffering=0) as file:
            while file.write(b"x" * 4096):
                pass
        begun, ordered = len(trial.site.log), time.monotonic()
        sources = trial.order_new(
            100, specs=(VariantSpec(width=60, format="webp"), VariantSpec(width=90, format="webp"))
        )
        _failing(trial, "No space left", sources)
        trial.moment(4.0)
        claims = Counter(re.findall(r"source=(\S+) built=", trial.site.log[begun:]))
        tried, may = max(row.attempts for row in trial.rows()), _tries(time.monotonic() - ordered)
        trial.until(lambda: _is_clean(trial), "temporary files to be removed")
        fill.unlink()
        seconds = trial.until_quiet()
        trial.notes.append(
            f"{claims.total()} claims for {len(sources)} sources while it was full, each tried {tried} times at most;"
            f" quiet {seconds:.1f} s after there was room"
        )
        assert tried <= may, f"tried {tried} times, not {may}"
        assert max(claims.values()) <= may, f"claimed again and again: {claims.most_common(3)}"
    _no_temporary_files(trial)
