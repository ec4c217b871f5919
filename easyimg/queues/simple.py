"""The queues that start nothing: ImmediateQueue builds in the call, NoneQueue leaves the rows to somebody else."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from easyimg.drain import drain
from easyimg.errors import MetadataError
from easyimg.logs import event
from easyimg.ports import App


class ImmediateQueue:
    """Builds before ``ring`` returns: for tests, scripts and static site generators.

    Args:
        app: whose rows are built.
    """

    inline = True

    def __init__(self, app: App) -> None:
        self._app = app

    def ring(self, source_ids: Iterable[str]) -> None:
        """Build what is due of these sources, in this thread; failures are in their rows."""
        for source_id in source_ids:
            try:
                drain(self._app, source_id=source_id)
            except MetadataError as exc:
                event(logging.WARNING, "a source stays queued", source_id=source_id, kind=exc.kind, error=exc)

    def close(self) -> None:
        """Do nothing: nothing was started."""


class NoneQueue:
    """Rows only. ``process_queue``, the command ``build_img_queue`` or a worker builds them."""

    inline = False

    def ring(self, source_ids: Iterable[str]) -> None:
        """Do nothing: the rows say it all."""

    def close(self) -> None:
        """Do nothing: nothing was started."""
