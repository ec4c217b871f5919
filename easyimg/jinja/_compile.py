"""What templates compile to: the bodies of extension tags are resolved at their end, and bytecode is kept apart."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from typing import Any

from jinja2 import BytecodeCache, Environment, nodes
from jinja2.bccache import Bucket
from jinja2.compiler import CodeGenerator, Frame, MacroRef

from easyimg.page import Page, active_page


class _Bodies(CodeGenerator):
    """Hands an extension (``{% cache %}`` and the like) a body that gives finished HTML: it may keep it."""

    def macro_def(self, macro_ref: MacroRef, frame: Frame) -> None:
        call = getattr(macro_ref.node, "call", None)
        if isinstance(call, nodes.Call) and isinstance(call.node, nodes.ExtensionAttribute):
            self.write("environment.easyimg_body(")
            super().macro_def(macro_ref, frame)
            self.write(")")
        else:
            super().macro_def(macro_ref, frame)


def body_code_generator(base: type[CodeGenerator]) -> type[CodeGenerator]:
    """Return the environment's code generator with ours below it."""
    if issubclass(base, _Bodies):
        return base
    return _Bodies if base is CodeGenerator else type(base.__name__, (base, _Bodies), {"__module__": base.__module__})


class resolved_body:  # noqa: N801 - called like a function by compiled templates
    """The ``caller`` of an extension's tag, whose result holds no token. Otherwise it is the macro it wraps."""

    def __init__(self, macro: Any) -> None:
        self._macro = macro

    def __getattr__(self, name: str) -> Any:
        return getattr(self._macro, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        text = self._macro(*args, **kwargs)
        page = active_page()
        if page is None:
            return text
        return _resolve_later(page, text) if inspect.isawaitable(text) else page.resolve(text)


async def _resolve_later(page: Page, text: Awaitable[str]) -> str:
    return await page.aresolve(await text)


def own_bytecode_cache(cache: BytecodeCache | None) -> BytecodeCache | None:
    """Return the cache under names of our own: code that was compiled before ``install`` would print no tokens."""
    return cache if cache is None or isinstance(cache, _OwnNames) else _OwnNames(cache)


class _OwnNames(BytecodeCache):
    def __init__(self, cache: BytecodeCache) -> None:
        self._cache = cache

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)

    def get_bucket(self, environment: Environment, name: str, filename: str | None, source: str) -> Bucket:
        return self._cache.get_bucket(environment, f"easyimg:{name}", filename, source)

    def set_bucket(self, bucket: Bucket) -> None:
        self._cache.set_bucket(bucket)

    def clear(self) -> None:
        self._cache.clear()
