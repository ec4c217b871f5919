"""Batches: rendering with tokens in place of images, one query for all of them, and then their HTML."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from django.template import Node, NodeList
from django.utils.safestring import SafeString

from easyimg.bound import BoundImg
from easyimg.page import Page, active_page
from easyimg_django.tags.places import hands_on, obstacle, obstacle_to_value, passing, resolving


class TemplatePage(Page):
    """A page of Django's templates."""

    __slots__ = ()


def running_page() -> TemplatePage | None:
    """Return the page of Django's templates that is being rendered in this context."""
    page = active_page()
    return page if isinstance(page, TemplatePage) else None


def render_page(render: Callable[..., str], *args: Any) -> str:
    """Return the text of something rendered, with all its images, which one query was asked for."""
    page = TemplatePage(None)
    with page.active():
        text = resolved(page, render, *args)
    page.close()
    return text


@resolving
def resolved(page: TemplatePage, render: Callable[..., str], *args: Any) -> str:
    """Return the text of a part of a page, with the HTML of its images."""
    return page.resolve(render(*args))


class Apart(Node):
    """A part of a page that is finished at its end."""

    def __init__(self, nodelist: NodeList) -> None:
        self.nodelist = nodelist

    @classmethod
    def around(cls, body: NodeList, owner: Node) -> NodeList:
        """Return a body that holds nothing but another one, set apart."""
        node = cls(body)
        node.token, node.origin = owner.token, owner.origin
        outer = NodeList([node])
        outer.contains_nontext = True
        return outer

    @passing
    def render(self, context: Any) -> str:
        """Return the text, with HTML for images."""
        page = running_page()
        if page is None:
            return str(self.nodelist.render(context))
        return resolved(page, self.nodelist.render, context)


class BatchNode(Apart):
    """``{% imgbatch %}``: one query for all images between its ends; part of a batch around it."""

    @passing
    def render(self, context: Any) -> str:
        """Return the text, with HTML for images; with tokens where a batch around it will resolve them."""
        page = running_page()
        if page is None:
            return render_page(self.nodelist.render, context)
        if _is_open(obstacle(sys._getframe(1))):  # noqa: SLF001 - what it is for
            return str(self.nodelist.render(context))
        return resolved(page, self.nodelist.render, context)


def show(bound: BoundImg) -> str:
    """Return what a tag that shows an image prints; called by its ``render`` alone."""
    page = running_page()
    if page is None:
        return bound.as_html()
    return page.show(bound) if _is_open(obstacle(sys._getframe(2))) else page.finished(bound)  # noqa: SLF001


def text_of(bound: BoundImg) -> SafeString:
    """Return what ``str()`` of an image gives; called by its ``__str__`` alone.

    Django asks for that before it escapes, and its filters know that its own kind of text is safe.
    """
    page = running_page()
    if page is None:
        return SafeString(bound.as_html())
    is_open = _is_open(obstacle_to_value(sys._getframe(2)))  # noqa: SLF001
    return SafeString(page.show(bound) if is_open else page.finished(bound))


def set_apart_within(body: NodeList) -> None:
    """Set apart what is in all tags of a body that do not hand it on as it is."""
    for node in body:
        if not hands_on(node):
            _set_apart(node)
        for name in node.child_nodelists:
            inner = getattr(node, name, None)
            if isinstance(inner, NodeList):
                set_apart_within(inner)


def _set_apart(node: Node) -> None:
    """Make batches of their own of what is between a tag's ends: its images are HTML when the tag gets to see them."""
    for name in node.child_nodelists:
        body = vars(node).get(name)
        if isinstance(body, NodeList) and body.contains_nontext and not isinstance(body[0], Apart):
            setattr(node, name, Apart.around(body, node))


def _is_open(found: object | None) -> bool:
    """Return whether nothing takes the text; what does is set apart, from the next time on that it is rendered."""
    if isinstance(found, Node):
        _set_apart(found)
    return found is None
