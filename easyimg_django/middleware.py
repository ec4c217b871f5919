"""``BatchMiddleware``: one query for all images of a page, with no help from its template."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction

from easyimg_django.tags.renders import RequestImages, batch_renders, running


class BatchMiddleware:
    """Asks for all images of a template at its end, with one query, while a request is answered.

    Its place among other middleware does not matter: it changes templates, and leaves responses alone. Streamed
    content is made when the request is over; there ``{% imgbatch %}`` does the same.

    ``request.easyimg.has_pending`` says whether an image of the page still waits for a file.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self._get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)
        batch_renders()

    def __call__(self, request: Any) -> Any:
        """Return the response, or what it is awaited from."""
        if self._is_async:
            return self._answer(request)
        with _watched(request):
            return self._get_response(request)

    async def _answer(self, request: Any) -> Any:
        with _watched(request):
            answer: Awaitable[Any] = self._get_response(request)
            return await answer


@contextmanager
def _watched(request: Any) -> Iterator[None]:
    request.easyimg = RequestImages()
    before = running.get()
    running.set(request.easyimg)
    try:
        yield
    finally:
        running.set(before)
