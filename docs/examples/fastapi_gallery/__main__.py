"""One command for all of it: ``python docs/examples/fastapi_gallery`` runs the site and its workers.

``PORT``: where it is served; default 5000. The other variables are those of ``gallery.py``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
SITE = ["uvicorn", "--app-dir", str(HERE), "--factory", "gallery:create_app"]
WORKER = ["easyimg.worker", "--app", "gallery:make_images"]


def main() -> int:
    """Run until Ctrl-C or SIGTERM, or until one of the processes ends; return an exit code."""
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    commands = [[*SITE, "--port", os.environ.get("PORT", "5000")]]
    if os.environ.get("BROKER_URL"):
        commands.append(WORKER)
    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: stopped.append(number))
    processes = [subprocess.Popen([sys.executable, "-m", *command]) for command in commands]
    while not stopped and all(process.poll() is None for process in processes):
        time.sleep(0.2)
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait()
    return 0 if stopped else 1


if __name__ == "__main__":
    sys.exit(main())
