"""The options of Img: their names, what each accepts, and the checked value made of it.

Everything is refused here, when the Img is made, and nothing later while a page renders.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any, Final

from easyimg.attributes import Attributes, parse_attributes
from easyimg.errors import SpecError, did_you_mean, shown
from easyimg.formats import ALIASES, OUTPUT_FORMATS
from easyimg.geometry import Focus, Window
from easyimg.spec import DEFAULT_QUALITY, EFFORTS, MAX_SIDE, Crop

WIDTHS: Final = {
    "xs": 320,
    "sm": 384,
    "md": 448,
    "lg": 512,
    "screen-sm": 640,
    "screen-md": 768,
    "screen-lg": 1024,
    "screen-xl": 1280,
    "screen-2xl": 1536,
}
"""Names for widths, CSS pixels."""

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

MAX_WIDTHS: Final = 20

LATER: Final = ("art", "placeholder", "animated")
"""Options of the design that this release refuses."""

MAX_DENSITY: Final = 10
MAX_RATIO: Final = 100

_CONDITION = re.compile(r"[-\w\s():.,<>=/]+")


@dataclass(frozen=True, slots=True)
class SizesEntry:
    """One entry of ``sizes``: while the condition holds, the slot is that many CSS pixels wide."""

    condition: str
    width: int
    quality: Quality | None = None
    effort: str | None = None


Quality = int | tuple[tuple[str, int], ...]
"""One number mapped to equal visual quality, or the encoders' own numbers by format."""


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
    format: str = "webp"
    formats: tuple[str, ...] = ()
    densities: tuple[float, ...] = (1.0, 2.0)
    sizes: tuple[SizesEntry, ...] | str = ()
    widths: tuple[int, ...] = ()
    layout: str | None = None
    background: str | None = None
    alt: str | None = None
    img_attrs: Attributes = ()
    loading: str | None = "lazy"
    decoding: str | None = "async"
    fetchpriority: str | None = None
    priority: bool = False


def parse_options(options: Mapping[str, Any]) -> ImgOptions:
    """Return the checked options.

    Raises:
        SpecError: an unknown or not yet supported option, a value out of range, or options that contradict each other.
    """
    given = _collect_attributes(options)
    for name in given:
        if name in LATER:
            raise SpecError(f"option {name!r} is not supported by this release")
        if name not in _PARSERS:
            raise SpecError(f"unknown option {name!r}{did_you_mean(name, [*_PARSERS, 'img_attrs'])}")
    parsed = {name: _PARSERS[name](value) for name, value in given.items()}
    _check_together(given, parsed)
    if parsed.get("priority"):
        parsed.update(loading="eager", decoding="sync", fetchpriority="high")
    result = ImgOptions(**parsed)
    _check_file_widths(result)
    return result


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
    if parsed.get("formats") and "format" in given:
        raise SpecError("format and formats contradict each other: give all in formats")
    _check_slot(given, parsed)
    if parsed.get("priority"):
        for name, needed in (("loading", "eager"), ("decoding", "sync"), ("fetchpriority", "high")):
            if name in given and given[name] != needed:
                raise SpecError(f"priority=True means {name}={needed!r}, not {shown(given[name])}")


def _check_slot(given: Mapping[str, Any], parsed: Mapping[str, Any]) -> None:
    """Refuse a fluid slot that is not wholly described, or described in two ways."""
    sizes, layout = parsed.get("sizes"), parsed.get("layout")
    fluid = [name for name in ("widths", "sizes") if parsed.get(name)]
    if layout == "fixed" and fluid:
        raise SpecError(f"layout='fixed' and {fluid[0]} contradict each other: a fixed slot has densities")
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


def _number(option: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | Fraction) or not math.isfinite(value):
        raise SpecError(f"{option}: {shown(value)} is not a number")
    return float(value)


