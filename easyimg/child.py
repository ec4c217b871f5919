"""The limited child: ``python -m easyimg.child``. Serves one LimitedEngine through its standard input and output.

It sets its own limits before it loads the pixel library: address space, no core files. It ends by itself when its
input closes, when its parent is gone (a sibling forked from the parent may keep the pipe open), and when it has not
been asked anything for a while.
"""

from __future__ import annotations

import argparse
import os
import select
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from easyimg.engines import _frames as frames
from easyimg.engines import load_engine
from easyimg.gather import Gathered
from easyimg.ports import Engine
from easyimg.spec import VariantSpec


class Server:
    """Answers frames with an engine. One call at a time.

    Args:
        source: file descriptor the requests are read from.
        target: file descriptor the answers are written to.
        engine: name for ``load_engine``.
    """

    def __init__(self, source: int, target: int, engine: str) -> None:
        self._source = source
        self._target = target
        self._name = engine
        self._engine: Engine | None = None
        self._data = b""

    def serve(self, idle: float) -> None:
        """Answer until the input ends, or nothing came for ``idle`` seconds."""
        while select.select([self._source], [], [], idle)[0]:
            try:
                header, blobs = frames.unpacked(self._read)
            except EOFError:
                return
            if blobs:
                self._data = blobs[0]
            del blobs
            self._write(frames.packed(*self._answer(header)))

    def _answer(self, header: frames.Header) -> tuple[frames.Header, list[bytes]]:
        try:
            if self._engine is None:
                self._engine = load_engine(self._name)
            calls = {"describe": self._describe, "probe": self._probe, "build": self._build}
            return calls[header["call"]](self._engine, header)
        except Exception as exc:  # noqa: BLE001  # the child's border: the parent says what it means for the row
            return {"error": frames.error_fields(exc)}, []

    def _describe(self, engine: Engine, header: frames.Header) -> tuple[frames.Header, list[bytes]]:
        return {"name": engine.name, "writes": [f for f in header["formats"] if engine.can_write(f)]}, []

    def _probe(self, engine: Engine, header: frames.Header) -> tuple[frames.Header, list[bytes]]:
        return {"info": frames.info_fields(engine.probe(self._data, header["format"]))}, []

    def _build(self, engine: Engine, header: frames.Header) -> tuple[frames.Header, list[bytes]]:
        specs = [VariantSpec.from_canonical(text) for text in header["specs"]]
        focus, glimpse_of = frames.as_focus(header["focus"]), header["glimpse_of"]
        files = engine.build(self._data, header["format"], specs, focus, glimpse_of=glimpse_of)
        self._data = b""
        unique = {id(file.data): file.data for file in files}  # equal outputs share one object: send it once
        places = {id_: place for place, id_ in enumerate(unique)}
        described = [[places[id(file.data)], file.format, file.width, file.height] for file in files]
        glimpse = None if glimpse_of is None else files[glimpse_of].glimpse
        color, small = ("", []) if glimpse is None else (glimpse.color, [glimpse.data])
        return {"files": described, "color": color}, [*unique.values(), *small]

    def _read(self, size: int) -> bytes:
        parts = Gathered(size)
        while parts.size < size:
            part = os.read(self._source, min(size - parts.size, 1 << 20))
            if not part:
                raise EOFError
            parts.add(part)
        return parts.whole()

    def _write(self, pieces: Sequence[bytes]) -> None:
        for piece in pieces:
            view = memoryview(piece)
            while view:
                view = view[os.write(self._target, view) :]


def limit_self(memory: int) -> None:
    """Limit this process's address space to ``memory`` bytes and forbid core files, where the system can."""
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    memory = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    except (ValueError, OSError) as exc:  # macOS knows the name but not the limit
        print(f"the address space cannot be limited here: {exc}", file=sys.stderr)  # noqa: T201


def end_with(parent: int, every: float = 1.0) -> None:
    """End this process soon after its parent, even in the middle of a build."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(every)
        os._exit(1)

    threading.Thread(target=watch, name="easyimg-parent", daemon=True).start()


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve standard input until it ends."""
    parser = argparse.ArgumentParser(prog="python -m easyimg.child", description=__doc__)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--memory", type=int, required=True, help="address space, bytes")
    parser.add_argument("--parent", type=int, required=True, help="process id to live as long as")
    parser.add_argument(
        "--idle", type=float, required=True, help="seconds without a question, after which it ends with code 0"
    )
    chosen: Any = parser.parse_args(arguments)
    limit_self(chosen.memory)
    end_with(chosen.parent)
    source, target = os.dup(0), os.dup(1)
    os.dup2(2, 1)  # what a library prints must not get between the frames
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    Server(source, target, chosen.engine).serve(chosen.idle)


if __name__ == "__main__":
    main()
