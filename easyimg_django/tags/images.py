"""The tags that show something: an image, its URL, the link that preloads it."""

from __future__ import annotations

import logging
from typing import Any, ClassVar, Final

from django.template import Node

from easyimg.bound import BoundImg
from easyimg.current import current_app
from easyimg.errors import SpecError
from easyimg.recipes import TemplateImages
from easyimg_django.tags.arguments import Arguments, parse
from easyimg_django.tags.batches import show

logger = logging.getLogger("easyimg")

_IMAGES: Final = TemplateImages(None)


class ShowNode(Node):
    """A tag that makes something of a source and options."""

    child_nodelists = ()
    own: ClassVar[tuple[str, ...]] = ()
    needs_alt: ClassVar[bool] = False

    def __init__(self, arguments: Arguments) -> None:
        self._arguments = arguments

    @classmethod
    def parse(cls, parser: Any, token: Any) -> ShowNode:
        """Return the node of a tag.

        Raises:
            TemplateSyntaxError: something is missing, or not allowed.
        """
        return cls(parse(parser, token, cls.own, needs_alt=cls.needs_alt))

    def render(self, context: Any) -> str:
        """Return the HTML or URL; ``""`` where it is put into a variable."""
        found = self._found(context)
        if self._arguments.target is not None:
            context[self._arguments.target] = found
            return ""
        return "" if found is None else show(found)

    def _found(self, context: Any) -> BoundImg | None:
        """Return what is to be shown.

        Where an argument is wrong: what is right of them, and a line in the log; ``strict`` raises.
        """
        given = self._arguments
        source = given.source.resolve(context, ignore_failures=True)
        start: Any = given.constant_start
        try:
            start = self._start(context)
            return self._make(source, start, self._alt(context), given.values(context))
        except SpecError as exc:
            if current_app().settings.strict:
                raise
            _report(f"{given.where} of {self.origin}: {exc}")
        return self._what_is_right(context, source, start)

    def _what_is_right(self, context: Any, source: Any, start: Any) -> BoundImg | None:
        """Return the image without the wrong arguments; as little of it as has to be left out."""
        given, alt = self._arguments, self._alt(context) or ""
        right = given.right_values(context)
        for start_, options in ((start, right), (start, given.constants), (start, {}), (None, right), (None, {})):
            try:
                return self._make(source, start_, alt, options)
            except SpecError:
                continue
        return None

    def _start(self, context: Any) -> Any:
        expression = self._arguments.start
        if expression is None:
            return None
        start = expression.resolve(context, ignore_failures=True)
        if start is None:
            raise SpecError(f"{expression} is undefined; it must be the name of a preset, or an Img")
        return start

    def _alt(self, context: Any) -> str | None:
        """Return ``alt`` as text; None where it is absent or undefined."""
        if self._arguments.alt is None:
            return None
        alt = self._arguments.alt.resolve(context, ignore_failures=True)
        return None if alt is None else str(alt)

    def _make(self, source: Any, start: Any, alt: str | None, options: dict[str, Any]) -> BoundImg:
        raise NotImplementedError


class ImgNode(ShowNode):
    """``{% img %}``."""

    own = ("build", "immediate")
    needs_alt = True

    def _make(self, source: Any, start: Any, alt: str | None, options: dict[str, Any]) -> BoundImg:
        if alt is not None:
            options = {**options, "alt": alt}
        return _IMAGES.img(source, start, **options)


class UrlNode(ShowNode):
    """``{% img_url %}``."""

    own = ("build", "format", "root")

    def _make(self, source: Any, start: Any, alt: str | None, options: dict[str, Any]) -> BoundImg:
        return _IMAGES.img_url(source, start, **options)


class PreloadNode(ShowNode):
    """``{% img_preload %}``."""

    def _make(self, source: Any, start: Any, alt: str | None, options: dict[str, Any]) -> BoundImg:
        return _IMAGES.img_preload(source, start, **options)


def _report(message: str) -> None:
    """Log a message once."""
    if message not in _reported and len(_reported) < 10_000:
        _reported.add(message)
        logger.error("%s", message)


_reported: set[str] = set()
"""What this process has logged."""
