"""``{% load easyimg %}``: the tags ``img``, ``imgbatch``, ``img_url`` and ``img_preload``."""

from __future__ import annotations

from typing import Any

from django import template

from easyimg_django.tags.batches import BatchNode, set_apart_within
from easyimg_django.tags.images import ImgNode, PreloadNode, UrlNode

register = template.Library()

register.tag("img", ImgNode.parse)
register.tag("img_url", UrlNode.parse)
register.tag("img_preload", PreloadNode.parse)


@register.tag
def imgbatch(parser: Any, token: Any) -> BatchNode:
    """``{% imgbatch %}...{% endimgbatch %}``: ask for all images in between with one query."""
    if len(token.split_contents()) > 1:
        raise template.TemplateSyntaxError(f"{{% imgbatch %}} on line {token.lineno} takes no arguments")
    body = parser.parse(("endimgbatch",))
    parser.delete_first_token()
    set_apart_within(body)
    return BatchNode(body)
