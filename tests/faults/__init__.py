"""The fault suite: real worker processes, databases and brokers; kills, stalls, outages; an observer meanwhile.

    make test-faults FAULTS="--fault 1 19 --db postgres --runs 5"
    python -m tests.faults [--fault N ...] [--db NAME ...] [--broker NAME ...] [--runs N] [--seed S] [--jobs N]
                           [--json FILE] [--markdown FILE]

Servers of its own are started on free ports, so that flushing and killing them disturbs nobody. Each case is one
function in ``cases``; ``harness.py`` gives it a site, watches it while it breaks things, waits for quiet, and counts
what was lost, published twice, partial or missing. ``observer.py`` looks at rows and files every 20 ms, ``visitor.py``
renders pages and reads every picture they name over HTTP. ``lanes.py`` runs databases side by side, each in a process
with servers of its own; a lane that dies is a failed result, and whatever ends the command ends all that it started.
``test_selection.py`` runs a few cases with every test run.

By the numbers of the fault matrix:

    1   kill -9 of a worker, its limited child, or the whole command       cases/kills.py
    2   kill -9 between a written file and its row; clean afterwards       cases/kills.py
    3   broker down for a minute, or silent, while pages ring              cases/outages.py
    4   broker flushed, or restarted without its memory                    cases/outages.py
    5   broker down when a retry is due                                    cases/outages.py
    6   database killed and started again while pictures are built         cases/servers_down.py
    7   a write fails half-way: disk (needs root), object store            cases/disks.py
    8   disk full (needs root)                                             cases/disks.py
    9   8 processes claim 400 rows, messages ten times                     cases/brokers.py
    10  a worker stalls past its lease                                     cases/kills.py
    11  duplicate, reordered, old and unknown messages                     cases/brokers.py
    12  clocks an hour apart (needs a C compiler; SQLite has one clock)    cases/clocks.py
    13  source deleted while it is built                                   cases/sources.py
    14  source replaced while it is built; pixels compared                 cases/sources.py
    15  pictures that kill their process or exhaust its memory             cases/poison.py
    16  pictures that hang or take minutes                                 cases/poison.py
    17  a backlog of 10,000 sources; fresh uploads                         cases/backlog.py
    18  transactions rolled back; kill -9 between commit and doorbell      cases/transactions.py
    19  rolling restarts by SIGTERM under load                             cases/kills.py
    20  recipes and messages of another version                            cases/versions.py
    21  8 processes write the same rows, at stricter isolation levels      cases/conflicts.py
    22  files deleted behind our back                                      cases/deletions.py
    23  forks of a process that has used libvips                           cases/forks.py

``report.py`` writes the tables; docs/faults.md says what they mean and what is not shown.
"""
