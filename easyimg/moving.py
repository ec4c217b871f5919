"""Presets from the settings of other thumbnail libraries: easy-thumbnails, sorl-thumbnail, django-imagekit.

None of them is imported. A translation says the same slot, crop and quality in easyimg's options; what easyimg does
anyway (upright, two densities, a modern format beside JPEG) is not said. What has no counterpart is left out with a
:class:`MovingWarning`; what cannot be understood is a SpecError that names the preset.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from easyimg.errors import SpecError, did_you_mean, shown
from easyimg.options import parse_options
from easyimg.spec import MAX_SIDE

Presets = dict[str, dict[str, Any]]
"""Name -> options of Img: what the setting ``presets`` takes."""

_TALL: Final = 10
"""A box of a height alone is that many times as wide: panoramas fit in as well."""

_SQUEEZED: Final = 2
"""Densities that such a box is made for, where its width comes near the limit of files."""


class MovingWarning(UserWarning):
    """Something in another library's settings has no counterpart in easyimg, and was left out."""


def presets_from_easy_thumbnails(aliases: Mapping[str, Mapping[str, Any]]) -> Presets:
    """Return presets for the ``THUMBNAIL_ALIASES`` of easy-thumbnails.

    Args:
        aliases: target -> alias -> options. Aliases for the whole project (target ``""``) keep their names; those of a
            target get it in front: ``"shop.Product.photo.small"``.

    Raises:
        SpecError: an alias has no size, or an option that cannot be understood.
    """
    flat = {
        f"{target}.{alias}" if target else alias: options
        for target, named in aliases.items()
        for alias, options in named.items()
    }
    return _presets("easy-thumbnails", flat, _easy_thumbnails)


def presets_from_sorl(thumbnails: Mapping[str, Any]) -> Presets:
    """Return presets for geometries and options of sorl-thumbnail, which has no names of its own for them.

    Args:
        thumbnails: name -> what stands in ``{% thumbnail %}``: ``"300x200"``, or ``("300x200", {"crop": "center"})``.

    Raises:
        SpecError: a geometry or an option cannot be understood.
    """
    return _presets("sorl-thumbnail", thumbnails, _sorl)


def presets_from_imagekit(specs: Mapping[str, Any]) -> Presets:
    """Return presets for the image specs of django-imagekit.

    Args:
        specs: name -> an ``ImageSpec`` class, an ``ImageSpecField``, or a mapping with ``processors``, ``format`` and
            ``options``.

    Raises:
        SpecError: a spec resizes nothing, or a processor's arguments cannot be understood.
    """
    return _presets("django-imagekit", specs, _imagekit)


