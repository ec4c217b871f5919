"""Filters see HTML, never tokens: string arguments are resolved before a filter is called."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from easyimg.attributes import TOKEN_CLOSE, TOKEN_OPEN
from easyimg.bound import BoundImg
from easyimg.jinja._async import ready
from easyimg.page import Page, active_page, in_thread

Filter = Callable[..., Any]

TRANSPARENT: Final = frozenset({"safe", "indent", "trim", "join", "e", "escape", "forceescape", "string"})
"""Filters that give the same around a token as around its HTML; they leave it open, so that they cost no query."""

_TAKES_TEXT: Final = frozenset({"length", "count", "tojson", "reverse", "list", "first", "last", "join"})
"""Filters that would look at an image as an object, or refuse it; they get its HTML."""

_LOOKS_INSIDE: Final = frozenset({"tojson", "pprint", "urlencode", "xmlattr"})
"""Filters that make one text of a whole list or dict."""

_COMPARES: Final = frozenset({"sort", "unique", "min", "max"})
"""Filters that compare the texts of a list."""

_ASKS_EACH: Final = frozenset({"selectattr", "rejectattr", "groupby"})
"""Filters that look at an attribute of each item; others do where they are told ``attribute=``."""


class PageFilters(dict[str, Filter]):
    """An environment's filters, each wrapped when it is looked up: those added later too."""

    def __init__(self, filters: Mapping[str, Filter]) -> None:
        super().__init__(filters)
        self._wrapped: dict[str, tuple[Filter, Filter]] = {}

    def __getitem__(self, name: str) -> Filter:
        function = super().__getitem__(name)
        known = self._wrapped.get(name)
        if known is None or known[0] is not function:
            known = self._wrapped[name] = (function, _wrap(name, function))
        return known[1]

    def get(self, name: str, default: Any = None) -> Any:
        """Return the wrapped filter of that name."""
        try:
            return self[name]
        except KeyError:
            return default


def _wrap(name: str, function: Filter) -> Filter:
    prepare = _Prepare(name, hasattr(function, "jinja_pass_arg"))

    def call(*args: Any, **kwargs: Any) -> Any:
        page = active_page()
        if page is not None and page.is_async and prepare.asks_each(args, kwargs):
            return call_later(page, args, kwargs)
        if page is None or not prepare.is_needed(args, kwargs):
            return function(*args, **kwargs)
        if page.is_async and not prepare.is_transparent(args, kwargs):
            return call_later(page, args, kwargs)
        args, kwargs = prepare(page, args, kwargs)
        return function(*args, **kwargs)

    async def call_later(page: Page, args: Any, kwargs: Any) -> Any:
        args, kwargs = await in_thread(prepare, page, args, kwargs)
        await ready((*args, *kwargs.values()))
        result = function(*args, **kwargs)
        return await result if inspect.isawaitable(result) else result

    async def call_coroutine(*args: Any, **kwargs: Any) -> Any:
        result = call(*args, **kwargs)
        return await result

    # Jinja2 calls what is no coroutine function while it compiles, where all arguments are constants.
    wrapper = call_coroutine if inspect.iscoroutinefunction(function) else call
    functools.update_wrapper(wrapper, function, updated=())
    for mark in ("jinja_pass_arg", "jinja_async_variant"):
        if hasattr(function, mark):
            setattr(wrapper, mark, getattr(function, mark))
    return wrapper


class _Prepare:
    """How one filter's arguments are made ready."""

    def __init__(self, name: str, takes_context: bool) -> None:
        self._name = name
        self._first = int(takes_context)

    def is_needed(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Return whether any argument may hold an image; cheap, as it is asked at every call."""
        if self._name == "join" or self._name in _LOOKS_INSIDE or self._name in _COMPARES:
            return True
        for value in args:  # any() takes three times as long
            if _holds(value):
                return True
        return bool(kwargs) and any(map(_holds, kwargs.values()))

    def asks_each(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Return whether it asks something of each image of a list, such as ``map(attribute="srcset")``."""
        if "attribute" not in kwargs and self._name not in _ASKS_EACH:
            return False
        items = args[self._first] if len(args) > self._first else None
        return isinstance(items, tuple | list) and any(isinstance(item, BoundImg) for item in items)

    def is_transparent(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Return whether tokens may stay: not where ``trim`` is told characters, or ``join`` joins those of a text."""
        if self._name == "join" and args and isinstance(args[self._first], str | BoundImg):
            return False
        return self._name in TRANSPARENT and not (self._name == "trim" and (kwargs or args[self._first + 1 :]))

    def __call__(
        self, page: Page, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments as the filter may see them."""
        at = self._first
        if self.is_transparent(args, kwargs):
            subject = (self._shown(page, args[at], len(args) <= at + 2 and "attribute" not in kwargs),)
            return (*args[:at], *subject, *args[at + 1 :]), kwargs
        deep = self._name in _LOOKS_INSIDE
        if self._name in _COMPARES and type(args[at]) in (list, tuple):
            args = (*args[:at], [_resolved(page, item, False) for item in args[at]], *args[at + 1 :])
        if isinstance(args[at], BoundImg) and self._name in _TAKES_TEXT:
            args = (*args[:at], args[at].as_html(), *args[at + 1 :])
        return tuple(_resolved(page, v, deep) for v in args), {n: _resolved(page, v, deep) for n, v in kwargs.items()}

    def _shown(self, page: Page, value: Any, whole: bool) -> Any:
        if isinstance(value, BoundImg):
            return page.show(value)
        if self._name == "join" and whole and isinstance(value, Iterable) and not isinstance(value, str):
            return (page.show(item) if isinstance(item, BoundImg) else item for item in value)
        return value


def _holds(value: Any) -> bool:
    if isinstance(value, str):
        return TOKEN_OPEN in value or TOKEN_CLOSE in value
    return isinstance(value, BoundImg)


def _resolved(page: Page, value: Any, deep: bool) -> Any:
    if isinstance(value, str):
        return page.resolve(value)
    if deep and isinstance(value, BoundImg):
        return value.as_html()
    if deep and type(value) in (list, tuple):
        return type(value)(_resolved(page, item, deep) for item in value)
    if deep and type(value) is dict:
        return {name: _resolved(page, item, deep) for name, item in value.items()}
    return value