def _integer(option: str, value: Any, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise SpecError(f"{option}: {shown(value)} is not in {low}..{high}")
    return value


def _boolean(option: str) -> Callable[[Any], bool]:
    def parse(value: Any) -> bool:
        if not isinstance(value, bool):
            raise SpecError(f"{option}: {shown(value)} is not True or False")
        return value

    return parse


def _choice(option: str, *allowed: str | None) -> Callable[[Any], Any]:
    def parse(value: Any) -> Any:
        if value not in allowed or isinstance(value, bool):
            raise SpecError(f"{option}: {shown(value)} is not one of {', '.join(repr(a) for a in allowed)}")
        return value

    return parse


def _named_width(option: str, value: Any) -> int:
    if isinstance(value, str):
        if value not in WIDTHS:
            raise SpecError(f"{option}: {shown(value)} is no width name{did_you_mean(value, WIDTHS)}")
        return WIDTHS[value]
    return _integer(option, value, 1, MAX_SIDE)


def _width(value: Any) -> int | None:
    return None if value is None else _named_width("width", value)


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
    numbers = [Fraction(p.strip() if isinstance(p, str) else _number("ratio", p)) for p in parts]
    return numbers[0] if len(numbers) == 1 else numbers[0] / numbers[1]


def _fractions(option: str, value: Any, count: int) -> list[float]:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, tuple | list) or len(parts) != count:
        raise SpecError(f"{option}: {shown(value)} is not {count} fractions between 0 and 1")
    try:
        numbers = [float(p) if isinstance(p, str) else _number(option, p) for p in parts]
    except ValueError as exc:
        raise SpecError(f"{option}: {shown(value)} is not {count} fractions between 0 and 1") from exc
    if not all(0 <= n <= 1 for n in numbers):
        raise SpecError(f"{option}: {shown(value)} is not within 0..1; fractions, not pixels or percent")
    return numbers


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
    return Focus(*_fractions("crop", value, 2))


def _window(value: Any) -> Window | None:
    if value is None:
        return None
    window = Window(*_fractions("window", value, 4))
    if window.left >= window.right or window.top >= window.bottom:
        raise SpecError(f"window: {shown(value)} is empty; give left, top, right, bottom")
    return window


def _quality(value: Any) -> Quality:
    if not isinstance(value, Mapping):
        return _integer("quality", value, 1, 100)
    numbers = {}
    for name, quality in value.items():
        numbers[_format_name("quality", name)] = _integer(f"quality[{name!r}]", quality, 1, 100)
    return tuple(sorted(numbers.items()))


def _format_name(option: str, value: Any) -> str:
    name = ALIASES.get(value, value) if isinstance(value, str) else value
    if name not in OUTPUT_FORMATS:
        raise SpecError(f"{option}: {shown(value)} is not one of {', '.join(OUTPUT_FORMATS)}")
    return str(name)


def _densities(value: Any) -> tuple[float, ...]:
    if not isinstance(value, tuple | list):
        raise SpecError(f"densities: {shown(value)} is not a list of numbers such as [2] or [1.5, 2]")
    numbers = {1.0}
    for item in value:
        number = _number("densities", item)
        if not 1 <= number <= MAX_DENSITY:
            raise SpecError(f"densities: {shown(item)} is not in 1..{MAX_DENSITY}")
        numbers.add(number)
    return tuple(sorted(numbers))


def _formats(value: Any) -> tuple[str, ...]:
    if not isinstance(value, tuple | list) or not value:
        raise SpecError(f"formats: {shown(value)} is not a list such as ['avif', 'webp']")
    names = tuple(_format_name("formats", item) for item in value)
    if len(set(names)) < len(names):
        raise SpecError(f"formats: {shown(value)} names a format twice")
    return names


def _widths(value: Any) -> tuple[int, ...]:
    if not isinstance(value, tuple | list) or not value:
        raise SpecError(f"widths: {shown(value)} is not a list of file widths such as [320, 640, 1280]")
    if len(value) > MAX_WIDTHS:
        raise SpecError(f"widths: {len(value)} widths; at most {MAX_WIDTHS} are allowed")
    widths = [_named_width("widths", item) for item in value]
    if len(set(widths)) < len(widths):
        raise SpecError(f"widths: {shown(value)} names a width twice")
    return tuple(sorted(widths))


_LENGTH = r"(?:0|[0-9.]+(?:px|em|rem|ex|ch|vw|vh|[sld]v[wh]|vmin|vmax|cm|mm|in|pt|pc)|(?:calc|min|max|clamp)\([^;]+\))"
_SIZE = re.compile(rf"(?:(?P<condition>(?:not )?\(.+\)) )?(?P<length>{_LENGTH})")
_SIZES_TEXT = re.compile(r"[-\w\s().:,/+*%]+")