class _Translation:
    """The options found so far, what was left out, and where to complain."""

    def __init__(self, library: str, name: str) -> None:
        self._where = f"{library} {shown(name)}"
        self.options: dict[str, Any] = {}
        self.left_out: list[str] = []

    def error(self, text: str) -> SpecError:
        return SpecError(f"{self._where}: {text}")

    def leave_out(self, what: str, instead: str = "") -> None:
        self.left_out.append(f"{self._where}: {what} has no counterpart and is left out{instead and '; ' + instead}")

    def box(self, width: Any, height: Any, *, crop: Any = False, covers: bool = False) -> None:
        """Say a box: filled where there is a crop, else fitted into, or covered."""
        for side in (width, height):
            if side and not (isinstance(side, int) and 0 < side <= MAX_SIDE):
                raise self.error(f"{shown(side)} is no number of pixels")
        if not width and not height:
            raise self.error("no width and no height")
        if not height:
            self.options["width"] = width
        elif not width:
            times = min(_TALL, MAX_SIDE // (_SQUEEZED * height)) or 1
            self.options |= {"width": height * times, "ratio": (times, 1), "crop": False}
        else:
            self.options |= {"width": width, "ratio": (width, height), "crop": crop}
            if covers:
                self.options["contain"] = False


def _presets(library: str, values: Mapping[str, Any], translate: Callable[[_Translation, Any], None]) -> Presets:
    """Return the translation of each value; called by the public functions, whose callers are warned."""
    found: Presets = {}
    for name, value in values.items():
        to = _Translation(library, name)
        translate(to, value)
        try:
            parse_options(to.options)
        except SpecError as exc:
            raise to.error(str(exc)) from exc
        for text in to.left_out:
            warnings.warn(MovingWarning(text), stacklevel=3)
        found[name] = to.options
    return found


# easy-thumbnails.

_ET_NOTHING: Final = frozenset(
    {"subsampling", "keep_icc_profile", "progressive", "autocrop_threshold", "HIGH_RESOLUTION"}
)
_ET_LOST: Final = {
    "bw": "CSS can: filter: grayscale(1)",
    "autocrop": "",
    "detail": "",
    "sharpen": "",
}


def _easy_thumbnails(to: _Translation, options: Any) -> None:
    if not isinstance(options, Mapping):
        raise to.error(f"{shown(options)} is not a dict of options")
    size = options.get("size")
    if isinstance(size, str):
        size = [int(part) if part.isdecimal() else part for part in size.split("x")]
    if not isinstance(size, Sequence) or len(size) != 2:
        raise to.error(f"size: {shown(size)} is not (width, height)")
    crop = options.get("crop")
    to.box(*size, crop=_edges(to, crop, options.get("target")), covers=crop == "scale")
    if options.get("zoom"):
        half = 50 / (100 + float(options["zoom"]))
        to.options["window"] = (0.5 - half, 0.5 - half, 0.5 + half, 0.5 + half)
    _take_over(to, options, {"upscale": "upscale", "quality": "quality", "replace_alpha": "background"})
    if options.get("background"):
        to.leave_out("background (bars around the picture)", "CSS can: object-fit: contain")
    known = {"size", "crop", "target", "zoom", "background", "upscale", "quality", "replace_alpha"}
    _rest(to, options, known, _ET_NOTHING, _ET_LOST)


def _edges(to: _Translation, crop: Any, target: Any) -> Any:
    """Return the crop: along an edge, around a target, or smart."""
    if not crop or crop == "scale":
        return False
    if crop == "smart":
        return "smart"
    found = re.fullmatch(r"(-?)(\d+)?,(-?)(\d+)?", crop) if isinstance(crop, str) else None
    if found and (found[2] or found[4]):
        if any(int(offset or 0) for offset in (found[2], found[4])):
            to.leave_out(f"the offset in crop={crop!r}", "the crop begins at the edge")
        x, y = (0.5 if offset is None else float(bool(sign)) for sign, offset in (found.group(1, 2), found.group(3, 4)))
        return (x, y)
    point = re.fullmatch(r"(\d+)?,(\d+)?", target) if isinstance(target, str) else None
    if point:
        return tuple(int(part or 50) / 100 for part in point.groups())
    return True


# sorl-thumbnail.

_SORL_NOTHING: Final = frozenset({"progressive", "orientation", "image_info", "cropbox_info", "padding_color"})
_SORL_LOST: Final = {
    "cropbox": "window= takes fractions of the original",
    "padding": "CSS can: object-fit: contain",
    "rounded": "CSS can: border-radius",
    "blur": "CSS can: filter: blur()",
    "remove_border": "",
}
_X: Final = {"left": 0.0, "center": 0.5, "right": 1.0}
_Y: Final = {"top": 0.0, "center": 0.5, "bottom": 1.0}


def _sorl(to: _Translation, value: Any) -> None:
    geometry, options = (value, {}) if isinstance(value, str) else value
    found = re.fullmatch(r"(\d+)?(?:x(\d+))?", str(geometry))
    if found is None or not str(geometry):
        raise to.error(f"{shown(geometry)} is not a geometry such as '300x200', '300' or 'x200'")
    width, height = (part and int(part) for part in found.groups())
    to.box(width, height, crop=_position(to, options.get("crop")))
    _take_over(to, options, {"quality": "quality"})
    if options.get("upscale"):
        to.options["upscale"] = True
    _format(to, options.get("format"))
    if options.get("colorspace") not in (None, "RGB"):
        to.leave_out(f"colorspace={options['colorspace']!r}", "CSS can: filter: grayscale(1)")
    known = {"crop", "quality", "upscale", "format", "colorspace"}
    _rest(to, options, known, _SORL_NOTHING, _SORL_LOST)


def _position(to: _Translation, crop: Any) -> Any:
    """Return the crop that a position like CSS's says: the same at the edges and in the middle."""
    if not crop or crop == "noop":
        return False
    if crop == "smart":
        return "smart"
    words = str(crop).split()
    if len(words) == 1:
        words = [words[0], "center"] if words[0] in _X else ["center", words[0]] if words[0] in _Y else words * 2
    if len(words) != 2:
        raise to.error(f"crop: {shown(crop)} is not a position")
    point = tuple(_share(to, crop, word, names) for word, names in zip(words, (_X, _Y), strict=True))
    return True if point == (0.5, 0.5) else point


def _share(to: _Translation, crop: Any, word: str, names: Mapping[str, float]) -> float:
    if word in names:
        return names[word]
    found = re.fullmatch(r"(\d+)(%|px)", word)
    if found is None:
        raise to.error(f"crop: {shown(crop)} is not a position{did_you_mean(word, names)}")
    if found[2] == "px" and found[1] != "0":
        to.leave_out(f"pixels in crop={crop!r}", "the crop begins at the edge")
        return 0.0
    share = min(1.0, int(found[1]) / 100)
    if share not in (0.0, 0.5, 1.0):
        to.leave_out(f"the exact place of crop={crop!r}", f"the point at {share:g} is kept in view")
    return share


# django-imagekit.

_IK_PARTS: Final = ("processors", "options", "format")
_IK_NOTHING: Final = frozenset({"Transpose", "Convert"})
_IK_LOST: Final = {
    "Adjust": "CSS can: filter",
    "Reflection": "",
    "TrimBorderColor": "",
    "GaussianBlur": "CSS can: filter: blur()",
    "ColorOverlay": "",
    "AddBorder": "CSS can: border",
    "ResizeCanvas": "CSS can: padding",
    "Resize": "easyimg distorts nothing",
    "Crop": "window= takes fractions of the original",
    "SmartCrop": "crop='smart' needs a width",
}
_ANCHORS: Final = {"t": "t", "b": "b", "l": "l", "r": "r", "c": True, "tl": "tl", "tr": "tr", "bl": "bl", "br": "br"}


def _imagekit(to: _Translation, spec: Any) -> None:
    spec = getattr(spec, "_original_spec", None) or spec  # a field carries the class that it has made
    values = spec if isinstance(spec, Mapping) else {name: getattr(spec, name, None) for name in _IK_PARTS}
    for processor in _flat(values.get("processors") or ()):
        _process(to, processor)
    if "width" not in to.options:
        raise to.error("no processor resizes to a width or a height that easyimg could take")
    _take_over(to, values.get("options") or {}, {"quality": "quality"})
    _format(to, values.get("format"))


def _flat(processors: Any) -> Iterable[Any]:
    if not isinstance(processors, Iterable):
        return [processors]
    return [one for item in processors for one in (_flat(item) if isinstance(item, list | tuple) else [item])]


def _process(to: _Translation, processor: Any) -> None:
    name, values = type(processor).__name__, vars(processor)
    if name in ("ResizeToFill", "ResizeToFit", "ResizeToCover", "SmartResize", "Thumbnail"):
        _resize(to, name, values)
    elif name == "MakeOpaque":
        to.options["background"] = _colour(values.get("background_color"))
    elif name in _IK_LOST:
        to.leave_out(name, _IK_LOST[name])
    elif name not in _IK_NOTHING:
        to.leave_out(f"the processor {name}")


def _resize(to: _Translation, name: str, values: Mapping[str, Any]) -> None:
    crop: Any = False
    if name == "SmartResize" or (name == "Thumbnail" and values.get("crop") and values.get("anchor") == "auto"):
        crop = "smart"
    elif name == "ResizeToFill" or (name == "Thumbnail" and values.get("crop")):
        crop = _anchor(to, values.get("anchor"))
    to.box(values.get("width"), values.get("height"), crop=crop, covers=name == "ResizeToCover")
    if values.get("mat_color") is not None:
        to.leave_out("mat_color (bars around the picture)", "CSS can: object-fit: contain")


def _anchor(to: _Translation, anchor: Any) -> Any:
    if anchor is None:
        return True
    if isinstance(anchor, str):
        if anchor not in _ANCHORS:
            raise to.error(f"anchor: {shown(anchor)} is no anchor{did_you_mean(anchor, _ANCHORS)}")
        return _ANCHORS[anchor]
    point = tuple(anchor)
    if any(share not in (0, 0.5, 1) for share in point):
        to.leave_out(f"the exact place of anchor={point!r}", "that point is kept in view")
    return point


def _colour(value: Any) -> Any:
    return "rgb({}, {}, {})".format(*value[:3]) if isinstance(value, tuple | list) else value


# What they have in common.


def _format(to: _Translation, name: Any) -> None:
    """Take over a format, but for JPEG: that is what ``src`` is in any case, beside smaller files."""
    if name and str(name).upper() not in ("JPEG", "JPG"):
        to.options["format"] = str(name).lower()


def _take_over(to: _Translation, options: Mapping[str, Any], names: Mapping[str, str]) -> None:
    to.options |= {ours: options[theirs] for theirs, ours in names.items() if options.get(theirs) not in (None, False)}


def _rest(
    to: _Translation,
    options: Mapping[str, Any],
    known: Iterable[str],
    nothing: Iterable[str],
    lost: Mapping[str, str],
) -> None:
    """Say what is left out of the options that were not looked at."""
    for name, value in options.items():
        if name in known or name in nothing or value in (None, False):
            continue
        to.leave_out(f"{name}={shown(value)}", lost.get(name, ""))
