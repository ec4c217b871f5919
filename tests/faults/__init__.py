"""The fault suite: real worker processes, databases and brokers; kills, stalls, outages; an observer meanwhile.

    python -m tests.faults [--fault N ...] [--db NAME ...] [--broker NAME ...] [--runs N] [--seed S] [--json FILE]

Servers of its own are started on free ports, so that flushing and killing them disturbs nobody. Each case is one
function in ``cases``; ``harness.py`` gives it a site, watches rows and files while it breaks things, waits for quiet,
and counts what was lost, published twice, partial or missing. ``test_selection.py`` runs a few with every test run.

There, by the numbers of the fault matrix:

    1   kill -9 of a worker, or of its limited child, while it builds      cases/kills.py
    2   kill -9 between a written file and its row                         cases/kills.py
    3   broker down while pages ring                                       cases/brokers.py
    4   broker flushed, or restarted without its memory                    cases/brokers.py
    5   broker down at the moment of a retry                               cases/brokers.py
    6   database restarted while pictures are built                        cases/servers_down.py
    7   a write fails half-way (needs root: mounts a small file system)    cases/disks.py
    8   disk full (needs root)                                             cases/disks.py
    9   8 processes claim 400 rows, messages ten times                     cases/brokers.py
    10  a worker stalls past its lease                                     cases/kills.py
    11  duplicate, reordered, old and unknown messages                     cases/brokers.py
    12  clocks an hour apart (needs a C compiler; SQLite has one clock)    cases/strange.py
    13  source deleted while it is built                                   cases/sources.py
    14  source replaced while it is built; pixels compared                 cases/sources.py
    15  pictures that kill their process or exhaust its memory             cases/sources.py
    16  pictures that hang or take minutes                                 cases/sources.py
    17  a backlog of 4,000 rows (the matrix says 10,000); a fresh upload   cases/strange.py
    18  kill -9 between the commit and the doorbell                        cases/brokers.py
    19  rolling restarts by SIGTERM under load                             cases/kills.py
    20  recipes and messages of another version                            cases/sources.py
    21  8 processes write the same rows, SERIALIZABLE                      cases/servers_down.py
    23  forks of a process that has used libvips                           cases/strange.py

Not there yet: 22, files deleted behind our back (nothing notices them so far); 7 on a filesystem other than a local
one; 18 with a rolled back transaction of the caller's; 3 with an outage of 60 s (outages last 1 to 4 s).
"""
