"""Breaking files on purpose. The same seed breaks the same file in the same way."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final

HEAD = 512
"""Half of all damage falls on so many first bytes: that is where headers are."""

_EXTREMES: Final = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)

Break = Callable[[random.Random, bytearray, bytes], None]


def mutated(data: bytes, others: Sequence[bytes], seed: object) -> bytes:
    """Return a file broken in 1 to 16 places.

    Args:
        data: the whole file.
        others: files to take foreign pieces from.
        seed: anything whose ``str`` is the same the next time.
    """
    random_, broken = random.Random(str(seed)), bytearray(data)
    for _ in range(random_.choice((1, 1, 1, 2, 4, 16))):
        if not broken:
            break
        (break_it,) = random_.choices(tuple(_BREAKS), tuple(_BREAKS.values()))
        break_it(random_, broken, random_.choice(others) if others else data)
    return bytes(broken)


def _place(random_: random.Random, data: bytearray) -> int:
    return random_.randrange(len(data) if random_.random() < 0.5 else min(len(data), HEAD))


def _length(random_: random.Random, data: Sequence[int]) -> int:
    """Return the length of a piece: mostly a few bytes, at times up to a quarter of the file."""
    return random_.randrange(1, 9) if random_.random() < 0.7 else random_.randrange(1, len(data) // 4 + 2)


def _cut_off(random_: random.Random, data: bytearray, other: bytes) -> None:
    del data[max(1, random_.randrange(len(data))) :]


def _flip_bits(random_: random.Random, data: bytearray, other: bytes) -> None:
    for _ in range(random_.choice((1, 1, 8))):
        data[_place(random_, data)] ^= 1 << random_.randrange(8)


def _change_bytes(random_: random.Random, data: bytearray, other: bytes) -> None:
    at = _place(random_, data)
    piece = random_.randbytes(_length(random_, data))[: len(data) - at]
    data[at : at + len(piece)] = piece


def _write_extreme(random_: random.Random, data: bytearray, other: bytes) -> None:
    """Write a number at which counters and sizes overflow, in either byte order."""
    size = random_.choice((1, 2, 4))
    number = random_.choice(_EXTREMES) & ((1 << 8 * size) - 1)
    at = _place(random_, data)
    data[at : at + size] = number.to_bytes(size, random_.choice(("big", "little")))


def _remove(random_: random.Random, data: bytearray, other: bytes) -> None:
    at = _place(random_, data)
    del data[at : at + _length(random_, data)]


def _repeat(random_: random.Random, data: bytearray, other: bytes) -> None:
    at = _place(random_, data)
    data[at:at] = data[at : at + _length(random_, data)] * random_.choice((1, 1, 2, 20))


def _splice(random_: random.Random, data: bytearray, other: bytes) -> None:
    """Put a piece of another file in, or over what is there."""
    start, at = random_.randrange(len(other) or 1), _place(random_, data)
    piece = other[start : start + _length(random_, other)]
    data[at : at + (len(piece) if random_.random() < 0.5 else 0)] = piece


_BREAKS: Final[dict[Break, int]] = {
    _cut_off: 2,
    _flip_bits: 4,
    _change_bytes: 2,
    _write_extreme: 3,
    _remove: 2,
    _repeat: 1,
    _splice: 3,
}
"""What is done to a file, and how often."""
