"""What a metadata store in a framework's own connections needs of its callers; other stores need nothing of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from easyimg.ports import App, MetadataStore


@runtime_checkable
class JoinsTransactions(Protocol):
    """The optional part of a MetadataStore that uses connections in which a caller may have begun a transaction."""

    def after_commit(self, callback: Callable[[], object]) -> None:
        """Call back once what this thread wrote is committed: at once outside of a transaction, never if it is undone.

        What a late callback raises is logged, and does not reach the committer.
        """
        ...

    def rest(self) -> None:
        """Give back this thread's connection: it ends, or asks nothing for a while. The next call opens one again."""
        ...


def after_commit(store: MetadataStore, callback: Callable[[], object]) -> None:
    """Call back once what this thread wrote is committed; at once where the store commits by itself."""
    if isinstance(store, JoinsTransactions):
        store.after_commit(callback)
    else:
        callback()


def rows_changed(app: App, source_ids: Iterable[str]) -> None:
    """Once what was written of these sources is committed, forget what this process remembers of them, and ring."""
    ids = list(dict.fromkeys(source_ids))

    def tell() -> None:
        for id_ in ids:
            app.cache.discard(id_)
        app.queue.ring(ids)

    if ids:
        after_commit(app.metadata, tell)


def rest(store: MetadataStore) -> None:
    """Say that this thread ends, or asks the store nothing for a while; for threads that nobody but us knows of."""
    if isinstance(store, JoinsTransactions):
        store.rest()


@contextmanager
def resting(app: App) -> Iterator[None]:
    """Rest after the block, which a thread runs that nobody but us knows of."""
    try:
        yield
    finally:
        rest(app.metadata)
