"""The fault suite's own promises: what it starts ends with it, and a lane that dies is no silence."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.queues.sites import ROOT, kill, until

pytestmark = pytest.mark.slow

MARK = "FAULT_SUITE_UNDER_TEST"


@pytest.fixture
def mark() -> Iterator[str]:
    """A word in the environment of everything that a command started; all of it is ended."""
    word = f"{MARK}={secrets.token_hex(8)}"
    yield word
    for pid in marked(word):
        kill(pid)


def marked(word: str) -> list[int]:
    """Return the ids of running processes with a word in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if word.encode() in process.joinpath("environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
        except OSError:  # gone, or not ours
            continue
    return found


def commands(word: str, *parts: str) -> list[int]:
    """Return the marked processes whose command line has all of these parts."""
    found = []
    for pid in marked(word):
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if all(part.encode() in line for part in parts):
            found.append(pid)
    return found


@pytest.fixture
def start(mark: str, tmp_path: Path) -> Callable[..., subprocess.Popen[Any]]:
    def start(*arguments: str) -> subprocess.Popen[Any]:
        name, _, value = mark.partition("=")
        return subprocess.Popen(
            [sys.executable, "-m", "tests.faults", "--db", "sqlite", "--broker", "none", *arguments],
            cwd=ROOT,
            env={**os.environ, name: value, "TMPDIR": str(tmp_path)},
            stdout=subprocess.DEVNULL,
        )

    return start


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_everything_that_was_started(
    start: Callable[..., subprocess.Popen[Any]], mark: str, number: signal.Signals
) -> None:
    suite = start("--fault", "1", "--runs", "1000")
    until(lambda: commands(mark, "easyimg.worker", "--child"), 60)
    suite.send_signal(number)
    assert suite.wait(60) == 128 + number
    assert marked(mark) == []


def test_a_lane_that_dies_is_a_failed_result(
    start: Callable[..., subprocess.Popen[Any]], mark: str, tmp_path: Path
) -> None:
    file = tmp_path / "results.json"
    suite = start("--fault", "18", "1", "--runs", "1000", "--json", str(file))
    until(lambda: commands(mark, "easyimg.worker", "--child"), 60)
    (lane,) = commands(mark, "tests.faults", "--lane")
    kill(lane)
    assert suite.wait(60) == 1
    results = json.loads(file.read_text())["results"]
    assert {(result["fault"], result["lost"]) for result in results} == {(1, 1000), (18, 1000)}
    assert {result["error"] for result in results} == {"the lane ended before this was done: code -9"}
    assert marked(mark) == []


# A lane that starts one process after another, and says how they ended.
BUSY = """
import subprocess, time
end = time.monotonic() + 3
codes = {subprocess.run(["sleep", "0.005"]).returncode}
while time.monotonic() < end:
    codes.add(subprocess.run(["sleep", "0.005"]).returncode)
print(codes)
"""

ENDED = """
import subprocess, sys
from tests.faults.processes import adopt_orphans, end_all
adopt_orphans()
lane = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
left = []
while lane.poll() is None:
    left.append(subprocess.Popen(["sleep", "60"]))
    end_all(frozenset({lane.pid}))
assert lane.returncode == 0, lane.returncode
assert all(process.poll() is not None for process in left)
"""


def test_what_is_left_of_one_lane_is_ended_and_nothing_of_another() -> None:
    """It was not seen when it had been started between two looks, and killed: two cases of fault 23 ended so."""
    done = subprocess.run(
        [sys.executable, "-c", ENDED, BUSY], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "{0}\n", "")
