"""easyimg: responsive images for every Python web framework.

A template says ``img(photo, width=300, alt="...")``; correct ``<img>`` HTML is the answer at once, and the missing
files are built outside the request. Importing this package loads no image library, database, broker or framework; a
name is loaded when it is asked for, so that the limited child, which needs none of them, stays small.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from easyimg.app import EasyImg
    from easyimg.batch import ImageBatch
    from easyimg.bound import BoundImg, preload_links
    from easyimg.current import configure, current_app
    from easyimg.errors import EasyImgError
    from easyimg.geometry import Focus
    from easyimg.img import Img
    from easyimg.maintain import process_queue, set_focus
    from easyimg.settings import Settings
    from easyimg.source import Source
    from easyimg.variant import VariantStatus

__version__ = "0.1.0"

__all__ = [
    "BoundImg",
    "EasyImg",
    "EasyImgError",
    "Focus",
    "ImageBatch",
    "Img",
    "Settings",
    "Source",
    "VariantStatus",
    "configure",
    "current_app",
    "preload_links",
    "process_queue",
    "set_focus",
]

_MODULES = {
    "BoundImg": "bound",
    "EasyImg": "app",
    "EasyImgError": "errors",
    "Focus": "geometry",
    "ImageBatch": "batch",
    "Img": "img",
    "Settings": "settings",
    "Source": "source",
    "VariantStatus": "variant",
    "configure": "current",
    "current_app": "current",
    "preload_links": "bound",
    "process_queue": "maintain",
    "set_focus": "maintain",
}
"""Where each public name is (PEP 562)."""


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
