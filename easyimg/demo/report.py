"""What the demo prints: each picture's variants, and what the page weighs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from easyimg.demo.gallery import Facts, Slot, weight
from easyimg.variant import VariantStatus


class PageWeight(NamedTuple):
    """Bytes of the page's pictures: as uploaded, and as loaded by screens of one and two pixels per CSS pixel."""

    originals: int
    at_1x: int
    at_2x: int


def weigh(facts: Sequence[Facts]) -> PageWeight:
    """Return what the page weighs. A picture that could not be built counts nowhere; an original is loaded once."""
    built = [f for f in facts if f.is_built]
    slots = [slot for f in built for slot in f.slots]
    return PageWeight(
        sum(f.bytes for f in built),
        sum(slot.bytes_at(1) for slot in slots),
        sum(slot.bytes_at(2) for slot in slots),
    )


def good_ones_failed(facts: Sequence[Facts], expected: Sequence[str] | None) -> bool:
    """Return whether anything failed, or is still owed, that should not.

    Args:
        expected: pictures that are meant to fail; None = any whose file is to blame (SOURCE_ERROR).
    """
    if expected is not None:
        return any(not f.is_built and f.title not in expected for f in facts)
    fine = (VariantStatus.BUILT, VariantStatus.SOURCE_ERROR)
    return any(v.status not in fine for f in facts for v in f.variants)


def print_results(console: Console, facts: Sequence[Facts], refused: Sequence[tuple[str, str]]) -> None:
    """Print the pictures, the refused ones with their reasons, and the bytes saved."""
    table = Table("picture", "original", "variants", "", box=None, header_style="dim", pad_edge=False)
    for item in facts:
        table.add_row(item.title, _original(item), _variants(item), _state(item))
    console.print(table)
    for title, reason in refused:
        console.print(f"refused: {title}: {reason}", markup=False)
    for line in summary(weigh(facts)):
        console.print(line)


def summary(page: PageWeight) -> list[str]:
    """Return the closing lines: what the page's pictures weigh without easyimg, and with it."""
    lines = [f"without easyimg: {weight(page.originals)}"]
    for label, size in (("1x", page.at_1x), ("2x", page.at_2x)):
        saved = 100 * (1 - size / page.originals) if page.originals else 0.0
        lines.append(f"with easyimg, {label} screen: {weight(size)} ({saved:.1f} % saved)")
    return lines


def _original(item: Facts) -> str:
    info = item.info
    return f"{info.width}x{info.height} {info.format} {weight(item.bytes)}" if info else weight(item.bytes)


def _variants(item: Facts) -> str:
    return "; ".join(text for text in map(_slot, item.slots) if text)


def _slot(slot: Slot) -> str:
    files = [slot.base] if slot.base else []
    return ", ".join(f"{v.width} {v.format} {weight(v.bytes)}" for v in (*files, *slot.candidates))


def _state(item: Facts) -> str:
    if item.is_built:
        return f"{weight(sum(v.bytes for v in item.variants))} in {len(item.variants)} files"
    return item.error or "still owed"
