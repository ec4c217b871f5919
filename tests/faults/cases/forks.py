"""Forks of processes that have used libvips: fault 23."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from easyimg.source import Source
from easyimg.variant import VariantStatus
from tests.faults.harness import SPECS, Trial, fault
from tests.queues.sites import children, kill

# The parent has used libvips; its forks must end with a result or a clear error, and none may hang.
FORKS = """
import os, sys
from easyimg import process_queue
from easyimg.errors import ConfigError
from site_app import app
def say(text):
    os.write(1, f"{text}{chr(10)}".encode())  # in one piece, as others write beside
assert process_queue(app, limit=1) > 0
children = []
for _ in range(15):
    pid = os.fork()
    if pid == 0:
        try:
            say(f"forked: built {process_queue(app)}")
        except ConfigError as exc:
            say(f"forked: refused: {exc}")
        os._exit(0)
    children.append(pid)
codes = [os.waitpid(pid, 0)[1] for pid in children]
say(f"forked: all ended {codes}")
app.close()
"""

# As gunicorn --preload does: the parent has loaded the site, built a picture inline with libvips, and its thread queue
# has threads and limited children. Then it forks servers, each of which shows new pictures, and builds on itself.
PRELOADED = """
import faulthandler, os, signal, sys, time
faulthandler.register(signal.SIGUSR1)
from jinja2 import Environment
from easyimg import EasyImg, Img
from easyimg.jinja import install
from easyimg.source import Source
from easyimg.variant import VariantStatus
from site_app import app as rows_only
app = EasyImg(rows_only.settings.replace(queue="thread"))
env = Environment(autoescape=True)
install(env, app)
page = env.from_string("{% for name in names %}{{ img(name, width=60, alt='') }}{% endfor %}")
first, *names = sys.argv[1:]
share = len(names) // 5

def show_and_wait(some):
    page.render(names=some)
    end = time.monotonic() + 90
    while True:
        details = [app.metadata.inspect(Source("default", name)) for name in some]
        if all(d and d.variants and all(v.status == VariantStatus.BUILT for v in d.variants) for d in details):
            return
        assert time.monotonic() < end, f"{os.getpid()} waits in vain"
        time.sleep(0.02)

Img(app=app, width=60)(first, alt="", build="all", immediate=True)
show_and_wait(names[:share])
servers = []
for number in range(1, 5):
    pid = os.fork()
    if pid == 0:
        show_and_wait(names[number * share : (number + 1) * share])
        os.write(1, f"preloaded: a server built {share}{chr(10)}".encode())  # in one piece, as others write beside
        app.close()
        sys.exit(0)
    servers.append(pid)
codes = [os.waitpid(pid, 0)[1] for pid in servers]
print("preloaded: all ended", codes, flush=True)
app.close()
sys.exit(any(codes))
"""


@fault(23, "forks of a process that has used libvips", brokers=("none",), absent="forks do not concern the broker")
def forks(trial: Trial) -> None:
    for turn in range(trial.runs):
        trial.order_new(8, ring=False)
        _run(trial, FORKS)
        said = _said(trial, "forked: ")
        trial.notes.append(f"{sum('refused' in line for line in said)} refused, e.g. {said[0]}"[:300])
        assert len(said) == 16 * (turn + 1), said
        names = [trial.upload().name for _ in range(11)]
        for name in names:
            trial.ordered |= {spec.key(Source("default", name).address): name for spec in SPECS}
        _run(trial, PRELOADED, *names)
        assert len(_said(trial, "preloaded: a server")) == 4 * (turn + 1), trial.site.log[-500:]
        trial.site.start(1)  # for what the refused forks left
        trial.until_quiet()
        assert trial.site.workers.pop().stop() == 0
    assert "Traceback" not in trial.site.log, trial.site.log[-500:]
    assert {row.status for row in trial.rows()} == {VariantStatus.BUILT}


def _run(trial: Trial, text: str, *arguments: str) -> None:
    process = trial.site.script(text, *arguments)
    try:
        code = process.wait(240)
    except subprocess.TimeoutExpired:
        forked = [
            pid for pid in children(process.pid) if b"easyimg.child" not in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        for pid in forked:
            os.kill(pid, signal.SIGUSR1)  # to say where it hangs
        time.sleep(1.0)
        for pid in forked:
            kill(pid)
        process.kill()
        raise AssertionError(f"a fork hangs: {trial.site.log[-5000:]}") from None
    assert code == 0, trial.site.log[-1000:]


def _said(trial: Trial, begin: str) -> list[str]:
    return [line for line in trial.site.log.splitlines() if line.startswith(begin)]
