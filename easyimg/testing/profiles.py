"""ICC profiles made on the spot, and what a colour in them is in sRGB, worked out with plain arithmetic.

Nothing here asks a colour library: the numbers are those of the colour spaces' own definitions, so that an engine's
answer is compared with the definition and not with another engine. Profiles are of version 2.4 (ICC.1:2001-04).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

Vector = tuple[float, float, float]
Colour = tuple[int, int, int]
D50: Final[Vector] = (0.9642, 1.0, 0.8249)
"""The white of the profile connection space."""


class Space(NamedTuple):
    """An RGB colour space: the primaries as XYZ adapted to D50, and the curve from a channel (0-1) to light (0-1)."""

    red: Vector
    green: Vector
    blue: Vector
    light: Callable[[float], float]


def _srgb_light(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else float(((value + 0.055) / 1.055) ** 2.4)


def _l_star_light(value: float) -> float:
    """Return light by CIE lightness (ISO 11664-4), the curve of eciRGB v2."""
    return float(((value * 100 + 16) / 116) ** 3) if value > 0.08 else value * 100 / 903.3


SRGB: Final = Space((0.4360, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141), _srgb_light)

SPACES: Final[Mapping[str, Space]] = {
    "display-p3": Space((0.5151, 0.2412, -0.0011), (0.2919, 0.6922, 0.0419), (0.1572, 0.0666, 0.7841), _srgb_light),
    "prophoto": Space((0.7977, 0.2880, 0.0), (0.1352, 0.7119, 0.0), (0.0313, 0.0001, 0.8249), lambda v: v**1.8),
    "eci-rgb": Space((0.6502, 0.3203, 0.0), (0.1780, 0.6020, 0.0678), (0.1360, 0.0777, 0.7571), _l_star_light),
    "adobe-rgb": Space((0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446), lambda v: v**2.2),
}
"""Display P3 (Apple), ProPhoto (ISO 22028-2), eciRGB v2 and Adobe RGB (1998), all adapted to D50 by Bradford."""


def rgb_profile(name: str) -> bytes:
    """Return the profile of a space of :data:`SPACES`: three primaries and a curve of 1,024 points."""
    return _matrix_profile(SPACES[name], _curve(SPACES[name].light))


def swapped_profile() -> bytes:
    """Return a profile whose red primary is sRGB's green and the reverse: honoured, (255, 0, 0) is pure green."""
    gamma = b"curv" + struct.pack(">IIH", 0, 1, round(2.2 * 256))
    return _matrix_profile(SRGB._replace(red=SRGB.green, green=SRGB.red), gamma)


def grey_profile(gamma: float) -> bytes:
    """Return the profile of a grey whose light is its value to that power."""
    tags = _described() | {b"kTRC": _curve(lambda value: value**gamma)}
    return _profile(b"GRAY", b"XYZ ", tags)


_KEPT: Final = (0.57, 0.52, 0.95, 0.15)
_SHIFTS: Final = ((-30.0, -40.0), (70.0, -5.0), (-5.0, 80.0), (0.0, 0.0))


def press_lab(ink: Sequence[float]) -> Vector:
    """Return the Lab of inks (0-1 each) on the press of :func:`cmyk_profile`, whose paper is white.

    A full ink leaves so much of what is below it of the lightness, and moves a and b so far; black hides the others.
    """
    lightness, a, b = 100.0, 0.0, 0.0
    for amount, keeps, (to_a, to_b) in zip(ink, _KEPT, _SHIFTS, strict=True):
        lightness *= 1 - amount * (1 - keeps)
        a += amount * to_a * (1 - ink[3])
        b += amount * to_b * (1 - ink[3])
    return lightness, a, b


def cmyk_profile() -> bytes:
    """Return the profile of a press, ``prtr CMYK Lab``, with a table of 5 x 5 x 5 x 5 colours of :func:`press_lab`."""
    grid = 5
    steps = [i / (grid - 1) for i in range(grid)]
    table = b"".join(_lab16(press_lab((c, m, y, k))) for c in steps for m in steps for y in steps for k in steps)
    head = struct.pack(">4sI4B", b"mft2", 0, 4, 3, grid, 0) + struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    straight = struct.pack(">2H", 0, 65535)
    lut = head + struct.pack(">2H", 2, 2) + straight * 4 + table + straight * 3
    return _profile(b"CMYK", b"Lab ", _described() | {b"A2B0": lut}, device=b"prtr")


def srgb_of(name: str, colour: Colour) -> Colour:
    """Return the sRGB (0-255) of a colour in a space of :data:`SPACES`; what sRGB cannot show is cut off."""
    space = SPACES[name]
    light = [space.light(value / 255) for value in colour]
    primaries = (space.red, space.green, space.blue)
    return _shown([sum(light[i] * primaries[i][axis] for i in range(3)) for axis in range(3)])


def srgb_of_grey(gamma: float, value: int) -> int:
    """Return the sRGB level (0-255) of a grey of :func:`grey_profile`."""
    return _level(float((value / 255) ** gamma))


def srgb_of_lab(lab: Vector) -> Colour:
    """Return the sRGB of a CIE Lab colour of D50."""
    y = (lab[0] + 16) / 116
    ratios = [t**3 if t > 6 / 29 else 3 * (6 / 29) ** 2 * (t - 4 / 29) for t in (y + lab[1] / 500, y, y - lab[2] / 200)]
    return _shown([ratio * white for ratio, white in zip(ratios, D50, strict=True)])


def _shown(xyz: Sequence[float]) -> Colour:
    red, green, blue = (_level(sum(row[i] * xyz[i] for i in range(3))) for row in _TO_SRGB)
    return red, green, blue


def _level(light: float) -> int:
    light = min(1.0, max(0.0, light))
    return round(255 * (light * 12.92 if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055))


# The inverse of SRGB's primaries (IEC 61966-2-1, adapted to D50).
_TO_SRGB: Final = (
    (3.1339, -1.6169, -0.4906),
    (-0.9788, 1.9161, 0.0335),
    (0.0719, -0.2290, 1.4052),
)


def _matrix_profile(space: Space, curve: bytes) -> bytes:
    primaries = {b"rXYZ": _xyz(space.red), b"gXYZ": _xyz(space.green), b"bXYZ": _xyz(space.blue)}
    curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    return _profile(b"RGB ", b"XYZ ", _described() | primaries | curves)


def _described() -> dict[bytes, bytes]:
    return {
        b"desc": b"desc" + struct.pack(">II", 0, 8) + b"easyimg\0" + bytes(78),
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": _xyz(D50),
    }


def _curve(light: Callable[[float], float], points: int = 1024) -> bytes:
    values = [round(65535 * light(i / (points - 1))) for i in range(points)]
    return b"curv" + struct.pack(f">II{points}H", 0, points, *values)


def _lab16(lab: Vector) -> bytes:
    """Return a Lab colour as version 2 encodes it in 16 bits: 100 is FF00, 0 of a and b is 8000."""
    return struct.pack(
        ">3H", *(min(65535, max(0, round(v))) for v in (lab[0] * 652.8, *((c + 128) * 256 for c in lab[1:])))
    )


def _xyz(values: Vector) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in values))


def _profile(colours: bytes, connection: bytes, tags: Mapping[bytes, bytes], device: bytes = b"mntr") -> bytes:
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += name + struct.pack(">II", start + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    size = 128 + len(table) + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"", 0x02400000, device, colours, connection)
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _xyz(D50)[8:]
    return head.ljust(128, b"\0") + table + body
