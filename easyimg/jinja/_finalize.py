"""``finalize``: what ``{{ }}`` prints. Ours turns images into tokens while a page runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from easyimg.bound import BoundImg
from easyimg.page import active_page


def wrap_finalize(finalize: Callable[..., Any] | None) -> Callable[..., Any]:
    """Return a ``finalize`` that does the user's and turns images into tokens while a page runs.

    Its ``easyimg_alone`` says whether there is none of the user's.
    """
    if getattr(finalize, "easyimg", False):
        assert finalize is not None
        return finalize
    wrapped = _plain_finalize() if finalize is None else _around(finalize)
    wrapped.easyimg = True  # type: ignore[attr-defined]
    wrapped.easyimg_alone = finalize is None  # type: ignore[attr-defined]
    return wrapped


def _plain_finalize() -> Callable[..., Any]:
    def finalize(value: Any) -> Any:
        if isinstance(value, BoundImg):
            page = active_page()
            return value if page is None else page.show(value)
        return value

    return finalize


def _around(inner: Callable[..., Any]) -> Callable[..., Any]:
    show = _plain_finalize()

    def finalize(*args: Any) -> Any:
        return show(inner(*args))

    if hasattr(inner, "jinja_pass_arg"):  # set by pass_context and its like: Jinja2 then passes two arguments
        finalize.jinja_pass_arg = inner.jinja_pass_arg  # type: ignore[attr-defined]
    return finalize
