"""EXIF orientation as arithmetic: where a region of the upright picture lies in the stored one.

Turning a whole picture upright before it is resized costs memory and time for pixels that are thrown away. The engines
cut and resize the picture as it is stored and turn the small result; this module answers where to cut.

Tag 0x0112 (Exif 2.32, section 4.6.4): 1 upright, 2 mirrored, 3 half turn, 4 upside down, 5 transposed, 6 to be turned
90 degrees clockwise, 7 transversed, 8 to be turned 90 degrees counter-clockwise.
"""

from __future__ import annotations

from typing import Final

from easyimg.geometry import Box, Size

# Orientation -> (flip left-right, flip top-bottom, swap axes), done in this order to get from upright to stored.
_STEPS: Final = {
    1: (False, False, False),
    2: (True, False, False),
    3: (True, True, False),
    4: (False, True, False),
    5: (False, False, True),
    6: (True, False, True),
    7: (True, True, True),
    8: (False, True, True),
}


def known(value: object) -> int:
    """Return the orientation a tag's value means: 1-8, and 1 for anything else a broken file may hold."""
    return value if isinstance(value, int) and value in _STEPS else 1


def swapped(size: Size, orientation: int) -> Size:
    """Return the stored size of an upright one, or the upright size of a stored one: the same swap."""
    return Size(size.height, size.width) if _STEPS[orientation][2] else size


def stored_box(box: Box, upright: Size, orientation: int) -> Box:
    """Return where a region of the upright picture lies in the stored picture, in pixels of the full-size file."""
    flip_x, flip_y, swap = _STEPS[orientation]
    left = upright.width - box.left - box.width if flip_x else box.left
    top = upright.height - box.top - box.height if flip_y else box.top
    return Box(top, left, box.height, box.width) if swap else Box(left, top, box.width, box.height)
