"""The options of Img: their names, what each accepts, and the checked value made of it.

Everything is refused here, when the Img is made, and nothing later while a page renders.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import Any, Final

from easyimg.art import ArtEntry, check_art, make_entries
from easyimg.attributes import Attributes, check_alt, parse_attributes
from easyimg.checks import (
    Quality,
    check_boolean,
    check_choice,
    check_format,
    check_fractions,
    check_named_width,
    check_number,
    check_quality,
)
from easyimg.errors import SpecError, did_you_mean, shown
from easyimg.formats import FORMATS, OUTPUT_FORMATS
from easyimg.geometry import Focus, Window
from easyimg.sizes import SizesEntry, parse_sizes, parse_widths
from easyimg.spec import DEFAULT_QUALITY, EFFORTS, MAX_SIDE, Crop

_GOLDEN: Final = Fraction(1 + math.sqrt(5)).limit_denominator(10_000) / 2
RATIOS: Final = {
    "square": Fraction(1),
    "video": Fraction(16, 9),
    "video_vertical": Fraction(9, 16),
    "golden": _GOLDEN,
    "golden_vertical": 1 / _GOLDEN,
}
"""Names for ratios, width / height."""

CROPS: Final = {
    "center": Focus(0.5, 0.5),
    "tl": Focus(0.0, 0.0),
    "t": Focus(0.5, 0.0),
    "tr": Focus(1.0, 0.0),
    "l": Focus(0.0, 0.5),
    "r": Focus(1.0, 0.5),
    "bl": Focus(0.0, 1.0),
    "b": Focus(0.5, 1.0),
    "br": Focus(1.0, 1.0),
}
"""Names for crop points."""

LAYOUTS: Final = ("fixed", "constrained", "full-width")
"""Named ways a slot behaves: its width never changes; it shrinks with a narrow screen; it is as wide as the screen."""

DEFAULT_FORMAT: Final = "webp"
MAX_DENSITY: Final = 10
MAX_RATIO: Final = 100


@dataclass(frozen=True, slots=True)
class ImgOptions:
    """The checked options of an Img. Frozen and hashable; ``parse_options`` makes it."""

    width: int | None = None
    ratio: Fraction | None = None
    crop: Crop | None = "focus"
    contain: bool = True
    window: Window | None = None
    upscale: bool = False
    quality: Quality = DEFAULT_QUALITY
    effort: str = "balanced"
    format: str = DEFAULT_FORMAT
    formats: tuple[str, ...] = ()
    densities: tuple[float, ...] = (1.0, 2.0)
    sizes: tuple[SizesEntry, ...] | str = ()
    widths: tuple[int, ...] = ()
    layout: str | None = None
    art: tuple[ArtEntry, ...] = ()
    placeholder: str | None = None
    background: str | None = None
    animated: bool = False
    alt: str | None = None
    img_attrs: Attributes = ()
    loading: str | None = "lazy"
    decoding: str | None = "async"
    fetchpriority: str | None = None
    priority: bool = False


def parse_options(options: Mapping[str, Any]) -> ImgOptions:
    """Return the checked options.

    Raises:
        SpecError: an unknown option, a value out of range, or options that contradict each other.
    """
    given = _collect_attributes(options)
    parsed = {name: _parser(name)(value) for name, value in given.items()}
    _check_together(given, parsed)
    if parsed.get("priority"):
        parsed.update(loading="eager", decoding="sync", fetchpriority="high")
    art = parsed.pop("art", None)
    result = ImgOptions(**parsed)
    _check_file_widths(result)
    return replace(result, art=make_entries(art, given, parse_options)) if art else result


def laid_over(older: Mapping[str, Any], newer: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with others laid over them: ``img_attrs`` replaces all attributes, ``img_*`` adds one."""
    kept = older if "img_attrs" not in newer else {n: v for n, v in older.items() if not n.startswith("img_")}
    return {**kept, **newer}


def check_option(name: str, value: Any) -> None:
    """Check one option by itself, where the others are not known yet.

    Raises:
        SpecError: it is unknown, or out of range.
    """
    for option, given in _collect_attributes({name: value}).items():
        _parser(option)(given)


def check_option_name(name: str) -> None:
    """Check that there is such an option, or that it may be an attribute (``img_class``).

    Raises:
        SpecError: it is neither.
    """
    for option, given in _collect_attributes({name: ""}).items():
        _parser(option)
        if option == "img_attrs" and name != "img_attrs":
            _img_attrs(given)


def _parser(name: str) -> Callable[[Any], Any]:
    if name not in _PARSERS:
        raise SpecError(f"unknown option {name!r}{did_you_mean(name, [*_PARSERS, 'img_attrs'])}")
    return _PARSERS[name]


