"""Which number of each encoder looks like which quality of JPEG: the table that ``formats.encoder_quality`` rests on.

    python -m tests.benchmarks.quality [--engine pillow] [--photos FILE ...] [--json FILE]

Every scene of ``tests.benchmarks.scenes`` is encoded in both of its sizes, at encoder numbers 20 to 98, with the effort
"balanced", and compared with itself by SSIM and by MS-SSIM. The number that reaches what JPEG reaches lies on a
straight line between its neighbours. ``--photos`` adds photographs of your own, made 896 pixels wide.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image, ImageOps

from easyimg.engines import load_engine
from easyimg.formats import encoder_quality
from easyimg.ports import Engine
from easyimg.spec import VariantSpec
from tests.benchmarks.scenes import KINDS, SIZES, scene
from tests.benchmarks.ssim import ms_ssim, ssim

FORMATS: Final = ("jpeg", "webp", "avif")
NUMBERS: Final = (*range(20, 100, 5), 98)
QUALITIES: Final = (30, 40, 50, 60, 70, 80, 85, 90, 95)
NUMBER, BYTES, SSIM, MS_SSIM = range(4)
"""Columns of what :func:`curves` measures."""


def pictures(photos: Sequence[Path]) -> Iterator[tuple[str, Image.Image]]:
    """Yield names and RGB pictures: every scene in every size, then the photographs, 896 pixels on the longer side."""
    for kind in KINDS:
        for width, height in SIZES:
            yield f"{kind} {width}", scene(kind, width, height)
    for path in photos:
        photo = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
        # At least 2:1, or the JPEG blocks of the photograph itself would be measured.
        photo.thumbnail([min(896, max(photo.size) // 2)] * 2, Image.Resampling.LANCZOS)
        yield path.name, photo


def curves(engine: Engine, picture: Image.Image) -> dict[str, Any]:
    """Return, for each format, an array with one row per encoder number: number, bytes, SSIM, MS-SSIM."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    specs = [VariantSpec(f, quality=number, exact_quality=True) for f in FORMATS for number in NUMBERS]
    found: dict[str, list[list[float]]] = {f: [] for f in FORMATS}
    for spec, variant in zip(specs, engine.build(file.getvalue(), "png", specs), strict=True):
        shown = Image.open(io.BytesIO(variant.data))
        found[spec.format].append([spec.quality, len(variant.data), ssim(picture, shown), ms_ssim(picture, shown)])
    return {f: np.array(rows) for f, rows in found.items()}


def at(curve: Any, number: float, column: int) -> float:
    """Return a column's value at an encoder number."""
    return float(np.interp(number, curve[:, NUMBER], curve[:, column]))


def number_for(curve: Any, likeness: float, column: int) -> float:
    """Return the encoder number that reaches a likeness, NaN where none does."""
    reached = np.maximum.accumulate(curve[:, column])
    if not reached[0] <= likeness <= reached[-1]:
        return float("nan")
    return float(np.interp(likeness, reached, curve[:, NUMBER]))


def print_numbers(measured: dict[str, dict[str, Any]], format: str) -> None:
    """Print which number of a format looks like JPEG at each quality: median, least, most of all pictures."""
    print(f"\n{format}: the encoder number that looks like JPEG at that quality")
    print("| JPEG | by SSIM | by MS-SSIM | easyimg takes |\n|---|---|---|---|")
    for quality in QUALITIES:
        cells = []
        for column in (SSIM, MS_SSIM):
            numbers = [number_for(c[format], at(c["jpeg"], quality, column), column) for c in measured.values()]
            known = np.array(numbers)[~np.isnan(numbers)]
            text = f"{np.median(known):.0f} ({known.min():.0f}-{known.max():.0f})" if len(known) else "-"
            cells.append(text if len(known) == len(numbers) else f"{text}, {len(known)} of {len(numbers)}")
        print(f"| {quality} | {' | '.join(cells)} | {encoder_quality(format, quality)} |")


def print_outcome(measured: dict[str, dict[str, Any]]) -> None:
    """Print what one quality gives in each format: mean SSIM, mean MS-SSIM, bytes as part of JPEG's."""
    print("\none number in all formats: SSIM / MS-SSIM, bytes of those of JPEG; means of all pictures")
    print(f"| quality | {' | '.join(FORMATS)} |\n|---|---|---|---|")
    for quality in QUALITIES:
        cells = []
        for format in FORMATS:
            number = encoder_quality(format, quality)
            alike = [np.mean([at(c[format], number, column) for c in measured.values()]) for column in (SSIM, MS_SSIM)]
            share = [at(c[format], number, BYTES) / at(c["jpeg"], quality, BYTES) for c in measured.values()]
            cells.append(f"{alike[0]:.4f} / {alike[1]:.4f}, {np.mean(share):.2f}")
        print(f"| {quality} | {' | '.join(cells)} |")


def print_avif_against_webp(measured: dict[str, dict[str, Any]]) -> None:
    """Print, for each picture, the bytes of AVIF as part of those of WebP, where both look alike."""
    columns = [(quality, column) for column in (SSIM, MS_SSIM) for quality in (60, 80, 90)]
    print("\nAVIF's bytes of WebP's, at the same SSIM (first three) and at the same MS-SSIM as WebP 60, 80, 90")
    print("| picture | 60 | 80 | 90 | 60 | 80 | 90 |\n|---|---|---|---|---|---|---|")
    ratios = {name: [_equal_bytes(c, *which) for which in columns] for name, c in measured.items()}
    ratios["mean"] = list(np.mean(list(ratios.values()), axis=0))
    for name, row in ratios.items():
        print(f"| {name} | {' | '.join(f'{ratio:.2f}' for ratio in row)} |")


def _equal_bytes(found: dict[str, Any], quality: int, column: int) -> float:
    number = number_for(found["avif"], at(found["webp"], quality, column), column)
    return at(found["avif"], number, BYTES) / at(found["webp"], quality, BYTES)


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--engine", default="vips", choices=("vips", "pillow"))
    parser.add_argument("--photos", type=Path, nargs="*", default=[])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    engine = load_engine(options.engine)
    measured = {name: curves(engine, picture) for name, picture in pictures(options.photos)}
    for format in FORMATS[1:]:
        print_numbers(measured, format)
    print_outcome(measured)
    print_avif_against_webp(measured)
    if options.json:
        plain = {name: {f: rows.tolist() for f, rows in found.items()} for name, found in measured.items()}
        options.json.write_text(json.dumps(plain, indent=1))


if __name__ == "__main__":
    main()
