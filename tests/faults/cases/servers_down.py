"""Databases that are killed and started again: fault 6."""

from __future__ import annotations

import time

from easyimg.build import PATIENCE
from tests.faults.harness import Trial, fault


@fault(
    6,
    "database restarted while pictures are built",
    databases=("postgres", "mariadb"),
    absent="SQLite is a file and has no server",
    options={"lease_seconds": 15.0},
)
def database_restarted(trial: Trial) -> None:
    trial.site.pace(read=0.1, written=0.05)
    trial.site.start(2)
    longest = 0.0
    for _ in range(trial.runs):
        trial.order_new(10)
        trial.until_building()
        trial.moment(0.4)
        down = time.monotonic()
        trial.database_server.kill()
        trial.order_new(3)  # kept in the outbox
        trial.moment(1.5)
        trial.database_server.again()
        longest = max(longest, time.monotonic() - down)
        trial.until(lambda: trial.ordered.keys() <= {row.key for row in trial.rows()}, "all that was kept is queued")
        trial.notes.append(f"quiet {trial.until_quiet():.1f} s after the database came back")
    written = len(trial.site.folder.joinpath("written").read_text().splitlines())
    trial.notes.append(
        f"{written} files written for {len(trial.ordered)} rows; blind {trial.observer.seen.blind} looks"
    )
    assert " died " not in trial.site.log, "a worker process ended"
    trial.notes.append(f"the database was away for {longest:.1f} s at most; builds wait for it for {PATIENCE:g} s")
    assert written == len(trial.ordered) or longest > PATIENCE - 1.0, "finished builds were thrown away"
