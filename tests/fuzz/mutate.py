"""Breaking files on purpose. The same seed breaks the same file in the same way."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Literal

HEAD = 512
"""Half of all damage falls on so many first bytes: that is where headers are."""

_EXTREMES: Final = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)

_BOXES: Final = (
    b"ispe",
    b"iloc",
    b"iinf",
    b"pitm",
    b"ipma",
    b"av1C",
    b"pixi",
    b"irot",
    b"stsz",
    b"stco",
    b"tkhd",
    b"mdat",
)
"""Of an AVIF: what it holds, where, and how large."""

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


def _write_field(random_: random.Random, data: bytearray, other: bytes) -> None:
    """Write a number, extreme or a size, into a tag of a TIFF or a box of an AVIF; of other files, anywhere."""
    places = list(_fields(bytes(data)))
    at, length, order = random_.choice(places) if places else (_place(random_, data), 4, "big")
    number = random_.choice((*_EXTREMES, *(1 << bits for bits in range(17)), random_.randrange(70_000)))
    data[at : at + length] = (number & (1 << 8 * length) - 1).to_bytes(length, order)


def _fields(data: bytes) -> Iterator[tuple[int, int, Literal["big", "little"]]]:
    """Yield place, length and byte order of the numbers that say how the content is laid out."""
    if data[:4] in (b"II*\0", b"MM\0*"):
        order: Literal["big", "little"] = "little" if data[:2] == b"II" else "big"
        start = int.from_bytes(data[4:8], order) + 2
        count = int.from_bytes(data[start - 2 : start], order)
        for at in range(start, min(start + 12 * count, len(data) - 12), 12):
            yield from ((at, 2, order), (at + 2, 2, order), (at + 4, 4, order), (at + 8, 4, order))
    elif data[4:8] == b"ftyp":
        for name in _BOXES:
            at = data.find(name)
            if at >= 4:
                yield from ((place, 4, "big") for place in (at - 4, *range(at + 4, min(at + 36, len(data) - 4), 2)))


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
    _write_field: 3,
    _remove: 2,
    _repeat: 1,
    _splice: 3,
}
"""What is done to a file, and how often."""
