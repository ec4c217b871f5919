"""Streams and event loops: one query per flush, nothing held across a yield, nothing blocked, nothing crossed."""

from __future__ import annotations

import asyncio
import contextvars
import io
import threading

import pytest
from jinja2 import DictLoader, Environment

from easyimg.jinja import install
from easyimg.page import active_page
from tests.counting import Statements

MANY = "{% for n in range(120) %}{{ img('s%d.jpg'|format(n), width=300, alt='') }}{% endfor %}"
LOOP = "{% for n in range(count) %}{{ img('p%d.jpg'|format(n % 5), width=300, alt=who) }}{% endfor %}"
ALONE = LOOP.replace("count", "3").replace("who", "'m'")
PARTS = {"card": LOOP, "alone": ALONE, "m": "{% macro m() %}" + ALONE + "{% endmacro %}"}
CONTEXT = {"count": 7, "who": "w"}


@pytest.fixture
def env(app):
    env = Environment(autoescape=True)
    install(env, app)
    return env


@pytest.fixture
def aenv(app):
    env = Environment(autoescape=True, enable_async=True, loader=DictLoader(PARTS))
    install(env, app)
    return env


def test_a_stream_asks_once_per_fifty_images(env, app):
    template = env.from_string("head" + MANY + "foot")
    template.render()  # the rows exist from now on
    whole = template.render()
    with Statements(app) as statements:
        pieces = list(template.generate())
    assert "".join(pieces) == whole
    assert len(statements) == 3
    assert [piece.count("<img") for piece in pieces if "<img" in piece] == [50, 50, 20]


def test_a_stream_flushes_after_64_kib(env, app):
    template = env.from_string(
        "{% for n in range(4) %}{{ img('p0.jpg', width=300, alt='') }}{{ 'x' * 40000 }}{% endfor %}"
    )
    with Statements(app) as statements:
        pieces = list(template.generate())
    assert "".join(pieces) == template.render()
    assert len(statements) == 1
    assert [piece.count("<img") for piece in pieces] == [2, 2]


def test_text_before_the_first_image_is_not_held_back(env):
    reached = []
    env.globals["reach"] = lambda: reached.append(1) or ""
    stream = env.from_string("head{{ reach() }}" + LOOP).generate(**CONTEXT)
    assert next(stream).startswith("head")
    assert active_page() is None


def test_streams_in_turns_do_not_cross(env):
    template = env.from_string("{{ who }}" + LOOP + "{{ who }}" + LOOP)
    one, two = template.generate(count=60, who="one"), template.generate(count=60, who="two")
    texts = {"one": "", "two": ""}
    for a, b in zip(one, two, strict=True):
        texts["one"] += a
        texts["two"] += b
        assert active_page() is None
    for who, text in texts.items():
        assert text == template.render(count=60, who=who)


def test_a_stream_that_is_thrown_away_leaves_nothing(env):
    stream = env.from_string(LOOP).generate(count=200, who="")
    next(stream)
    stream.close()
    assert active_page() is None


def test_stream_objects_work(env):
    template = env.from_string(LOOP)
    out = io.StringIO()
    template.stream(**CONTEXT).dump(out)
    assert out.getvalue() == template.render(**CONTEXT)
    buffered = template.stream(**CONTEXT)
    buffered.enable_buffering(3)
    assert "".join(buffered) == template.render(**CONTEXT)


def test_a_forged_token_in_a_stream_is_removed(env):
    assert "".join(env.from_string("a{{ t }}b").generate(t="\ufdd01<0\ufdd1")) == "ab"


def test_an_async_environment_renders_without_a_loop(aenv, env, app):
    template = aenv.from_string(LOOP)
    with Statements(app) as statements:
        html = template.render(**CONTEXT)
    assert len(statements) == 1
    assert html == env.from_string(LOOP).render(**CONTEXT)
    assert "".join(template.generate(**CONTEXT)) == html


def test_render_async_resolves_in_another_thread(aenv, env, app):
    threads = set()
    metadata_fetch = app.metadata.fetch
    app.metadata.fetch = lambda wanted, **o: threads.add(threading.get_ident()) or metadata_fetch(wanted, **o)

    async def main():
        page = aenv.from_string(
            LOOP + "{% set x %}" + LOOP + "{% endset %}{{ x|upper|length }}{% include 'card' %}"
            "{% import 'm' as m %}{{ m.m() }}{% include 'alone' without context %}"
        )
        return await page.render_async(**CONTEXT)

    assert asyncio.run(main()).count("srcset=") == 7 + 7 + 3 + 3
    assert threads
    assert threading.get_ident() not in threads


def test_generate_async_asks_once_per_flush(aenv, env, app):
    async def main():
        pieces = []
        async for piece in aenv.from_string(MANY).generate_async():
            assert active_page() is None
            pieces.append(piece)
        return pieces

    env.from_string(MANY).render()  # the rows exist from now on
    with Statements(app) as statements:
        pieces = asyncio.run(main())
    assert len(statements) == 3
    assert "".join(pieces) == env.from_string(MANY).render()


def test_interleaved_async_renders_do_not_cross(aenv, env):
    async def pause():
        await asyncio.sleep(0)
        return ""

    source = "{% for n in range(30) %}{{ pause() }}{{ img('p%d.jpg'|format(n % 5), width=300, alt=who) }}{% endfor %}"

    async def main():
        page = aenv.from_string(source)
        return await asyncio.gather(*(page.render_async(who=f"w{n}", pause=pause) for n in range(10)))

    pages = asyncio.run(main())
    for number, html in enumerate(pages):
        assert html.count(f'alt="w{number}"') == html.count("<img") == html.count("srcset=") == 30


def test_async_streams_in_turns_do_not_cross(aenv, env):
    async def main():
        page = aenv.from_string(LOOP)
        one, two = (page.generate_async(count=120, who=who) for who in ("one", "two"))
        texts = ["", ""]
        for _ in range(3):
            texts[0] += await anext(one)
            texts[1] += await anext(two)
            assert active_page() is None
        await one.aclose()
        await two.aclose()
        return texts

    assert asyncio.run(main()) == [env.from_string(LOOP).render(count=120, who=who) for who in ("one", "two")]


def test_a_render_that_is_cancelled_or_closed_elsewhere_leaves_nothing(aenv):
    async def wait():
        await asyncio.sleep(60)

    async def main():
        task = asyncio.create_task(aenv.from_string(LOOP + "{{ wait() }}").render_async(wait=wait, **CONTEXT))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert active_page() is None

    asyncio.run(main())

    class Forever:
        def __await__(self):
            yield

    coroutine = aenv.from_string("{{ wait() }}").render_async(wait=Forever)
    contextvars.copy_context().run(coroutine.send, None)
    coroutine.close()
    assert active_page() is None


def test_a_task_that_outlives_the_page_renders_its_images_alone(aenv):
    later = []

    async def show(image):
        await asyncio.sleep(0.05)
        return str(image)

    def start(image):
        later.append(asyncio.get_running_loop().create_task(show(image)))
        return ""

    async def main():
        html = await aenv.from_string("{{ start(img('p0.jpg', width=300, alt='late')) }}").render_async(start=start)
        return html, await later[0]

    html, image = asyncio.run(main())
    assert html == ""
    assert 'alt="late"' in image
    assert "srcset=" in image
