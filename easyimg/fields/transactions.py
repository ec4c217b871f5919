"""Ledgers by transaction: opened in flushes, settled when the transaction, or the savepoint, has ended.

``after_transaction_end`` comes at every end, also where a session is closed without a commit, which no rollback event
tells. Whether there was a commit is what ``after_commit`` has said before.
https://docs.sqlalchemy.org/en/20/orm/session_events.html
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any, Literal, overload

from sqlalchemy.orm import Session, SessionTransaction

from easyimg.fields.ledger import Ledger
from easyimg.fields.offloop import off_loop
from easyimg.logs import event

_KEY = "easyimg.fields"
_ASKED = "easyimg.fields.asked"


@overload
def ledger_of(session: Session, *, make: Literal[True] = True) -> Ledger: ...
@overload
def ledger_of(session: Session, *, make: bool) -> Ledger | None: ...
def ledger_of(session: Session, *, make: bool = True) -> Ledger | None:
    """Return the ledger of the savepoint or the transaction that a session is in; None where it has none."""
    transaction = session.get_nested_transaction() or session.get_transaction()
    if transaction is None:
        return None
    if not make:
        return _ledgers(session).get(transaction)
    asked = transaction in session.info.get(_ASKED, ())  # the flush is a part of the commit
    fresh = Ledger(is_flushing=True, is_committing=asked)
    return session.info.setdefault(_KEY, {}).setdefault(transaction, fresh)  # type: ignore[no-any-return]


def _ledgers(session: Session) -> dict[SessionTransaction, Ledger]:
    found: dict[SessionTransaction, Ledger] = session.info.get(_KEY, {})
    return found


def before_commit(session: Session) -> None:
    """Note that the database is about to be asked; the flush that comes first may yet open the ledger."""
    session.info.setdefault(_ASKED, set()).add(session.get_nested_transaction() or session.get_transaction())
    ledger = ledger_of(session, make=False)
    if ledger is not None:
        ledger.is_committing, ledger.is_flushing = True, False


def before_flush(session: Session, _context: Any, _instances: Any) -> None:
    """Note that what fails now fails before a commit."""
    ledger = ledger_of(session, make=False)
    if ledger is not None:
        ledger.is_flushing = True


def after_flush_postexec(session: Session, _context: Any) -> None:
    """Note that the flush is over."""
    ledger = ledger_of(session, make=False)
    if ledger is not None:
        ledger.is_flushing = False


def after_commit(session: Session) -> None:
    """Note that this transaction, or this savepoint, was committed."""
    ledger = ledger_of(session, make=False)
    if ledger is not None:
        ledger.is_committed = True


def after_rollback(session: Session) -> None:
    """Note whether the database heard of it."""
    ledger = ledger_of(session, make=False)
    if ledger is not None:
        ledger.is_rolled_back = True
        ledger.is_lost = any(connection.invalidated for connection in ledger.connections)


def after_transaction_end(session: Session, transaction: SessionTransaction) -> None:
    """Settle a transaction's ledger; a savepoint hands its own to what it stands in, whichever way it ended."""
    session.info.get(_ASKED, set()).discard(transaction)
    ledger = _ledgers(session).pop(transaction, None)
    if ledger is None:
        return
    if transaction.parent is not None:
        outer = session.info[_KEY].setdefault(_boundary(transaction.parent), Ledger())
        if ledger.is_committed or ledger.is_in_doubt:
            outer.take(ledger)
            return
        outer.take_back(ledger)
    elif ledger.is_in_doubt:
        sources = ", ".join(str(saved.source) for saved in ledger.saved[:10])
        event(logging.WARNING, "a commit's outcome is unknown; clean decides on its files", sources=sources)
        return
    else:
        leftovers = ledger.leftovers()
        is_named = ledger.look(leftovers)  # here, where an AsyncSession's database can be asked
        off_loop(partial(ledger.settle, leftovers, is_named))
    if not ledger.is_committed:
        ledger.give_back()


def _boundary(transaction: SessionTransaction) -> SessionTransaction:
    """Return the savepoint or transaction around a part of a flush."""
    while transaction.parent is not None and not transaction.nested:
        transaction = transaction.parent
    return transaction
