"""``img()`` and its sisters for templates: from a template's arguments to an image, with the options checked once."""

from __future__ import annotations

import logging
from ast import literal_eval
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from easyimg.attributes import check_alt, is_absent
from easyimg.bound import BoundImg, Tag, check_choice, remembered_html
from easyimg.current import current_app
from easyimg.errors import SpecError, shown
from easyimg.img import Img, preset
from easyimg.page import Page, PageImg, Way, active_page
from easyimg.piece import Choice
from easyimg.plan import Plan
from easyimg.ports import App
from easyimg.source import as_source

logger = logging.getLogger("easyimg")

MISSING: Final[Any] = object()
"""``alt`` where a template does not write it."""

MAX_RECIPES: Final = 2048
"""How many different sets of options are remembered."""


class _Recipe(NamedTuple):
    """What one set of options means. ``start`` is kept: as long as it lives, its id is its own."""

    img: Img
    tag: Tag
    start: Any


class TemplateImages:
    """The ``img()`` of templates, as a template language offers it under its own name. Thread-safe.

    Args:
        app: the EasyImg to use; None = the current one.
    """

    def __init__(self, app: App | None) -> None:
        self.app = app
        self._recipes: dict[Any, _Recipe] = {}

    def img(
        self,
        source: Any,
        preset: Any = None,
        *,
        alt: str | None = MISSING,
        build: Choice | None = None,
        immediate: bool = False,
        **options: Any,
    ) -> BoundImg:
        """Return an image for a template: lazy, with ``srcset``, ``sizes``, ``base_url()`` and more.

        Args:
            source: a name, a Source, a model's field; an empty or undefined one renders as ``""``.
            preset: the name of a preset in the settings, or an Img to start from.
            alt: what the picture shows; ``""`` for decoration. Required, here or in the preset. A value that turns
                out to be None or undefined is logged, and the image shown as decoration; ``strict`` raises.
            build: ``"src"``, ``"srcset"`` or ``"all"``: built before the page is finished.
            immediate: built before this call returns.
            **options: those of Img; ``img_class="rounded"`` adds an attribute.

        Raises:
            SpecError: an option or the source is not allowed, or ``alt`` is missing.
        """
        recipe = self._recipe(preset, options)
        choice = None if build is None else check_choice(build)
        bound = self._bind(recipe.img, recipe.img.plan, source, self._tag(recipe.tag, alt, source), choice)
        if immediate:
            bound.build(choice or "all")
        return bound

    def img_url(
        self,
        source: Any,
        preset: Any = None,
        *,
        format: str | None = None,
        root: str = "",
        build: Choice | None = None,
        **options: Any,
    ) -> BoundImg:
        """Return the URL of one file: in CSS, for Open Graph, in e-mails; see ``Img.url``.

        Args:
            source: as of ``img()``.
            preset: as of ``img()``.
            format: instead of the fallback format.
            root: put before URLs that begin with a slash.
            build: ``"src"``: built before the page is finished.
            **options: those of Img.

        Raises:
            SpecError: an option or the source is not allowed.
        """
        img = self._recipe(preset, options).img
        tag, plan = img.url_tag(root), img.url_plan(format)
        return self._bind(img, plan, source, tag, None if build is None else check_choice(build))

    def img_preload(self, source: Any, preset: Any = None, **options: Any) -> BoundImg:
        """Return the ``<link rel="preload">`` of an image, with the same arguments as its ``img()``.

        Raises:
            SpecError: an option or the source is not allowed, or the image is a lazy one.
        """
        recipe = self._recipe(preset, options)
        recipe.img.check_preload()
        return self._bind(recipe.img, recipe.img.plan, source, Tag(kind="preload", link=recipe.tag.link), None)

    def way(self, page: Page, function: Any, preset: Any, options: Mapping[str, Any]) -> Way | None:
        """Return a page's short way to images with these options; None where their Img brings a batch of its own.

        Raises:
            SpecError: an option is not allowed.
        """
        recipe = self._recipe(preset, options)
        img = recipe.img
        return None if img.batch is not None else page.way(function, img.app or self.app, img.plan, recipe.tag, preset)

    def _bind(self, img: Img, plan: Plan, source: Any, tag: Tag, choice: Choice | None) -> PageImg:
        bound = PageImg(plan, as_source(source), tag, None, choice)
        bound.app = img.app or self.app
        if img.batch is not None:
            bound.join(img.batch)
        page = active_page()
        if page is not None:
            page.made += 1
        return bound

    def _tag(self, tag: Tag, alt: Any, source: Any) -> Tag:
        """Return the tag of one image: its own ``alt``, or that of its recipe."""
        if alt is MISSING or is_absent(alt):
            if tag.alt is not None:
                return tag
            if alt is MISSING or self._settings().strict:
                raise SpecError(_NO_ALT)
            if source:
                _report(f"img(): alt of {shown(source)} is None or undefined; it is shown as decoration")
            alt = ""
        return Tag(check_alt(alt), *tag[1:])  # half the time of _replace

    def _recipe(self, start: Any, options: Mapping[str, Any]) -> _Recipe:
        """Return the recipe of a call; parsed only the first time."""
        if "art" in options:
            options = {**options, "art": _art(options["art"])}
        where = self._settings() if isinstance(start, str) else start
        try:
            key = _key(start, where, options)
            found = self._recipes.get(key)
        except TypeError:  # something that cannot be compared; it is refused below, or parsed each time
            return self._parse(start, options, where)
        if found is None:
            found = self._parse(start, options, where)
            if found.img.batch is None:  # which is for one page, and holds all of its images
                self._keep(key, found)
        return found

    def _parse(self, start: Any, options: Mapping[str, Any], where: Any) -> _Recipe:
        attributes = {name: value for name, value in options.items() if name.startswith("img_") and name != "img_attrs"}
        if attributes:
            # Attributes often differ from image to image; the recipe without them need not be parsed again.
            plain = {name: value for name, value in options.items() if name not in attributes}
            base = self._recipe(start, plain)
            return _Recipe(base.img, base.img.tag(None, attributes), where)
        made = self._make(start, options)
        return _Recipe(made, made.tag(None, {}), where)

    def _make(self, start: Any, options: Mapping[str, Any]) -> Img:
        for name in ("batch", "app"):
            if name in options:
                raise SpecError(f"img(): {name} is no option of a template; give the view's Img one: Img({name}=...)")
        if start is None:
            return Img(**options)
        if isinstance(start, Img):
            return start.extend(**options) if options else start
        if isinstance(start, str):
            return preset(str(start), self.app, **options)
        raise SpecError(f"img(): the second argument {shown(start)} is neither the name of a preset nor an Img")

    def _settings(self) -> Any:
        return (self.app or current_app()).settings

    def _keep(self, key: Any, recipe: _Recipe) -> None:
        if len(self._recipes) >= MAX_RECIPES:
            self._recipes.clear()
        self._recipes[key] = recipe


