"""The Flask extension of easyimg: ``EASYIMG_*`` config, and ``img()`` in the application's templates.

This release covers what a page needs; commands, media serving and the status page are not there yet.
"""

from __future__ import annotations

from easyimg_flask.extension import EasyImg

__all__ = ["EasyImg"]
