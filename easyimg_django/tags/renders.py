"""Whole templates: one query for each that a view renders, wherever in it the images are.

Every ``render()`` finishes its own images, so that nothing but HTML ever reaches a response, a cache or an e-mail,
whatever is done with the text then.
"""

from __future__ import annotations

import functools
from contextvars import ContextVar
from typing import Any

from django.template.backends.django import Template

from easyimg.batch import ImageBatch
from easyimg.signals import page_rendered
from easyimg_django.tags.batches import render_page


class RequestImages:
    """The images of the templates that were rendered for a request: ``request.easyimg``."""

    def __init__(self) -> None:
        self.batches: list[ImageBatch] = []

    @property
    def has_pending(self) -> bool:
        """Whether any image still waits for a file: tell caches to keep the page briefly."""
        return any(batch.has_pending for batch in self.batches)


running: ContextVar[RequestImages | None] = ContextVar("easyimg_request", default=None)
"""The images of the request that is being answered."""


def batch_renders() -> None:
    """Let templates that are rendered for a request be batches; once a process.

    Django has no place where the end of a render can be noticed, so its method is wrapped; where no request that came
    through the middleware is being answered, it is as it was.
    """
    plain = Template.render
    if hasattr(plain, "easyimg"):
        return

    @functools.wraps(plain)
    def render(self: Any, context: Any = None, request: Any = None) -> str:
        if running.get() is None:
            return plain(self, context, request)  # type: ignore[no-any-return]
        return render_page(plain, self, context, request)

    render.easyimg = True  # type: ignore[attr-defined]
    Template.render = render
    page_rendered.connect(_note)


def _note(_sender: Any, batch: ImageBatch, **_kwargs: Any) -> None:
    images = running.get()
    if images is not None:
        images.batches.append(batch)
