"""Found by django_dramatiq in every app: lets the site's own Dramatiq workers answer easyimg's doorbells.

Does something only where ``EASYIMG["QUEUE"]`` is ``"dramatiq"`` or a broker of the site's; other task runners look for
modules of this name as well.
"""

from __future__ import annotations

from easyimg.queues import uses_site_broker
from easyimg_django.conf import current


def register() -> None:
    """Register the actor on the site's broker; safe to repeat.

    Raises:
        ConfigError: the settings cannot work, or the site has no broker.
    """
    app = current()
    if app is not None and uses_site_broker(app.settings.queue):
        _ = app.queue


register()
