"""Django's signals of easyimg. An error of a receiver is logged (``django.dispatch``) and goes no further.

All are sent after the commit, when the rows exist.

- ``file_post_save``: a file was stored in a FileField by ``save()``. ``sender``: the model's class, as of
  ``post_save``; ``instance``; ``field``: the FileField; ``fieldfile``: the FieldFile; ``source``: its
  ``easyimg.Source``; ``info``: its ``SourceInfo``, None of what is no picture.
- ``queued_img``: variants were queued, or queued again since the file is another; once per source. ``sender``: the
  EasyImg; ``source``; ``source_id``: the row's id.
- ``img_built``: a variant was published, in the process that built it. ``sender``: the EasyImg; ``source``; ``built``:
  an ``easyimg.variant.Built``.
- ``img_failed``: a variant was not built, or is given up as its builds died. ``sender``: the EasyImg; ``source``;
  ``failure``: an ``easyimg.variant.Failure``.
"""

from __future__ import annotations

from typing import Any

from django.dispatch import Signal

from easyimg import signals as core

file_post_save = Signal()
queued_img = Signal()
img_built = Signal()
img_failed = Signal()


def connect() -> None:
    """Pass the core's signals on; called once, when the app is ready."""
    for name, signal in (("queued_img", queued_img), ("img_built", img_built), ("img_failed", img_failed)):
        getattr(core, name).connect(_passing_on(signal), weak=False)


def _passing_on(signal: Signal) -> Any:
    def pass_on(sender: Any, **kwargs: Any) -> None:
        signal.send_robust(sender=sender, **kwargs)

    return pass_on
