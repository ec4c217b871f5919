"""The fault suite: real worker processes, databases and brokers; kills, stalls, outages; an observer meanwhile.

    python -m tests.faults [--fault N ...] [--db NAME ...] [--broker NAME ...] [--runs N] [--seed S] [--json FILE]

Servers of its own are started on free ports, so that flushing and killing them disturbs nobody. Each case is one
function in ``cases``; ``harness.py`` gives it a site, watches rows and files while it breaks things, waits for quiet,
and counts what was lost, published twice, partial or missing.
"""
