"""Files deleted behind our back: fault 22."""

from __future__ import annotations

import json

from easyimg.variant import VariantStatus
from tests.faults.harness import Trial, fault
from tests.faults.observer import Row

# What a web server's 404 handler does, in a process of its own.
REPORT = """
import sys
from easyimg.verify import report_missing
from site_app import app
print("queued again:", report_missing(sys.argv[1:], app), flush=True)
app.close()
"""

BOTH = "report", "check"


@fault(22, "a tenth of the files deleted: reported by their 404, and found by easyimg check")
def deleted(trial: Trial) -> None:
    trial.site.start(2)
    trial.order_new(round(30 * max(trial.scale, 0.5)))
    trial.until_quiet()
    for turn in range(2 * trial.runs):
        before = {row.key: row for row in trial.rows()}
        gone = _remove(trial, before)
        if BOTH[turn % 2] == "report":
            _report(trial, gone)
        else:
            _check(trial, gone)
        _are_back(trial, gone, before)
    said = trial.site.command("check", "--format", "json")
    assert said.returncode == 0, said


def _remove(trial: Trial, rows: dict[str, Row]) -> dict[str, Row]:
    """Remove a random tenth of the files and return their rows; from here on the observer does without these files."""
    chosen = trial.random.sample(sorted(rows), len(rows) // 10)
    gone = {key: rows[key] for key in chosen}
    trial.observer.removed |= {row.file_name for row in gone.values()}
    for row in gone.values():
        (trial.site.media / row.file_name).unlink()
    return gone


def _report(trial: Trial, gone: dict[str, Row]) -> None:
    urls = [f"/media/{row.file_name}" for row in gone.values()]
    there = next(row.file_name for row in trial.rows() if row.key not in gone)
    process = trial.site.script(REPORT, *urls, f"/media/{there}", "/media/img/nothing.webp", "/favicon.ico")
    assert process.wait(60) == 0, trial.site.log[-1000:]
    said = [line for line in trial.site.log.splitlines() if line.startswith("queued again:")][-1]
    assert said == f"queued again: {len(gone)}", said


def _check(trial: Trial, gone: dict[str, Row]) -> None:
    """Look first, which changes nothing; then with ``--fix``."""
    looked = trial.site.command("check", "--format", "json")
    assert looked.returncode == 1, looked
    assert json.loads(looked.stdout)["missing"] == len(gone), looked
    assert all(row.status == VariantStatus.BUILT for row in trial.rows()), "looking queued something"
    fixed = trial.site.command("check", "--fix", "--format", "json")
    found = json.loads(fixed.stdout)
    assert (found["missing"], found["fixed"]) == (len(gone), len(gone)), fixed


def _are_back(trial: Trial, gone: dict[str, Row], before: dict[str, Row]) -> None:
    """Exactly what was gone was built again, under the same names."""
    trial.until(lambda: all((trial.site.media / row.file_name).exists() for row in gone.values()), "the files")
    trial.until_quiet()
    after = {row.key: row for row in trial.rows()}
    again = {key for key, row in after.items() if row.built_at != before[key].built_at}
    assert again == gone.keys(), f"{len(again)} were built again, {len(gone)} were gone"
    assert {key: row.file_name for key, row in after.items()} == {key: row.file_name for key, row in before.items()}
    trial.notes.append(f"{len(gone)} of {len(before)} files were gone and are back")
