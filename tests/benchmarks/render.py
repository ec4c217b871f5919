"""What a page of images costs: our ``img()`` against the floor, interleaved in one process.

The page shows 100 images with three built variants each (JPEG, WebP 1x, WebP 2x), rows on SQLite in a file, and on
a new database of a PostgreSQL that runs (``TEST_POSTGRES_URL``, else on its standard port).

- *floor*: a plain Jinja2 template that writes the same tags from dicts, and one SELECT of the same 300 keys by the same
  engine; no library in between, and the leanest statement we know.
- *Core*: the same template, and the SELECT as SQLAlchemy Core has it: ``select(...).where(key.in_(keys))``. The goal of
  40 us an image was set where this took 24: 1.65 times as much, on any machine.
- *img()*: the whole ``render()``, row cache off: one SELECT as well.
- *warm*: the same with the row cache on: no query.
- *key*: one variant's key for a source not seen before; its floor is the hash alone, SHA-256 with the spec's part
  ready: the goal of 1 us was set where that took 0.8.
- *plan + key*: the same, with the slot's size and which variants are worth building, per variant: what a page asks of
  the plan that shows a source not seen before, of a size that it has met; and *new size*, of one that it has not.

The page's queries are counted: one, none where the rows are remembered, or the run fails.

As a script: ``python -m tests.benchmarks.render [--json FILE] [--rounds N]``.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import sqlalchemy
from jinja2 import Environment
from sqlalchemy import select

from easyimg import EasyImg, Img
from easyimg.drain import drain
from easyimg.jinja import install
from easyimg.plan import Plan
from easyimg.source import Source, SourceInfo
from easyimg.testing import images
from tests.benchmarks.filled import database
from tests.counting import Statements

IMAGES: Final = 100
PAGE: Final = (
    "<ul>{% for p in products %}<li>{{ img(p.photo, width=300, ratio='square', alt=p.name) }}</li>\n{% endfor %}</ul>"
)
FLOOR: Final = (
    '<ul>{% for p in products %}<li><img src="{{ p.src }}" srcset="{{ p.one }}, {{ p.two }} 2x" width="{{ p.width }}" '
    'height="{{ p.height }}" alt="{{ p.name }}" loading="lazy" decoding="async"></li>\n{% endfor %}</ul>'
)


def make_app(root: Path, metadata: str, cache_seconds: float) -> EasyImg:
    return EasyImg(
        storages={"default": f"file://{root}/media"},
        metadata=metadata,
        queue="none",
        isolation="never",
        cache_seconds=cache_seconds,
    )


def products() -> list[dict[str, str]]:
    return [{"photo": f"photos/{n}.jpg", "name": f"Product <{n}> & more"} for n in range(IMAGES)]


def build(app: EasyImg, root: Path) -> None:
    """Build what the page shows: 300 files."""
    (root / "media" / "photos").mkdir(parents=True, exist_ok=True)
    data = images.photo(900, 700)
    for product in products():
        (root / "media" / product["photo"]).write_bytes(data)
    our_page(app)()
    if drain(app).built != 3 * IMAGES:
        raise SystemExit("the page could not be built")


def our_page(app: EasyImg) -> Callable[[], str]:
    env = Environment(autoescape=True)
    install(env, app)
    template, shown = env.from_string(PAGE), products()
    return lambda: template.render(products=shown)


def floor_page(app: EasyImg, *, core: bool = False) -> Callable[[], str]:
    """Return the least that gives the same page: keys known, rows to dicts, a template.

    Args:
        core: ask as SQLAlchemy Core does.
    """
    engine: Any = app.metadata.engine  # type: ignore[attr-defined]
    plan = Img(width=300, ratio="square").plan
    shown = [(p, Source("default", p["photo"])) for p in products()]
    asked = [(p, source.id, plan.keys(source.address)) for p, source in shown]
    every = [key for _, _, keys in asked for key in keys]
    sql = "SELECT key, file_name, width, height FROM easyimg_variant WHERE key IN "
    one = sqlalchemy.text(sql + "(SELECT value FROM json_each(:keys))")
    if engine.dialect.name == "postgresql":
        one = sqlalchemy.text(sql + "(SELECT value::uuid FROM json_array_elements_text(cast(:keys AS json)))")
        if "uuid" not in str(_key_type(engine)):
            one = sqlalchemy.text(sql + "(SELECT json_array_elements_text(cast(:keys AS json)))")
    template = Environment(autoescape=True).from_string(FLOOR)
    variant = app.metadata._tables.variant.c  # type: ignore[attr-defined]
    columns = (variant.key, variant.file_name, variant.width, variant.height)

    def page() -> str:
        asked_for = select(*columns).where(variant.key.in_(every)) if core else one
        with engine.connect() as connection:
            given = {} if core else {"keys": json.dumps(every)}
            rows = {str(r[0]).replace("-", ""): r for r in connection.execute(asked_for, given)}
        values = []
        for product, _, keys in asked:
            base, single, double = (rows[key] for key in keys)
            values.append(
                {
                    "name": product["name"],
                    "src": f"/media/{base[1]}",
                    "one": f"/media/{single[1]}",
                    "two": f"/media/{double[1]}",
                    "width": base[2],
                    "height": base[3],
                }
            )
        return template.render(products=values)

    return page


def _key_type(engine: Any) -> Any:
    columns = sqlalchemy.inspect(engine).get_columns("easyimg_variant")
    return next(column["type"] for column in columns if column["name"] == "key")


def interleaved(pages: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each round, measured in turns, so that a busy moment hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in pages}
    for page in pages.values():
        for _ in range(5):
            page()
    gc.collect()
    for _ in range(rounds):
        for name, page in pages.items():
            started = time.perf_counter()
            page()
            times[name].append(time.perf_counter() - started)
    return times


def plan_seconds(rounds: int, of: Callable[[Plan, Source, SourceInfo], object], step: int) -> float:
    """Return the median seconds per variant of what is asked of a plan, for sources whose address is made anew.

    Args:
        of: what is asked.
        step: by how many pixels each source is wider than the one before; 0 = all have one size.
    """
    plan = Img(width=300, ratio="square").plan
    taken = []
    for turn in range(rounds):
        sources = [Source("default", f"photos/{turn}-{n}.jpg") for n in range(IMAGES)]
        first = 900 + turn * IMAGES * step
        facts = [SourceInfo(first + n * step, 700, "jpeg") for n in range(IMAGES)]
        started = time.perf_counter()
        for source, info in zip(sources, facts, strict=True):
            of(plan, source, info)
        taken.append((time.perf_counter() - started) / (IMAGES * len(plan.specs)))
    return statistics.median(taken)


def _keys(plan: Plan, source: Source, info: SourceInfo) -> object:
    return plan.keys(source.address)


def _hash(plan: Plan, source: Source, info: SourceInfo) -> object:
    found = []
    for _ in plan.specs:
        digest = _PREFIX.copy()
        digest.update(source.address)
        found.append(digest.hexdigest())
    return found


_PREFIX: Final = hashlib.sha256(Img(width=300, ratio="square").plan.base.canonical.encode())


def _plan_and_keys(plan: Plan, source: Source, info: SourceInfo) -> object:
    return plan.keys(source.address), plan.slot_size(info), plan.needed(info)


def check_queries(app: EasyImg, page: Callable[[], str], expected: int) -> None:
    """End the run if a page sends another number of queries."""
    page()
    with Statements(app) as statements:
        page()
    if len(statements) != expected:
        raise SystemExit(f"the page sent {len(statements)} queries instead of {expected}")


def measure(root: Path, metadata: str, rounds: int) -> dict[str, float]:
    """Return microseconds per image of each page, medians and best; and the medians of the rounds' ratios."""
    cold, warm = make_app(root, metadata, 0), make_app(root, metadata, 10)
    try:
        build(cold, root)
        floor, core, ours, cached = floor_page(cold), floor_page(cold, core=True), our_page(cold), our_page(warm)
        if not floor() == core() == ours():
            raise SystemExit("the floor writes another page")
        check_queries(cold, ours, 1)
        check_queries(warm, cached, 0)
        times = interleaved({"floor": floor, "Core": core, "img()": ours, "warm": cached}, rounds)
    finally:
        cold.close()
        warm.close()
    result = {name: statistics.median(taken) / IMAGES * 1e6 for name, taken in times.items()}
    result |= {f"best {name}": min(taken) / IMAGES * 1e6 for name, taken in times.items()}
    for name, than in (("ratio", "floor"), ("of Core", "Core")):
        ratios = [ours / floor for ours, floor in zip(times["img()"], times[than], strict=True)]
        result[name] = statistics.median(ratios)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description="Time pages of 100 images.")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--rounds", type=int, default=200)
    chosen = parser.parse_args()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        results["sqlite"] = measure(Path(folder), f"sqlite:///{folder}/rows.db", chosen.rounds)
        with database("postgres") as url:
            if url is not None:
                results["postgresql"] = measure(Path(folder), url, chosen.rounds)
    asked: dict[str, tuple[Callable[[Plan, Source, SourceInfo], object], int]]
    asked = {
        "hash_us": (_hash, 0),
        "key_us": (_keys, 0),
        "plan_and_key_us": (_plan_and_keys, 0),
        "plan_new_size_us": (_plan_and_keys, 1),
    }
    for name, (of, step) in asked.items():
        results[name] = plan_seconds(chosen.rounds, of, step) * 1e6
    pages = ("floor", "Core", "img()", "warm")
    print(f"{'us/image':18}" + "".join(f" {page:>8}" for page in pages) + f" {'of floor':>9} {'of Core':>8}   goals")
    for name in ("sqlite", "postgresql"):
        if row := results.get(name):
            print(f"{name:18}" + "".join(f" {row[page]:8.1f}" for page in pages), end="")
            print(f" {row['ratio']:9.2f} {row['of Core']:8.2f}   <= 1.65 of Core, <= 40, warm <= 15")
            print(f"{name + ', best':18}" + "".join(f" {row[f'best {page}']:8.1f}" for page in pages))
    print(f"key: {results['key_us']:.2f} us, its hash alone {results['hash_us']:.2f} us", end="; ")
    print(
        f"plan + key: {results['plan_and_key_us']:.2f} us, {results['plan_and_key_us'] / results['hash_us']:.2f}",
        end="",
    )
    print(f" of the hash (<= 1.25, <= 1 us); of a new size: {results['plan_new_size_us']:.2f} us")
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
