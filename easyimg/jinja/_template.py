"""PageTemplate: the entry points of a template. Each one resolves the images that it printed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, closing, contextmanager
from typing import Any, Final

from jinja2 import Template
from jinja2.environment import TemplateModule
from jinja2.runtime import Context

from easyimg.attributes import TOKEN_CLOSE, TOKEN_OPEN
from easyimg.page import Page, active_page

FLUSH_IMAGES: Final = 50
FLUSH_CHARACTERS: Final = 64 * 1024
"""A stream holds text back from its first open image on, up to these limits; then one query resolves it."""

_SHOWS_IMAGES = "_easyimg_shows_images"


class PageTemplate(Template):
    """A template whose results hold no token. Includes, inheritance, macros and imports are part of its page."""

    def render(self, *args: Any, **kwargs: Any) -> str:
        """Render, and resolve all images with one query."""
        if self.environment.is_async:
            return super().render(*args, **kwargs)  # runs render_async
        page = self._page()
        with page.active():
            text = super().render(*args, **kwargs)
        text = page.resolve(text)
        page.close()
        return text

    async def render_async(self, *args: Any, **kwargs: Any) -> str:
        """Render, and resolve all images with one query, in a thread."""
        page = self._page()
        with page.active():
            text = await super().render_async(*args, **kwargs)
        text = await page.aresolve(text)
        page.close()
        return text

    def generate(self, *args: Any, **kwargs: Any) -> Iterator[str]:
        """Yield text; images are resolved in groups, each with one query."""
        if self.environment.is_async:
            yield from super().generate(*args, **kwargs)  # runs generate_async
            return
        page = self._page()
        held = _Held(page)
        with closing(super().generate(*args, **kwargs)) as pieces:  # type: ignore[type-var]
            while not held.ended:
                with page.active():
                    text = held.fill(pieces)
                if text:
                    yield page.resolve(text)
        page.close()

    async def generate_async(self, *args: Any, **kwargs: Any) -> AsyncIterator[str]:  # type: ignore[override]
        """Yield text; images are resolved in groups, each with one query, in a thread."""
        page = self._page()
        held = _Held(page)
        async with aclosing(super().generate_async(*args, **kwargs)) as pieces:
            while not held.ended:
                with page.active():
                    text = await held.afill(pieces)
                if text:
                    yield await page.aresolve(text)
        page.close()

    def make_module(
        self,
        vars: dict[str, Any] | None = None,
        shared: bool = False,
        locals: Mapping[str, Any] | None = None,
    ) -> TemplateModule:
        """Return a module. What its body makes may be kept, also by its macros: images are rendered at once."""
        with self._module_body() as page:
            module = super().make_module(_finished(page, vars), shared, _finished(page, locals))
            _mark(module, page)
        return module

    async def make_module_async(
        self,
        vars: dict[str, Any] | None = None,
        shared: bool = False,
        locals: Mapping[str, Any] | None = None,
    ) -> TemplateModule:
        """Return a module. The images of its body wait with those of the page that imports it.

        They could not be rendered at once without asking on the event loop. Where no page imports it, they are.
        """
        page = active_page()
        if page is not None:
            module = await super().make_module_async(vars, shared, locals)
            _mark(module, page)
            return module
        with self._module_body() as page:
            module = await super().make_module_async(_finished(page, vars), shared, _finished(page, locals))
            _mark(module, page)
        return module

    @property
    def module(self) -> TemplateModule:
        """The template as a module; images in it are rendered at once."""
        with self._module_body():
            return self._get_default_module()

    def _get_default_module(self, ctx: Context | None = None) -> TemplateModule:
        page = self._including_page(ctx)
        if page is None:
            return self._not_kept(super()._get_default_module(ctx))
        before, context = page.made, self.new_context()
        return self._included(page, before, TemplateModule(self, context, list(self.root_render_func(context))))

    async def _get_default_module_async(self, ctx: Context | None = None) -> TemplateModule:
        page = self._including_page(ctx)
        if page is None:
            return await self._imported_async(ctx)
        before, context = page.made, self.new_context()
        pieces: Any = self.root_render_func(context)
        return self._included(page, before, TemplateModule(self, context, [piece async for piece in pieces]))

    async def _imported_async(self, ctx: Context | None) -> TemplateModule:
        """Do what Jinja2 does, but never show others a module that holds tokens of one page, not for a moment."""
        new = ctx.globals_keys - self.globals.keys() if ctx is not None else ()
        if ctx is not None and new:
            return await self.make_module_async({key: ctx.parent[key] for key in new})
        if self._module is not None:
            return self._module
        module = await self.make_module_async()
        if not getattr(module, _SHOWS_IMAGES, False):
            self._module = module
        return module

    def _including_page(self, ctx: Context | None) -> Page | None:
        """Return the page that is including this template without context; None in all other cases.

        Jinja2 takes such an include from the body of the module that it keeps; an import passes its context instead.
        """
        page = active_page()
        return None if ctx is not None or self._module is not None or page is None or page.is_eager else page

    def _included(self, page: Page, before: int, module: TemplateModule) -> TemplateModule:
        """Let Jinja2 keep the module, as it would, unless it holds tokens of this page."""
        if page.made == before:
            self._module = module
        return module

    def _not_kept(self, module: TemplateModule) -> TemplateModule:
        """Let Jinja2 forget a module whose body showed images: it would show them as they were today for ever."""
        if self._module is module and getattr(module, _SHOWS_IMAGES, False):
            self._module = None
        return module

    def _page(self) -> Page:
        environment: Any = self.environment
        return Page(environment.easyimg.app, is_async=environment.is_async)

    @contextmanager
    def _module_body(self) -> Iterator[Page]:
        page = active_page()
        if page is not None:
            with page.eager():
                yield page
            return
        page = self._page()
        with page.active(), page.eager():
            yield page
        page.close()


class _Held:
    """Text on its way out of a stream, held back while it has open images."""

    def __init__(self, page: Page) -> None:
        self.ended = False
        self._page = page
        self._resolved = 0

    def fill(self, pieces: Iterator[str]) -> str:
        """Return the next text to resolve and send."""
        taken: list[str] = []
        for piece in pieces:
            if self._is_enough(taken, piece):
                break
        else:
            self.ended = True
        return "".join(taken)

    async def afill(self, pieces: AsyncIterator[str]) -> str:
        """Return the next text to resolve and send."""
        taken: list[str] = []
        async for piece in pieces:
            if self._is_enough(taken, piece):
                break
        else:
            self.ended = True
        return "".join(taken)

    def _is_enough(self, taken: list[str], piece: str) -> bool:
        taken.append(piece)
        if len(taken) == 1:
            self._size = 0
        self._size += len(piece)
        open_images = self._page.waiting - self._resolved
        if 0 < open_images < FLUSH_IMAGES and self._size < FLUSH_CHARACTERS:
            return False
        self._resolved = self._page.waiting
        return True


def _finished(page: Page, values: Mapping[str, Any] | None) -> Any:
    """Return a context's values with no token in their strings."""
    if not values or not page.waiting:
        return values
    open_ = {n: page.resolve(v) for n, v in values.items() if isinstance(v, str) and _has_token(v)}
    return {**values, **open_} if open_ else values


def _has_token(text: str) -> bool:
    return TOKEN_OPEN in text or TOKEN_CLOSE in text


def _mark(module: TemplateModule, page: Page) -> None:
    if page.made:
        module.__dict__[_SHOWS_IMAGES] = True
