"""What is wrong with an EasyImg's settings as far as that shows without asking a server: for checks at start-up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from easyimg.errors import ConfigError
from easyimg.ports import App


def review(app: App) -> Iterator[ConfigError]:
    """Yield what cannot work: absent packages, URLs that cannot be read.

    Connects to nothing and loads no engine. Each message begins with the setting's name.
    """
    for setting, make in _parts(app):
        try:
            make()
        except ConfigError as exc:
            if not str(exc).startswith(f"{setting}: "):
                exc.args = (f"{setting}: {exc}",)
            yield exc


def _parts(app: App) -> Iterator[tuple[str, Callable[[], Any]]]:
    settings = app.settings
    for alias in settings.storages:  # one by one: a site's mapping may make them when they are asked for
        yield f"storages: {alias!r}", partial(_check_storage, app, alias)
    if isinstance(settings.metadata, str):
        yield "metadata", lambda: app.metadata
    if isinstance(settings.queue, str) and (settings.queue == "dramatiq" or "://" in settings.queue):
        yield "queue", partial(_check_broker, settings.queue, settings.namespace)


def _check_storage(app: App, alias: str) -> None:
    if isinstance(app.settings.storages[alias], str):
        app.storage(alias)


def _check_broker(queue: str, namespace: str) -> None:
    from easyimg.queues.dramatiq import make_broker, site_broker

    _ = site_broker() if queue == "dramatiq" else make_broker(queue, namespace)
