"""Everything the rows are asked for, by several at once, at the isolation levels that sites have set as default."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url

from easyimg.errors import MetadataError
from easyimg.metadata.sqlalchemy import SqlAlchemyMetadata
from easyimg.testing.metadata import INFO, SPECS, built, drain, failed, in_threads, wanted
from easyimg.variant import ClaimOrder, Priority, VariantStatus

NAMES = [f"{i}.jpg" for i in range(8)]
STEPS = 60


class Rival:
    """One of several that change the same few rows, in an order of its own."""

    def __init__(self, store: SqlAlchemyMetadata, seed: int) -> None:
        self.store = store
        self.random = random.Random(seed)
        self.replaced: Counter[str] = Counter()

    def run(self) -> Counter[str]:
        steps: list[Callable[[], Any]] = [self.ask, self.build, self.build, self.replace, self.requeue, self.owe]
        for _ in range(STEPS):
            self.random.choice(steps)()
        return self.replaced

    def ask(self) -> None:
        names = self.random.sample(NAMES, 5)
        info, priority = self.random.choice((None, INFO)), self.random.choice(list(Priority))
        self.store.enqueue([wanted(name, info=info)._replace(priority=priority) for name in names])

    def build(self) -> None:
        order, limit = self.random.choice(list(ClaimOrder)), self.random.choice((1, 5))
        for claim in self.store.claim(lease=60, max_attempts=1000, limit=limit, order=order):
            with suppress(MetadataError):  # tried once by design: whoever renews tries again
                self.store.renew(claim, 60)
            match self.random.randrange(3):
                case 0:
                    self.store.publish(claim, built(claim), info=INFO)
                case 1:
                    self.store.publish(claim, [], failed(claim, retry_in=0))
                case _:
                    self.store.release(claim)

    def replace(self) -> None:
        name = self.random.choice(NAMES)
        self.store.replace(wanted(name).source)
        self.replaced[name] += 1

    def requeue(self) -> None:
        self.store.requeue(include_stale=True, stale_after=0.1)

    def owe(self) -> None:
        self.store.owe(self.store.file_page())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("database", "isolation"),
    [("postgres_url", "read committed"), ("postgres_url", "serializable"), ("mysql_url", "repeatable read")],
)
def test_rivals_never_meet_an_error_and_lose_no_change(
    request: pytest.FixtureRequest, database: str, isolation: str
) -> None:
    url = request.getfixturevalue(database)
    if database == "postgres_url":
        _by_default(url, isolation)
    store = SqlAlchemyMetadata(url)
    wishes = [wanted(name)._replace(priority=Priority.BACKGROUND) for name in NAMES]
    store.enqueue(wishes)
    seeds = count()
    replaced: Counter[str] = sum(in_threads(8, lambda: Rival(store, next(seeds)).run()), Counter())
    assert replaced
    records = store.fetch({w.source.id: list(w.specs) for w in wishes})
    assert {w.source.name: records[w.source.id].generation - 1 for w in wishes} == {n: replaced[n] for n in NAMES}
    for wish in wishes:
        store.replace(wish.source)  # whatever is claimed still, is free again
    assert len(drain(store)) == len(NAMES) * len(SPECS)
    records = store.fetch({w.source.id: list(w.specs) for w in wishes})
    statuses = Counter(variant.status for record in records.values() for variant in record.variants.values())
    assert statuses == {VariantStatus.BUILT: len(NAMES) * len(SPECS)}
    store.close()


def _by_default(url: str, isolation: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as conn:
        name = make_url(url).database
        conn.exec_driver_sql(f"ALTER DATABASE {name} SET default_transaction_isolation = '{isolation}'")
    engine.dispose()
