"""One picture through limits, header and build, and what came of it."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from PIL import Image

from easyimg.errors import BuildError, EasyImgError
from easyimg.formats import sniff
from easyimg.ports import Encoded, Engine
from easyimg.source import Limits, SourceInfo
from easyimg.spec import VariantSpec

STREAMED: Final = (VariantSpec(width=448, ratio=Fraction(16, 9)), VariantSpec("webp", 896, Fraction(16, 9)))
"""One region: the source is decoded while it is resized."""

HELD: Final = (VariantSpec("png", 64, Fraction(1), crop="smart"), VariantSpec("webp", 300), VariantSpec("jpeg", 30))
"""Several regions: the source is decoded into memory first."""

MOVING: Final = (VariantSpec(width=20, ratio=Fraction(1), animated=True), VariantSpec("webp", 200, animated=True))
"""Animations are kept: all their frames are decoded."""

SETS: Final = {"streamed": STREAMED, "held": HELD, "moving": MOVING}

LONGEST_MESSAGE: Final = 300
GRACE: Final = 5.0
"""Seconds by which a call may miss its limit: a child has to start, or to be killed."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one picture.

    Args:
        outcome: ``"ok"``, ``"refused"``, or ``"else"`` for what must never happen.
        kind: class of the error, ``""`` when built.
        message: what the user reads, or what is wrong.
        seconds: it took.
    """

    outcome: str
    kind: str
    message: str
    seconds: float


def judged(engine: Engine, limits: Limits, data: bytes, specs: Sequence[VariantSpec], seconds: float) -> Verdict:
    """Return what came of one picture; never raises.

    Args:
        engine: the one in a limited child, unless it can be trusted with this process's life.
        limits: checked on content and header, as uploads and builds do.
        data: the file.
        specs: what to build.
        seconds: the engine's own limit of each of its two calls.
    """
    started = time.monotonic()
    outcome, kind, message = _tried(engine, limits, data, specs)
    took = time.monotonic() - started
    if took > 2 * seconds + GRACE:
        outcome, message = "else", f"took {took:.1f} s, the limit being {seconds:g} s a call: {message}"
    return Verdict(outcome, kind, message, took)


def _tried(engine: Engine, limits: Limits, data: bytes, specs: Sequence[VariantSpec]) -> tuple[str, str, str]:
    try:
        found = limits.check_content(data)
        info = engine.probe(data, found)
        limits.check_info(info)
        for spec in specs:
            if spec.animated and info.is_animated:
                limits.check_animation(info, spec.frame(info.size).size)
        wrong = _wrong(specs, info, engine.build(data, found, specs))
        return ("else", "", wrong) if wrong else ("ok", "", "")
    except EasyImgError as exc:
        return ("else" if _is_unforeseen(exc) or not _is_readable(str(exc)) else "refused"), exc.kind, str(exc)
    except Exception as exc:  # noqa: BLE001  # to find these is what this is for
        return "else", type(exc).__name__, str(exc)


def _is_unforeseen(exc: EasyImgError) -> bool:
    """Return whether the child met an exception that is none of ours: it comes out as a plain BuildError."""
    return type(exc) is BuildError and exc.spec_index is None


def _is_readable(message: str) -> bool:
    return message.isprintable() and any(map(str.isalpha, message)) and len(message) <= LONGEST_MESSAGE


def _wrong(specs: Sequence[VariantSpec], info: SourceInfo, files: Sequence[Encoded]) -> str:
    """Return what is wrong with built files, ``""`` if nothing is."""
    for spec, file in zip(specs, files, strict=True):
        promised = spec.frame(info.size).size
        sizes = {promised, (file.width, file.height), *_frame_sizes(file.data)}
        if len(sizes) > 1 or sniff(file.data) != file.format:
            return f"{file.format} of {sorted(sizes)}, promised were {promised}"
    return ""


def _frame_sizes(data: bytes) -> set[tuple[int, int]]:
    """Return the sizes of a file's frames, all decoded."""
    sizes = set()
    with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP", "AVIF", "GIF")) as image:
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            image.load()
            sizes.add(image.size)
    return sizes
