"""Async templates: where an image asks the database, or builds, it does so in a thread and the template awaits it.

Jinja2's code for an async environment awaits calls and attributes anyway. Ours also looks whether an image is among the
operands of ``~``, ``+`` and ``%``, and what is asked of one. A printed image needs none of this: it is a token, and the
whole page is resolved in a thread at its end.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from types import FunctionType, MethodType
from typing import Any, Final

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.runtime import Context

from easyimg.batch import ImageBatch
from easyimg.bound import BoundImg
from easyimg.img import Img
from easyimg.page import in_thread

_OF_BATCHES: Final = frozenset({"has_pending", "build", "load"})
_OF_IMAGES: Final = frozenset({"srcset", "sources", "sizes", "style", "width", "height", "is_built", "is_pending"})
_PROPERTIES: Final = _OF_IMAGES | {"has_pending"}
_METHODS: Final = _OF_BATCHES | {"as_html", "as_dict", "base_url", "url", "preload_html", "preload_header"}
_ALWAYS_ASK: Final = frozenset({"is_built", "is_pending", "as_dict", "build"})
"""What looks at rows again, however much is known of an image."""

_OWN: Final = frozenset({"img", "img_url", "img_preload"})


class AwaitingCode(CodeGenerator):
    """Compiles what may ask the database to code that awaits it. Does nothing where the environment is not async."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._operands: dict[int, nodes.Node] = {}

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> Any:
        """Visit a node; have it awaited if it is the operand of what makes text."""
        if id(node) not in self._operands:
            return super().visit(node, *args, **kwargs)
        self.write("(await environment.easyimg_ready(")
        super().visit(node, *args, **kwargs)
        self.write("))")
        return None

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802 - Jinja2's name
        self._await_operands(*node.nodes)
        super().visit_Concat(node, frame)

    def visit_Add(self, node: nodes.BinExpr, frame: Frame) -> None:  # noqa: N802 - Jinja2's name
        self._await_operands(node.left, node.right)
        super().visit_Add(node, frame)

    def visit_Mod(self, node: nodes.BinExpr, frame: Frame) -> None:  # noqa: N802 - Jinja2's name
        self._await_operands(node.right)
        super().visit_Mod(node, frame)

    def visit_Getattr(self, node: nodes.Getattr, frame: Frame) -> None:  # noqa: N802 - Jinja2's name
        if self.environment.is_async and node.attr in _PROPERTIES:
            self._write_look_up("getattr", node.node, node.attr, frame)
        else:
            super().visit_Getattr(node, frame)

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:  # noqa: N802 - Jinja2's name
        name = node.arg.value if isinstance(node.arg, nodes.Const) else None
        if self.environment.is_async and isinstance(name, str) and name in _PROPERTIES:
            self._write_look_up("getitem", node.node, name, frame)
        else:
            super().visit_Getitem(node, frame)

    def visit_Call(  # noqa: N802 - Jinja2's name
        self, node: nodes.Call, frame: Frame, forward_caller: bool = False
    ) -> None:
        if not (self.environment.is_async and _may_ask(node)):
            super().visit_Call(node, frame, forward_caller=forward_caller)
            return
        self.write("(await environment.easyimg_called(context, ")
        self.visit(node.node, frame)
        self.signature(node, frame, passed_on(frame) | ({"caller": "caller"} if forward_caller else {}))
        self.write("))")

    def _await_operands(self, *operands: nodes.Node) -> None:
        if self.environment.is_async:
            texts = (nodes.Const, nodes.TemplateData)
            self._operands |= {id(node): node for node in operands if not isinstance(node, texts)}

    def _write_look_up(self, how: str, node: nodes.Node, name: str, frame: Frame) -> None:
        self.write(f"(await environment.easyimg_looked_up(environment.{how}, ")
        self.visit(node, frame)
        self.write(f", {name!r}))")


def passed_on(frame: Frame) -> dict[str, str]:
    """Return what Jinja2 hands on to functions that take the context, where it does."""
    variables = {"_loop_vars": frame.loop_frame, "_block_vars": frame.block_frame}
    return {name: name for name, is_there in variables.items() if is_there}


def _may_ask(node: nodes.Call) -> bool:
    """Return whether a call may be one that asks: of an image, with an image, or of an image built at once."""
    if isinstance(node.node, nodes.Getattr) and node.node.attr in _METHODS:
        return True
    if node.dyn_kwargs is not None or any(keyword.key == "immediate" for keyword in node.kwargs):
        return True
    if isinstance(node.node, nodes.Name) and node.node.name in _OWN:
        return False
    given = [*node.args, *(keyword.value for keyword in node.kwargs), node.dyn_args]
    return any(value is not None and not isinstance(value, nodes.Const) for value in given)


async def looked_up(look_up: Callable[[Any, str], Any], value: Any, name: str) -> Any:
    """Return an attribute, as the environment finds it; where an image or a batch has to ask for it, from a thread."""
    found = await in_thread(look_up, value, name) if _asks(value, name) else look_up(value, name)
    return await found if inspect.isawaitable(found) else found


async def called(context: Context, function: Any, /, *args: Any, **options: Any) -> Any:
    """Return what a call gives. What asks or builds is called in a thread; a function gets images that need not ask."""
    env: Any = context.environment
    call = functools.partial(env.call, context) if env.sandboxed else context.call
    if _blocks(env, function, options):
        return await in_thread(functools.partial(call, function, *args, **options))
    if isinstance(function, FunctionType | MethodType) or isinstance(getattr(function, "__self__", None), str):
        await ready((*args, *options.values()))
    made: Any = call(function, *args, **options)
    return await made if inspect.isawaitable(made) else made


async def ready(value: Any) -> Any:
    """Return a value whose images, if any, can give their HTML with no query; looks into tuples, lists and dicts."""
    images = list(_waiting(value))
    if images:
        await in_thread(_prepare, images)
    return value


def _waiting(value: Any) -> Iterator[BoundImg]:
    if isinstance(value, BoundImg):
        if not value.is_ready:
            yield value
    elif isinstance(value, tuple | list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _waiting(item)


def _prepare(images: list[BoundImg]) -> None:
    for image in images:
        _ = image.batch  # an image of a template joins one when it is asked for it; then all load together
    for image in images:
        image.prepare()


def _blocks(env: Any, function: Any, options: dict[str, Any]) -> bool:
    """Return whether a call would hold the event loop up: a method that asks or builds, or an image built at once."""
    image = getattr(function, "__self__", None)
    if isinstance(image, BoundImg | ImageBatch):
        return _asks(image, function.__name__)
    return bool(options.get("immediate")) and (isinstance(function, Img) or function == env.easyimg.img)


def _asks(value: Any, name: str) -> bool:
    if isinstance(value, BoundImg):
        return value.source is not None and (name in _ALWAYS_ASK or not value.is_ready)
    return isinstance(value, ImageBatch) and name in _OF_BATCHES
