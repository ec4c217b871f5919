"""easyimg: responsive images for every Python web framework.

A template says ``img(photo, width=300, alt="...")``; correct ``<img>`` HTML is the answer at once, and the missing
files are built outside the request. Importing this package loads no image library, database, broker or framework.
"""

from __future__ import annotations

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
