"""Any allowed options of an Img, as a Hypothesis strategy; any source with any subset of its variants built, by chance.

Only the options are drawn by Hypothesis, which takes ten times as long for a value and shrinks what fails.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from hypothesis import assume
from hypothesis import strategies as st

from easyimg.attributes import TOKEN_CLOSE, TOKEN_OPEN
from easyimg.checks import WIDTHS
from easyimg.errors import SpecError
from easyimg.img import Img
from easyimg.media import meaning_of, parse_condition, parse_media
from easyimg.options import CROPS, RATIOS
from easyimg.plan import Plan
from easyimg.preview import Preview
from easyimg.source import Source, SourceInfo
from easyimg.spec import VariantSpec
from easyimg.variant import SourceRecord, Variant, VariantStatus

# No characters that HTML itself cannot carry, and none of ours, which are taken out.
text = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0\r" + TOKEN_OPEN + TOKEN_CLOSE), max_size=12
)
attribute_names = st.sampled_from(
    ["class", "title", "id", "lang", "data_a", "data-b", "aria-label", "itemprop", "@click", ":x"]
)
attributes = st.dictionaries(attribute_names, text | st.integers(-9, 9) | st.booleans() | st.none(), max_size=3)


def _once(entries: dict[Any, Any], parse: Callable[[str, Any], str]) -> dict[Any, Any]:
    """Return entries with no condition written in two ways."""
    return dict({meaning_of(parse("", key)): (key, entry) for key, entry in entries.items()}.values())


_conditions = st.integers(1, 2000) | st.sampled_from(
    [
        *("(min-width: 700px)", "(min-width: 40em)", "(orientation: portrait)", "not (hover: hover)"),
        *("(max-width: 500px)", "(MAX-WIDTH:30em)", "(width <= 500px)", "(40rem < width)", "(90px <= width < 300px)"),
    ]
)
_widths = st.integers(1, 1200) | st.sampled_from(list(WIDTHS))
_qualities = st.integers(1, 100) | st.dictionaries(st.sampled_from(["jpeg", "webp", "avif"]), st.integers(1, 100))
_plain_sizes = st.dictionaries(_conditions, _widths, max_size=4).map(lambda sizes: _once(sizes, parse_condition))
_sizes = st.dictionaries(
    _conditions, _widths | st.fixed_dictionaries({"width": _widths}, optional={"quality": _qualities}), max_size=4
).map(lambda sizes: _once(sizes, parse_condition))
_densities = st.lists(st.sampled_from([1, 1.5, 2, 3, 4]) | st.floats(1, 5, allow_subnormal=False), max_size=4)
_ratios = st.sampled_from(list(RATIOS)) | st.tuples(st.integers(1, 30), st.integers(1, 30)) | st.floats(0.2, 5)
_ANYTIME: dict[str, st.SearchStrategy[Any]] = {
    "window": st.sampled_from([(0, 0, 1, 1), (0.1, 0.2, 0.6, 0.9), (0, 0.5, 0.01, 1)]),
    "upscale": st.booleans(),
    "quality": _qualities,
    "background": st.sampled_from(["white", "#123456", None]),
    "img_attrs": attributes,
}
_LOADING: dict[str, st.SearchStrategy[Any]] = {
    "loading": st.sampled_from(["lazy", "eager", None]),
    "decoding": st.sampled_from(["async", "sync", "auto", None]),
    "fetchpriority": st.sampled_from(["high", "low", "auto", None]),
}


_formats = st.sampled_from(["webp", "avif", "jpeg", "png"])
_sizes_texts = st.sampled_from(
    [
        *("100vw", "(max-width: 600px) 100vw, 50vw", "(min-width: 60em) calc(50vw - 2rem), 90vw"),
        "(400px <= width < 60em) min(100vw, calc(50vw + (2rem))), 50VI",
    ]
)
_file_widths = st.lists(_widths, min_size=1, max_size=6, unique_by=lambda width: WIDTHS.get(width, width))
_Options = st.SearchStrategy[dict[str, Any]]


_SLOTS: list[_Options] = [
    st.just({}),
    st.fixed_dictionaries({"width": _widths}, optional={"densities": _densities, "sizes": _sizes}),
    st.fixed_dictionaries({"widths": _file_widths, "sizes": _sizes_texts}, optional={"width": _widths}),
    st.fixed_dictionaries({"widths": _file_widths, "sizes": _plain_sizes, "width": _widths}),
    st.fixed_dictionaries({"width": _widths, "layout": st.sampled_from(["fixed", "constrained", "full-width"])}),
    st.just({"layout": "full-width"}),
    st.fixed_dictionaries({"layout": st.just("full-width"), "widths": _file_widths}),
]
_SHAPES: list[_Options] = [
    st.just({}),
    st.fixed_dictionaries({"ratio": _ratios, "crop": st.sampled_from([True, "smart", (0.3, 0.9), *CROPS])}),
    st.fixed_dictionaries({"ratio": _ratios, "crop": st.just(False), "contain": st.booleans()}),
]
_FORMATS: list[_Options] = [
    st.fixed_dictionaries({}, optional={"format": _formats}),
    st.fixed_dictionaries({"formats": st.lists(_formats, min_size=1, max_size=3, unique=True)}),
    st.fixed_dictionaries({"animated": st.just(True)}, optional={"formats": st.permutations(["avif", "webp", "jpeg"])}),
]
_media = _conditions | st.sampled_from(
    ["print", "not print", "screen and (orientation: portrait)", "print, (width < 300px)", *WIDTHS]
)
_art_sources: dict[str, st.SearchStrategy[Any]] = {"source": st.sampled_from(["b.jpeg", "b.png", "b.svg", "", None])}
_entries = st.builds(
    lambda *parts: {name: value for part in parts for name, value in part.items() if name != "img_attrs"},
    st.one_of(_SLOTS),
    st.one_of(_SHAPES),
    st.fixed_dictionaries({}, optional=_ANYTIME),
    st.fixed_dictionaries({}, optional=_art_sources),
)
_art = st.dictionaries(_media, _entries, max_size=3).map(lambda art: _once(art, parse_media))
_placeholders = st.sampled_from(["color", "blur"])
_IMPORTANCE: list[_Options] = [st.just({"priority": True}), st.fixed_dictionaries({}, optional=_LOADING)]


@st.composite
def img_options(draw: st.DrawFn) -> dict[str, Any]:
    """Return options that ``Img`` accepts."""
    options: dict[str, Any] = {}
    for part in (_SLOTS, _SHAPES, _FORMATS, _IMPORTANCE):
        options |= draw(st.one_of(part))
    options |= draw(st.fixed_dictionaries({}, optional=_ANYTIME | {"art": _art, "placeholder": _placeholders}))
    for each in (options, *options.get("art", {}).values()):
        if each.get("widths") and each.get("sizes") == {}:  # which says nothing of the slot
            del each["widths"]
    assume(not _is_too_high(options))
    return options


def _is_too_high(options: dict[str, Any]) -> bool:
    """Return whether some file would be: only width, densities, ratio and ``upscale`` together say so."""
    try:
        Img(**options)
    except SpecError as exc:
        if "no side may be longer" in str(exc):
            return True
        raise
    return False


def made_up_source(random: Random) -> tuple[Source, SourceInfo]:
    """Return a source and its facts."""
    form = random.choice(["jpeg", "jpeg", "png", "webp", "gif", "tiff", "svg"])
    return Source("default", f"a/shoe.{form}"), _made_up_info(random, form)


def _made_up_info(random: Random, form: str) -> SourceInfo:
    longest = random.choice([3, 300, 4000])
    has_alpha = form == "png" and random.random() < 0.5
    frames = random.choice([1, 5]) if form in ("gif", "webp", "png") else 1
    return SourceInfo(random.randint(1, longest), random.randint(1, longest), form, has_alpha=has_alpha, frames=frames)


class Known(NamedTuple):
    """A source's facts, and its row; ``record.info`` is None while nobody knows them."""

    info: SourceInfo
    record: SourceRecord