def printed(
    function: Any, site: str, /, source: Any = None, preset: Any = None, *, alt: Any = None, **options: Any
) -> str | None:
    """Return what printing ``img(...)`` gives while a page runs: its token, or HTML that the process remembers.

    None where the call itself has to be made and printed: by everything else, and for mistakes to be told.

    Args:
        function: what ``img`` is in this template.
        site: the arguments that never change, as the Python text of a dict.
        source, preset, alt: of the call.
        **options: the others that differ from call to call.
    """
    page = active_page()
    if page is None or page.is_eager:
        return None
    try:
        way = page.ways.get(site) if preset is None and not options else None
        if way is None or way.function is not function:
            way = _found(page, function, site, preset, options)
            if way is None:
                return None
        source = as_source(source)
    except Exception:  # noqa: BLE001 - the call itself meets it again, and tells it as calls do
        return None
    text = way.tag.alt if alt is None else alt
    if source is None or not isinstance(text, str):
        return None
    if way.recall is not None:
        html: str | None = way.recall(source.id, (way.noted_as, text))
        if html is None:
            html = remembered_html(way.batch.app, way.plan, source, way.tag, text)
        if html is not None:
            way.batch.remembered += 1
            page.made += 1
            return html
    return page.token(way, source, text)


def _found(page: Page, function: Any, site: str, preset: Any, options: dict[str, Any]) -> Way | None:
    """Return the way of such calls, made the first time; None where ``img`` is somebody else's.

    What is given to that is not looked at: it may be endless, or refuse to be.
    """
    images = getattr(function, "__self__", None)
    if type(images) is not TemplateImages or function != images.img:
        return None
    if "art" in options:
        options["art"] = _art(options["art"])
    asked: Any = (site, _key(preset, preset, options)) if options or preset is not None else site
    way = page.ways.get(asked)
    if way is None or way.function is not function:
        fixed = dict(_fixed(site))
        start = fixed.pop("preset", preset)
        way = images.way(page, function, start, {**fixed, **options})
        if way is not None:
            page.ways[asked] = way
    return way


@lru_cache(maxsize=MAX_RECIPES)
def _fixed(site: str) -> Mapping[str, Any]:
    found: dict[str, Any] = literal_eval(site)
    return found


def _art(art: Any) -> Any:
    """Return art direction with the addresses of its sources: a recipe is remembered by what they say in this call."""
    if not isinstance(art, Mapping):
        return art
    return {
        condition: {**entry, "source": _address(entry["source"])}
        if isinstance(entry, Mapping) and "source" in entry
        else entry
        for condition, entry in art.items()
    }


def _address(source: Any) -> Any:
    """Return the Source that an object names; anything else as it is, to be looked at with its condition's name."""
    try:
        return as_source(source)
    except SpecError:
        return source


_NO_ALT: Final = 'img(): alt is missing; write alt="what the picture shows", or alt="" for decoration'


def _report(message: str) -> None:
    """Log a message once."""
    if message not in _reported and len(_reported) < 1_000:
        _reported.add(message)
        logger.error("%s", message)


_reported: set[str] = set()
"""What this process has logged."""


def _key(start: Any, where: Any, options: Mapping[str, Any]) -> Any:
    """Return a key for a call's options: 1, 1.0 and True differ, lists and dicts are taken by what they hold now."""
    name = start if isinstance(start, str) else None
    types = tuple(map(type, options.values()))
    if _UNHASHABLE.isdisjoint(types):
        return name, id(where), tuple(options.items()), types
    return name, id(where), _frozen(dict(options))


_UNHASHABLE: Final = frozenset({dict, list, tuple})
"""What holds other values, whose types count as well."""


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return (dict, *[(name, _frozen(item)) for name, item in value.items()])
    if isinstance(value, list | tuple):
        return (type(value), *map(_frozen, value))
    hash(value)
    return (type(value), value)
