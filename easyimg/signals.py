"""The signals. Receivers take keyword arguments, as Django's do: ``receiver(sender, **kwargs)``, ``lambda **kwargs:``.

A receiver's error is logged and goes no further: it must not break the page or the worker that sent the signal.

- ``queued_img``: variants were queued, once per source, after the rows are committed. ``sender``: the EasyImg;
  ``source``: the Source; ``source_id``: its row id.
- ``file_post_save``: an upload was stored, or a file of a model, and is committed. ``sender``: the EasyImg;
  ``source``; ``info``: its SourceInfo, None of what is no picture.
- ``img_built``: a variant was published. ``sender``: the EasyImg; ``source``; ``built``: a ``variant.Built``.
- ``source_settled``: all that was claimed of a source was built or failed. ``sender``: the EasyImg; ``outcome``: a
  ``build.Outcome``.
- ``img_failed``: a variant was not built, or is given up as its builds died. ``sender``: the EasyImg; ``source``;
  ``failure``: a ``variant.Failure``.
- ``page_rendered``: a template with images was rendered, in the thread or task that rendered it. ``sender``: the
  EasyImg; ``batch``: its ImageBatch, loaded. While ``batch.has_pending`` a page cache should keep the page briefly.
- ``batch_loaded``: the rows of images were asked for, whatever for; not sent where this process remembered all of them.
  ``sender``: the EasyImg; ``batch``: its ImageBatch.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Any

from blinker import NamedSignal

logger = logging.getLogger("easyimg")


class Signal(NamedSignal):
    """A blinker signal whose receivers are called by keyword and whose errors stay here."""

    def send_robust(self, sender: Any, **kwargs: Any) -> None:
        """Call every receiver; log what they raise."""
        for receiver in self.receivers_for(sender):
            try:
                if _takes_keywords(receiver, sender, kwargs):
                    receiver(sender=sender, **kwargs)
                else:
                    receiver(sender, **kwargs)
            except Exception:
                logger.exception("receiver %r of signal %r failed", receiver, self.name)


def _takes_keywords(receiver: Callable[..., Any], sender: Any, kwargs: dict[str, Any]) -> bool:
    """Return whether a receiver can be called by keyword alone; blinker's own way is the sender by position."""
    try:
        inspect.signature(receiver).bind(sender=sender, **kwargs)
    except (TypeError, ValueError):
        return False
    return True


queued_img = Signal("queued_img", "Variants of a source were queued.")
file_post_save = Signal("file_post_save", "An upload was stored.")
img_built = Signal("img_built", "A variant was published.")
source_settled = Signal("source_settled", "A claim of a source's variants was settled.")
img_failed = Signal("img_failed", "A variant was not built.")
page_rendered = Signal("page_rendered", "A template with images was rendered.")
batch_loaded = Signal("batch_loaded", "The rows of images were asked for.")
