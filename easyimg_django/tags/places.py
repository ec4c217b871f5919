"""Places: where in a running template a token may stand for an image until all images are known.

It may where the text goes straight into the page: in loops, conditions, includes, inheritance. Other tags (``filter``,
``spaceless``, ``cache``, those of other apps) do something with the text between their ends, and expressions may do
anything with it: there an image is HTML at once.

Django does not tell a node which tags are around it, and those of including and extended templates are not known before
they are rendered. The calls that lead to the node do tell it, so they are looked through: some 30 frames for an include
in a loop in an inherited block, which takes a few microseconds.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, Final, TypeVar

from django.template import Node, NodeList, Template, base, defaulttags
from django.template.base import FilterExpression, VariableNode, render_value_in_context
from django.template.defaulttags import AutoEscapeControlNode, ForNode, IfNode, WithNode
from django.template.library import InclusionNode
from django.template.loader_tags import BlockNode, ExtendsNode, IncludeNode
from django.templatetags.i18n import LanguageNode
from django.templatetags.l10n import LocalizeNode
from django.templatetags.tz import LocalTimeNode, TimezoneNode

Function = TypeVar("Function", bound=Callable[..., Any])


def _code(function: Any) -> CodeType | None:
    """Return a function's code, also where a monitoring agent has wrapped it."""
    return getattr(inspect.unwrap(function), "__code__", None)


PASSING: Final = (
    AutoEscapeControlNode,
    BlockNode,
    ExtendsNode,
    ForNode,
    IfNode,
    IncludeNode,
    InclusionNode,
    LanguageNode,
    LocalizeNode,
    LocalTimeNode,
    TimezoneNode,
    WithNode,
    *(getattr(defaulttags, name) for name in ("PartialDefNode", "PartialNode") if hasattr(defaulttags, name)),
)
"""Nodes that hand on the text between their tags as it is; partials are there from Django 6.0 on."""

_TEMPLATES: Final = (Template, *([base.PartialTemplate] if hasattr(base, "PartialTemplate") else []))

_passing: Final = {_code(node.render) for node in PASSING} | {_code(kind._render) for kind in _TEMPLATES}  # noqa: SLF001
_resolving: Final[set[CodeType | None]] = set()
_SOMETHING: Final = object()

_BODY: Final = _code(NodeList.render)
_EXPRESSION: Final = _code(FilterExpression.resolve)
_VARIABLE: Final = _code(VariableNode.render)
_PRINT: Final = _code(render_value_in_context)
_SUPER: Final = _code(BlockNode.super)


def passing(function: Function) -> Function:
    """Say, as a decorator, that a node's ``render`` hands on text as it is."""
    _passing.add(_code(function))
    return function


def resolving(function: Function) -> Function:
    """Say, as a decorator, that a function turns the tokens of what it calls into HTML."""
    _resolving.add(_code(function))
    return function


def obstacle(frame: FrameType | None) -> object | None:
    """Return what takes the text of a node on its way into the page; None = nothing does.

    Args:
        frame: of the call to the node's ``render``.

    Returns:
        The node whose body it is, where that can be told, else something that means no more than "something".
    """
    while frame is not None:
        code = frame.f_code
        if code in _resolving:
            return None
        if code is _BODY:
            caller = frame.f_back
            if caller is None or not _hands_on(caller):
                return _taker(caller)
        elif code is _SUPER:
            frame = _shown_super(frame)
        elif code is _EXPRESSION:
            return _SOMETHING
        elif code.co_name == "render" and code not in _passing and _is_of_taker(frame):
            return _taker(frame)
        frame = None if frame is None else frame.f_back
    return _SOMETHING


def obstacle_to_value(frame: FrameType | None) -> object | None:
    """Return what takes the text of a variable on its way into the page; None where ``{{ }}`` shows it as it is.

    Args:
        frame: of the call to ``str()``.
    """
    if frame is None or frame.f_code is not _PRINT:
        return _SOMETHING
    node = frame.f_back
    return obstacle(node.f_back) if node is not None and node.f_code is _VARIABLE else _SOMETHING


def hands_on(node: Node) -> bool:
    """Return whether a node puts the text between its tags into the page as it is."""
    return _code(node.render) in _passing


def _is_of_taker(frame: FrameType) -> bool:
    """Return whether a ``render`` is that of a node, and not what was wrapped around one that hands on its text."""
    node = frame.f_locals.get("self")
    return isinstance(node, Node) and not hands_on(node)


def _hands_on(caller: FrameType) -> bool:
    """Return whether who asked for the text of a body puts it into the page as it is."""
    if caller.f_code in _passing or caller.f_code in _resolving:
        return True
    return isinstance(caller.f_locals.get("self"), _TEMPLATES)  # tests put a function of theirs in place of `_render`


def _shown_super(frame: FrameType) -> FrameType | None:
    """Return the frame of the ``{{ block.super }}`` that asks for a block; None where its text is not just shown."""
    above: FrameType | None = frame
    while above is not None and above.f_code is not _EXPRESSION:
        above = above.f_back
    if above is None or above.f_back is None or above.f_back.f_code is not _VARIABLE:
        return None
    expression = above.f_locals["self"]
    return above.f_back if not expression.filters and expression.var.lookups == ("block", "super") else None


def _taker(frame: FrameType | None) -> object:
    return _SOMETHING if frame is None else frame.f_locals.get("self", _SOMETHING)
