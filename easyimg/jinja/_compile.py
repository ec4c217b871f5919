"""What templates compile to.

``{{ img(...) }}`` is looked up first, the bodies of extension tags are resolved at their end, bytecode is kept apart.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from typing import Any

from jinja2 import BytecodeCache, Environment, nodes
from jinja2.bccache import Bucket
from jinja2.compiler import CodeGenerator, Frame, MacroRef
from jinja2.runtime import Context

from easyimg.jinja._async import AwaitingCode, passed_on
from easyimg.page import Page, active_page


class _Compiled(AwaitingCode):
    """Hands an extension (``{% cache %}`` and the like) a body that gives finished HTML: it may keep it.

    And has ``{{ img(...) }}`` looked up before anything is called: what the process remembers needs no image.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._printed: set[int] = set()

    def visit_Output(self, node: nodes.Output, frame: Frame) -> None:  # noqa: N802 - Jinja2's name
        if not (self.environment.is_async or self.environment.sandboxed):
            self._printed |= {id(child) for child in node.nodes if _is_img(child)}
        super().visit_Output(node, frame)

    def visit_Call(  # noqa: N802 - Jinja2's name
        self, node: nodes.Call, frame: Frame, forward_caller: bool = False
    ) -> None:
        if id(node) not in self._printed:
            super().visit_Call(node, frame, forward_caller=forward_caller)
            return
        self.write("environment.easyimg_printed(context, ")
        self.visit(node.node, frame)
        self.signature(node, frame, passed_on(frame))
        self.write(")")

    def macro_def(self, macro_ref: MacroRef, frame: Frame) -> None:
        call = getattr(macro_ref.node, "call", None)
        if isinstance(call, nodes.Call) and isinstance(call.node, nodes.ExtensionAttribute):
            self.write("environment.easyimg_body(")
            super().macro_def(macro_ref, frame)
            self.write(")")
        else:
            super().macro_def(macro_ref, frame)


def _is_img(node: nodes.Node) -> bool:
    """Return whether it is ``img(...)`` by that name, its arguments all written out."""
    return (
        isinstance(node, nodes.Call)
        and isinstance(node.node, nodes.Name)
        and node.node.name == "img"
        and node.dyn_args is None
        and node.dyn_kwargs is None
    )


def printed(
    context: Context, function: Any, /, *args: Any, _loop_vars: Any = None, _block_vars: Any = None, **options: Any
) -> Any:
    """Return what ``{{ img(...) }}`` prints: HTML that the process remembers, else what the call gives.

    Args:
        context: of the template.
        function: what ``img`` is there.
        *args, **options: of the call.
        _loop_vars, _block_vars: Jinja2's own, for functions that take the context.
    """
    images = context.environment.easyimg  # type: ignore[attr-defined]
    html = images.remembered(*args, **options) if function == images.img else None
    if html is not None:
        return html
    if _loop_vars is not None:
        options["_loop_vars"] = _loop_vars
    if _block_vars is not None:
        options["_block_vars"] = _block_vars
    return context.call(function, *args, **options)


def code_generator(base: type[CodeGenerator]) -> type[CodeGenerator]:
    """Return the environment's code generator with ours below it."""
    if issubclass(base, _Compiled):
        return base
    return (
        _Compiled if base is CodeGenerator else type(base.__name__, (base, _Compiled), {"__module__": base.__module__})
    )


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