def _sizes_text(value: str) -> str:
    """Return a checked ``sizes`` text: conditions with lengths, and a last length without a condition.

    Source: https://html.spec.whatwg.org/multipage/images.html#sizes-attributes (percentages are not lengths here).
    """
    text = " ".join(value.split())
    parts = [part.strip() for part in re.split(r",(?![^()]*\))", text)]
    matches = [_SIZE.fullmatch(part) for part in parts]
    if not _SIZES_TEXT.fullmatch(text) or text.count("(") != text.count(")") or not all(matches):
        raise SpecError(f"sizes: {shown(value)} is not a sizes text such as '(max-width: 600px) 100vw, 50vw'")
    if matches[-1] and matches[-1]["condition"]:
        raise SpecError(f"sizes: {shown(value)} must end with a length that has no condition")
    if any(match and not match["condition"] for match in matches[:-1]):
        raise SpecError(f"sizes: {shown(value)}: only the last length has no condition")
    return text


def _sizes(value: Any) -> tuple[SizesEntry, ...] | str:
    if isinstance(value, str):
        return _sizes_text(value)
    if not isinstance(value, Mapping):
        raise SpecError(f"sizes: {shown(value)} is neither a dict of max-width or media condition to width, nor a text")
    return tuple(sorted((_sizes_entry(k, v) for k, v in value.items()), key=_condition_order))


def _sizes_entry(key: Any, value: Any) -> SizesEntry:
    condition = _condition(key)
    if not isinstance(value, Mapping):
        return SizesEntry(condition, _named_width(f"sizes[{key!r}]", value))
    for name in value:
        if name not in ("width", "quality", "effort"):
            raise SpecError(f"sizes[{key!r}]: option {name!r} is not allowed here; known: width, quality, effort")
    if "width" not in value:
        raise SpecError(f"sizes[{key!r}]: a width is missing")
    return SizesEntry(
        condition,
        _named_width(f"sizes[{key!r}]", value["width"]),
        _quality(value["quality"]) if "quality" in value else None,
        _choice("effort", *EFFORTS)(value["effort"]) if "effort" in value else None,
    )


def _condition(key: Any) -> str:
    """Return a media condition; media types such as ``print`` are not part of the grammar of ``sizes``.

    Source: https://html.spec.whatwg.org/multipage/images.html#sizes-attributes
    """
    if isinstance(key, int) and not isinstance(key, bool):
        return f"(max-width: {_integer('sizes', key, 1, 100_000)}px)"
    if not isinstance(key, str) or not _CONDITION.fullmatch(key) or key.count("(") != key.count(")"):
        raise SpecError(f"sizes: {shown(key)} is not a max-width in pixels or a media condition")
    condition = " ".join(key.split())
    if not condition.startswith(("(", "not (")) or "," in condition:
        raise SpecError(f"sizes: {shown(key)} is not one media condition such as '(min-width: 800px)'")
    return condition


_BOUND = re.compile(r"\((min|max)-width: ?(\d+(?:\.\d+)?)px\)")


def _condition_order(entry: SizesEntry) -> tuple[int, float]:
    """Sort so that the first condition that holds is the narrowest: others as given, max-width up, min-width down."""
    match = _BOUND.fullmatch(entry.condition)
    if match is None:
        return (0, 0.0)
    bound = float(match[2])
    return (1, bound) if match[1] == "max" else (2, -bound)


def _background(value: Any) -> str | None:
    if value is None:
        return None
    from PIL import ImageColor  # only here: making an Img loads no image library otherwise

    try:
        colour = ImageColor.getrgb(value)
    except (ValueError, TypeError, AttributeError) as exc:
        raise SpecError(f"background: {shown(value)} is not a CSS colour such as 'white' or '#ffcc00'") from exc
    if len(colour) == 4 and colour[3] != 255:
        raise SpecError(f"background: {shown(value)} is itself transparent")
    return "#{:02x}{:02x}{:02x}".format(*colour[:3])


def _alt(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise SpecError(f"alt: {shown(value)} is not a string")
    return value


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
    "contain": _boolean("contain"),
    "window": _window,
    "upscale": _boolean("upscale"),
    "quality": _quality,
    "effort": _choice("effort", *EFFORTS),
    "format": lambda value: _format_name("format", value),
    "formats": _formats,
    "densities": _densities,
    "sizes": _sizes,
    "widths": _widths,
    "layout": _choice("layout", *LAYOUTS, None),
    "background": _background,
    "alt": _alt,
    "img_attrs": _img_attrs,
    "loading": _choice("loading", "lazy", "eager", None),
    "decoding": _choice("decoding", "async", "sync", "auto", None),
    "fetchpriority": _choice("fetchpriority", "high", "low", "auto", None),
    "priority": _boolean("priority"),
}
assert set(_PARSERS) == {field.name for field in fields(ImgOptions)}, "every option has a parser"

OPTION_NAMES: Final = tuple(_PARSERS)
"""The names of all options, in the order of the documentation."""
