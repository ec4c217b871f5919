"""An engine that some pictures kill or hang, in the worker and in its limited child alike.

Decoders do that with some bytes that nobody knows beforehand; here the last bytes of a file say so.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from easyimg import engines
from easyimg.geometry import Focus
from easyimg.ports import Encoded, Engine
from easyimg.spec import VariantSpec

KILLS, HANGS = b"--kills--", b"--hangs--"

CUSTOMIZE = """\
import sys

if {"easyimg.worker", "easyimg.child"} & set(sys.orig_argv):
    from tests.faults import odd

    odd.install()
"""


def prepare(folder: Path) -> None:
    """Let the processes of a site that start from now on use such an engine."""
    (folder / "sitecustomize.py").write_text(CUSTOMIZE)


def install() -> None:
    """Let this process use it."""
    load = engines.load_engine
    engines.load_engine = lambda name="auto": Odd(load(name))


class Odd:
    """An engine that does what a picture's last bytes say."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def build(
        self,
        data: bytes,
        format: str,
        specs: Sequence[VariantSpec],
        focus: Focus | None = None,
        *,
        glimpse_of: int | None = None,
    ) -> list[Encoded]:
        """Build, or not."""
        if data.endswith(KILLS):
            os.kill(os.getpid(), signal.SIGKILL)
        if data.endswith(HANGS):
            time.sleep(3600)
        return self._engine.build(data, format, specs, focus, glimpse_of=glimpse_of)
