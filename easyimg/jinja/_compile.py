"""What templates compile to.

``{{ img(...) }}`` is printed by a short way, the bodies of extension tags are resolved at their end, bytecode is kept
apart.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from keyword import iskeyword
from typing import Any

from jinja2 import BytecodeCache, Environment, nodes
from jinja2.bccache import Bucket
from jinja2.compiler import CodeGenerator, Frame, MacroRef
from jinja2.runtime import Context

from easyimg.jinja._async import AwaitingCode
from easyimg.page import Page, active_page


class _Compiled(AwaitingCode):
    """Hands an extension (``{% cache %}`` and the like) a body that gives finished HTML: it may keep it.

    Has plain strings printed without ``finalize``, which would look for images: ``{{ name }}`` is::

        escape(t_1 if (t_1 := name).__class__ is str else environment.finalize(t_1))

    And has ``{{ img(...) }}`` give its token, or what the process remembers, before anything is called::

        environment.easyimg_printed(img, "{'width': 300}", source=(t_1 := photo), alt=(t_2 := name))
        or escape(t_3 if (t_3 := context.call(img, t_1, width=300, alt=t_2)).__class__ is str else ...)
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._printed: dict[int, _Printed] = {}
        self._looks_only = getattr(self.environment.finalize, "easyimg_alone", False)  # not at strings
        self._is_short = self._looks_only and type(self) is _Compiled and _calls_plainly(self.environment)

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        if self._is_short and _is_img(node):
            # Taken away by the visit that follows: an extension may have put the same node elsewhere too.
            printed = self._printed[id(node)] = _Printed(node, self.temporary_identifier)  # type: ignore[arg-type]
            self.write("environment.easyimg_printed(")
            self.visit(printed.call.node, frame)
            self.write(f", {printed.fixed!r}")
            for name, temporary, value in printed.given:
                self.write(f", {name}=({temporary} := ")
                self.visit(value, frame)
                self.write(")")
            self.write(") or ")
        if self._looks_only and finalize.src is not None:
            self._value = self.temporary_identifier()
            super()._output_child_pre(node, frame, finalize._replace(src=None))
            self.write(f"{self._value} if ({self._value} := ")
        else:
            super()._output_child_pre(node, frame, finalize)

    def _output_child_post(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        if self._looks_only and finalize.src is not None:  # an author's own generator may print without it
            self.write(f").__class__ is str else {finalize.src}{self._value})")
            finalize = finalize._replace(src=None)
        super()._output_child_post(node, frame, finalize)

    def visit_Call(  # noqa: N802 - Jinja2's name
        self, node: nodes.Call, frame: Frame, forward_caller: bool = False
    ) -> None:
        printed = self._printed.pop(id(node), None)
        super().visit_Call(node if printed is None else printed.again, frame, forward_caller=forward_caller)

    def macro_def(self, macro_ref: MacroRef, frame: Frame) -> None:
        call = getattr(macro_ref.node, "call", None)
        if isinstance(call, nodes.Call) and isinstance(call.node, nodes.ExtensionAttribute):
            self.write("environment.easyimg_body(")
            super().macro_def(macro_ref, frame)
            self.write(")")
        else:
            super().macro_def(macro_ref, frame)


class _Printed:
    """An ``img(...)`` that a template prints.

    ``fixed`` is the text of a dict of the arguments that never change; ``given`` are the others: name, variable, value.
    ``again`` is the call with the variables in their places. ``call`` is kept, so that its id stays its own.
    """

    def __init__(self, call: nodes.Call, name_variable: Callable[[], str]) -> None:
        self.call = call
        self.given: list[tuple[str, str, nodes.Expr]] = []
        fixed: dict[str, Any] = {}

        def take(name: str, value: nodes.Expr) -> nodes.Expr:
            if name not in ("source", "alt") and _is_fixed(value):
                fixed[name] = value.as_const()
                return value
            self.given.append((name, name_variable(), value))
            return _variable(self.given[-1][1], value)

        args = [take(name, value) for name, value in zip(_POSITIONAL, call.args, strict=False)]
        kwargs = [nodes.Keyword(one.key, take(one.key, one.value), lineno=one.lineno) for one in call.kwargs]
        self.fixed = repr(fixed)
        self.again = nodes.Call(call.node, args, kwargs, None, None, lineno=call.lineno)
        self.again.set_environment(call.environment)  # type: ignore[arg-type]


_POSITIONAL = ("source", "preset")


def _calls_plainly(environment: Environment) -> bool:
    """Return whether nothing but Jinja2's own code stands between a template and what it calls."""
    return not (environment.is_async or environment.sandboxed) and environment.context_class.call is Context.call


def _is_img(node: nodes.Node) -> bool:
    """Return whether it is ``img(...)`` by that name, its arguments all written out, and nothing is built for it."""
    if not (
        isinstance(node, nodes.Call)
        and isinstance(node.node, nodes.Name)
        and node.node.name == "img"
        and node.dyn_args is None
        and node.dyn_kwargs is None
        and len(node.args) <= len(_POSITIONAL)
    ):
        return False
    names = [*_POSITIONAL[: len(node.args)], *(one.key for one in node.kwargs)]
    return len(set(names)) == len(names) and not any(
        name in ("build", "immediate") or iskeyword(name) or not name.isidentifier() for name in names
    )


def _is_fixed(value: nodes.Expr) -> bool:
    """Return whether it is a number or text, or a list or dict of such, as it stands in the template."""
    if isinstance(value, nodes.Const):
        return value.value is None or type(value.value) in (str, int, float, bool)
    if isinstance(value, nodes.List | nodes.Tuple):
        return all(map(_is_fixed, value.items))
    return isinstance(value, nodes.Dict) and all(_is_fixed(one.key) and _is_fixed(one.value) for one in value.items)


def _variable(name: str, value: nodes.Expr) -> nodes.InternalName:
    """Return a variable of the compiled code as part of an expression, as ``Parser.free_identifier`` makes one."""
    made: nodes.InternalName = object.__new__(nodes.InternalName)
    nodes.Node.__init__(made, name, lineno=value.lineno)
    return made


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


_CODE = 3
"""Raised whenever templates compile to other code: what an older easyimg has compiled is not run then."""


class _OwnNames(BytecodeCache):
    def __init__(self, cache: BytecodeCache) -> None:
        self._cache = cache

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)

    def get_bucket(self, environment: Environment, name: str, filename: str | None, source: str) -> Bucket:
        return self._cache.get_bucket(environment, f"easyimg:{_CODE}:{name}", filename, source)

    def set_bucket(self, bucket: Bucket) -> None:
        self._cache.set_bucket(bucket)

    def clear(self) -> None:
        self._cache.clear()
