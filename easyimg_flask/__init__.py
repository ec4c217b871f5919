"""The Flask extension of easyimg.

``EasyImg(app)`` reads the application's ``EASYIMG_*`` config, puts ``img()`` into its templates, adds the commands
``flask easyimg ...``, serves local media, and shortens the caching of pages that still wait for files.
"""

from __future__ import annotations

from easyimg_flask.extension import EasyImg

__all__ = ["EasyImg"]
