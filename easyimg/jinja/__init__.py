"""Jinja2: the ``img()`` global, and one metadata query per page with no help from the author.

``img()`` gives a lazy :class:`~easyimg.bound.BoundImg`. Printed with ``{{ }}``, it becomes a short token while the
template runs; at the end of ``render()`` all tokens of the page are looked up in one query and replaced by their HTML.
What needs the text earlier (``~``, ``format``, ``{% trans %}``) gets it at once, and so does what the process remembers
from earlier pages. The result is always the same as if every image had been rendered where it stands.

>>> from easyimg.jinja import install
>>> install(env)                                               # Flask: app.jinja_env; Starlette: templates.env
>>> env.from_string('{{ img(photo, width=300, alt="Red shoe") }}').render(photo="shoe.jpg")

Where the parts are: ``easyimg.recipes`` the ``img()`` function, ``easyimg.page`` tokens and what becomes of them,
``_template`` the entry points of a template, ``_finalize`` what ``{{ }}`` prints, ``_filters`` and ``_compile`` the
places where a token could be taken for text; ``_compile`` also has ``{{ img() }}`` take a short way, and ``_async``
awaits what would hold an event loop up.
"""

from __future__ import annotations

from jinja2 import Environment, Template, Undefined
from jinja2.nativetypes import NativeCodeGenerator, NativeEnvironment

from easyimg.attributes import add_absent_kind
from easyimg.errors import ConfigError
from easyimg.jinja._async import called, looked_up, ready
from easyimg.jinja._compile import code_generator, own_bytecode_cache, resolved_body
from easyimg.jinja._filters import PageFilters
from easyimg.jinja._finalize import wrap_finalize
from easyimg.jinja._template import PageTemplate
from easyimg.ports import App
from easyimg.recipes import TemplateImages, printed
from easyimg.source import add_source_kind

__all__ = ["install"]


def install(env: Environment, app: App | None = None) -> None:
    """Give an environment the globals ``img()``, ``img_url()`` and ``img_preload()``, batched by page.

    Keeps the environment's own ``finalize``, template class and filters, and wraps them; forgets templates that are
    compiled already. Calling it again only changes the app. Do it once, before the first page is rendered.

    Args:
        env: any Jinja2 environment: sandboxed, async, an overlay.
        app: the EasyImg to use; None = the current one at each render.

    Raises:
        ConfigError: the environment is a NativeEnvironment, whose results are not text.
    """
    if isinstance(env, NativeEnvironment) or issubclass(env.code_generator_class, NativeCodeGenerator):
        raise ConfigError("easyimg.jinja: a NativeEnvironment makes Python values, not HTML; use another Environment")
    add_absent_kind(Undefined)
    add_source_kind(Undefined, lambda value: value or None)  # an empty source; a StrictUndefined raises here
    _unshare(env)
    images = TemplateImages(app)
    env.globals.update(img=images.img, img_url=images.img_url, img_preload=images.img_preload)
    env.extend(easyimg=images, easyimg_body=resolved_body, easyimg_printed=printed)
    env.extend(easyimg_called=called, easyimg_looked_up=looked_up, easyimg_ready=ready)
    env.finalize = wrap_finalize(env.finalize)
    env.template_class = _page_template(env.template_class)
    env.code_generator_class = code_generator(env.code_generator_class)
    env.bytecode_cache = own_bytecode_cache(env.bytecode_cache)
    if not isinstance(env.filters, PageFilters):
        env.filters = PageFilters(env.filters)
    if env.cache is not None:
        env.cache.clear()


def _unshare(env: Environment) -> None:
    """Give an overlay its own globals and filters: what is installed there stays there."""
    linked = env.linked_to
    if linked is not None and env.globals is linked.globals:
        env.globals = dict(env.globals)


def _page_template(base: type[Template]) -> type[Template]:
    """Return the environment's template class with our entry points below it: its own overrides see finished HTML."""
    if issubclass(base, PageTemplate):
        return base
    if base is Template:
        return PageTemplate
    return type(base.__name__, (base, PageTemplate), {"__module__": base.__module__, "__doc__": base.__doc__})