def made_up_records(random: Random, plan: Plan, source: Source, info: SourceInfo) -> list[Known]:
    """Return the rows of a source, and of those that its art direction shows, with any variants in any state.

    Files have the size their spec says. Where nothing is built, the facts may be unknown: a build records them.
    """
    specs = {source: _specs(plan, source)}
    for entry in plan.art:
        shown = entry.source or source
        specs.setdefault(shown, {}).update(_specs(entry.plan, shown))
    facts = {each: info if each == source else _made_up_info(random, each.name.rpartition(".")[2]) for each in specs}
    return [Known(facts[each], _made_up_record(random, each, facts[each], specs[each])) for each in specs]


def _specs(plan: Plan, source: Source) -> dict[str, VariantSpec]:
    return dict(zip(plan.keys(source.address), plan.specs, strict=True))


def _made_up_record(random: Random, source: Source, info: SourceInfo, specs: dict[str, VariantSpec]) -> SourceRecord:
    rows = {}
    built = random.choice([0.1, 0.5, 0.9, 1])
    for key, spec in specs.items():
        if random.random() < built:
            if info.format != "svg":  # of which nothing is ever built
                form, size = spec.actual_format(info.has_alpha, info.is_animated), spec.frame(info.size).size
                rows[key] = Variant(key, VariantStatus.BUILT, "default", f"img/{key}.{form}", form, *size)
        elif random.random() < 0.7:  # else not even ordered
            rows[key] = Variant(key, random.choice([s for s in VariantStatus if s != VariantStatus.BUILT]))
    is_known = any(row.width for row in rows.values()) or random.random() < 0.5
    blur = random.choice(["", "0 0 1 1 ", "0.1667 0 0.8333 1 "])
    preview = Preview("#a0b1c2", blur and blur + "A+/=" * 100) if random.random() < 0.7 else None
    return SourceRecord(source.id, 1, info if is_known else None, None, "", rows, preview, is_previewed=True)