def _collect_attributes(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with every ``img_name=`` moved into ``img_attrs``."""
    given = {name: value for name, value in options.items() if not name.startswith("img_") or name == "img_attrs"}
    extra = {name[4:]: value for name, value in options.items() if name.startswith("img_") and name != "img_attrs"}
    if extra:
        given["img_attrs"] = {**(given.get("img_attrs") or {}), **extra}
    return given


def _check_together(given: Mapping[str, Any], parsed: Mapping[str, Any]) -> None:
    """Refuse options that contradict each other or would have no effect."""
    if parsed.get("contain") is False and parsed.get("crop", "focus") is not None:
        raise SpecError("contain=False needs crop=False: a crop always fills the box")
    if parsed.get("ratio") is None and parsed.get("crop", "focus") not in ("focus", None):
        raise SpecError(f"crop={shown(given['crop'])} needs a ratio: without one nothing is cut")
    if parsed.get("width") is None and given.get("densities"):
        raise SpecError("densities needs width: a slot as wide as the source has no larger file")
    if parsed.get("formats") and given.get("format") is not None:
        raise SpecError("format and formats contradict each other: give all in formats")
    _check_animated(parsed)
    _check_slot(given, parsed)
    if parsed.get("priority"):
        for name, needed in (("loading", "eager"), ("decoding", "sync"), ("fetchpriority", "high")):
            if name in given and given[name] != needed:
                raise SpecError(f"priority=True means {name}={needed!r}, not {shown(given[name])}")


def _check_animated(parsed: Mapping[str, Any]) -> None:
    """Refuse to keep animations in formats none of which can hold one."""
    if not parsed.get("animated"):
        return
    names = parsed.get("formats") or (parsed.get("format", DEFAULT_FORMAT),)
    if not any(FORMATS[name].animates for name in names):
        fitting = [name for name in OUTPUT_FORMATS if FORMATS[name].animates]
        raise SpecError(
            f"animated=True needs a format that holds animations; {' and '.join(names)} cannot. "
            f"Write formats={[*names, *fitting]}"
        )


def _check_slot(given: Mapping[str, Any], parsed: Mapping[str, Any]) -> None:
    """Refuse a fluid slot that is not wholly described, or described in two ways."""
    sizes, layout = parsed.get("sizes"), parsed.get("layout")
    fluid = [name for name in ("widths", "sizes") if parsed.get(name)]
    if layout == "fixed" and fluid:
        raise SpecError(f"layout='fixed' and {fluid[0]} contradict each other: a fixed slot has densities")
    if layout in ("constrained", "full-width") and sizes:
        raise SpecError(f"layout={layout!r} and sizes contradict each other: a layout fills sizes in")
    if parsed.get("widths") and isinstance(sizes, tuple) and any(entry.quality or entry.effort for entry in sizes):
        raise SpecError("quality and effort inside sizes have no effect beside widths: its files are for all of sizes")
    if layout in ("fixed", "constrained") and parsed.get("width") is None:
        raise SpecError(f"layout={layout!r} needs width")
    is_fluid = bool(parsed.get("widths")) or layout in ("constrained", "full-width")
    if is_fluid and given.get("densities"):
        raise SpecError("densities and a fluid slot contradict each other: its files are listed by width")
    if isinstance(sizes, tuple) and sizes and parsed.get("width") is None:
        raise SpecError("sizes needs width: it is the default entry")
    if isinstance(sizes, str) and not is_fluid:
        raise SpecError("sizes as text needs widths: a list of file widths such as [320, 640, 1280]")
    if parsed.get("widths") and not sizes and layout is None:
        raise SpecError("widths needs sizes, or a layout that fills them in")


def _check_file_widths(options: ImgOptions) -> None:
    if options.widths or options.layout in ("constrained", "full-width"):
        return
    entries = options.sizes if isinstance(options.sizes, tuple) else ()
    widest = max([options.width or 0, *(entry.width for entry in entries)])
    if widest * max(options.densities) > MAX_SIDE:
        raise SpecError(
            f"width {widest} at density {max(options.densities):g} is {widest * max(options.densities):g} pixels; "
            f"no file may be wider than {MAX_SIDE}"
        )


def _width(value: Any) -> int | None:
    return None if value is None else check_named_width("width", value)


def _ratio(value: Any) -> Fraction | None:
    if value is None:
        return None
    if isinstance(value, str) and value in RATIOS:
        return RATIOS[value]
    try:
        ratio = _ratio_parts(value)
    except (ValueError, ZeroDivisionError, OverflowError) as exc:
        names = ", ".join(RATIOS)
        raise SpecError(f"ratio: {shown(value)} is not a ratio; write 16/9, (16, 9), 1.78 or one of {names}") from exc
    if not Fraction(1, MAX_RATIO) <= ratio <= MAX_RATIO:
        raise SpecError(f"ratio: {shown(value)} is not between 1/{MAX_RATIO} and {MAX_RATIO}")
    return ratio.limit_denominator(10_000)


def _ratio_parts(value: Any) -> Fraction:
    parts: Sequence[Any] = [value]
    if isinstance(value, str):
        parts = re.split("[/:]", value)
    elif isinstance(value, tuple | list):
        parts = value
    if not 1 <= len(parts) <= 2 or any(isinstance(p, bool) for p in parts):
        raise ValueError(value)
    numbers = [_decimal(part) if isinstance(part, str) else Fraction(check_number("ratio", part)) for part in parts]
    return numbers[0] if len(numbers) == 1 else numbers[0] / numbers[1]


def _decimal(text: str) -> Fraction:
    """Return the number that a text names; none with an exponent, which would be written out, however long it is."""
    if not re.fullmatch(r"-?[0-9]{0,9}(\.[0-9]{0,9})?", text.strip()):
        raise ValueError(text)
    return Fraction(text.strip())


def _crop(value: Any) -> Crop | None:
    if value is True:
        return "focus"
    if value is False:
        return None
    if value == "smart":
        return "smart"
    if isinstance(value, str) and "," not in value:
        if value not in CROPS:
            raise SpecError(f"crop: {shown(value)} is no crop{did_you_mean(value, [*CROPS, 'smart'])}")
        return CROPS[value]
    return Focus(*check_fractions("crop", value, 2))


def _window(value: Any) -> Window | None:
    if value is None:
        return None
    window = Window(*check_fractions("window", value, 4))
    if window.left >= window.right or window.top >= window.bottom:
        raise SpecError(f"window: {shown(value)} is empty; give left, top, right, bottom")
    return window


def _densities(value: Any) -> tuple[float, ...]:
    value = () if value is None else value
    if not isinstance(value, tuple | list):
        raise SpecError(f"densities: {shown(value)} is not a list of numbers such as [2] or [1.5, 2]")
    numbers = {1.0}
    for item in value:
        number = check_number("densities", item)
        if not 1 <= number <= MAX_DENSITY:
            raise SpecError(f"densities: {shown(item)} is not in 1..{MAX_DENSITY}")
        numbers.add(number)
    return tuple(sorted(numbers))


def _formats(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, tuple | list) or not value:
        raise SpecError(f"formats: {shown(value)} is not a list such as ['avif', 'webp']")
    names = tuple(check_format("formats", item) for item in value)
    if len(set(names)) < len(names):
        raise SpecError(f"formats: {shown(value)} names a format twice")
    return names


_COLOURS: Final = {"white": "#ffffff", "black": "#000000"}
"""The commonest backgrounds, known without an image library."""


def _background(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, str) and value.lower() in _COLOURS:
        return _COLOURS[value.lower()]
    if isinstance(value, str) and re.fullmatch(r"#[0-9a-f]{6}", value.lower(), re.ASCII):
        return value.lower()
    from PIL import ImageColor  # only for other spellings: making an Img loads no image library otherwise

    try:
        colour = ImageColor.getrgb(value)
    except (ValueError, TypeError, AttributeError) as exc:
        raise SpecError(f"background: {shown(value)} is not a CSS colour such as 'white' or '#ffcc00'") from exc
    if len(colour) == 4 and colour[3] != 255:
        raise SpecError(f"background: {shown(value)} is itself transparent")
    return "#{:02x}{:02x}{:02x}".format(*colour[:3])


def _format(value: Any) -> str:
    return DEFAULT_FORMAT if value is None else check_format("format", value)


def _alt(value: Any) -> str | None:
    return None if value is None else check_alt(value)


def _img_attrs(value: Any) -> Attributes:
    if value is None:
        return ()
    if not isinstance(value, Mapping):
        raise SpecError(f"img_attrs: {shown(value)} is not a dict")
    return parse_attributes(value)


_PARSERS: Final[dict[str, Callable[[Any], Any]]] = {
    "width": _width,
    "ratio": _ratio,
    "crop": _crop,
    "contain": check_boolean("contain"),
    "window": _window,
    "upscale": check_boolean("upscale"),
    "quality": check_quality,
    "effort": check_choice("effort", *EFFORTS),
    "format": _format,
    "formats": _formats,
    "densities": _densities,
    "sizes": parse_sizes,
    "widths": parse_widths,
    "layout": check_choice("layout", *LAYOUTS, None),
    "art": check_art,
    "placeholder": check_choice("placeholder", "color", "blur", None),
    "background": _background,
    "animated": check_boolean("animated"),
    "alt": _alt,
    "img_attrs": _img_attrs,
    "loading": check_choice("loading", "lazy", "eager", None),
    "decoding": check_choice("decoding", "async", "sync", "auto", None),
    "fetchpriority": check_choice("fetchpriority", "high", "low", "auto", None),
    "priority": check_boolean("priority"),
}
assert set(_PARSERS) == {field.name for field in fields(ImgOptions)}, "every option has a parser"

OPTION_NAMES: Final = tuple(_PARSERS)
"""The names of all options, in the order of the documentation."""
