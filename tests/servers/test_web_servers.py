"""The thread queue in the servers that run it: gunicorn with and without ``--preload``, uvicorn."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from easyimg.testing.queues import detail
from tests.queues.sites import until
from tests.servers.web import WebSite

pytestmark = pytest.mark.slow

FLASK = """\
import os
from flask import Flask, render_template_string
from easyimg_flask import EasyImg
from site_parts import settings

app = Flask(__name__)
app.config.update({f"EASYIMG_{name.upper()}": value for name, value in settings.items()})
EasyImg(app)
PAGE = '{{ pid }}{% for name in names %} {{ img(name, width=30, alt="") }}{% endfor %}'


@app.get("/")
def ready():
    return "ready"


@app.get("/<path:names>")
def page(names):
    return render_template_string(PAGE, names=names.split(","), pid=os.getpid())
"""

AT_IMPORT = """

with app.app_context():
    from easyimg import Img
    if "/img/" not in Img(width=30)("inline.jpg", alt="", build="src").base_url():
        raise SystemExit("not built at import")
    for name in ("early.jpg", "held/early.jpg"):
        render_template_string(PAGE, names=[name])
"""


SYNC = ("--worker-class=sync",)
GTHREAD = ("--worker-class=gthread", "--threads=3")


@pytest.mark.parametrize(
    ("options", "module", "database"),
    [
        pytest.param(SYNC, FLASK, None, id="sync"),
        pytest.param(GTHREAD, FLASK, None, id="gthread"),
        pytest.param((*GTHREAD, "--preload"), FLASK, None, id="gthread-preload"),
        pytest.param((*SYNC, "--preload"), FLASK + AT_IMPORT, None, id="sync-preload-after-work"),
        pytest.param(
            (*GTHREAD, "--preload"), FLASK + AT_IMPORT, "postgres_url", id="gthread-preload-after-work-postgres"
        ),
    ],
)
def test_gunicorn(
    tmp_path: Path, options: tuple[str, ...], module: str, database: str | None, request: pytest.FixtureRequest
) -> None:
    rows = {} if database is None else {"metadata": request.getfixturevalue(database)}
    site = WebSite(tmp_path, module, **rows)
    command = ("-m", "gunicorn", "--workers=2", f"--bind=127.0.0.1:{site.port}", *options, "site_web:app")
    site.hold()
    if module != FLASK:
        site.upload("inline.jpg", "early.jpg", "held/early.jpg")
    site.upload("a.jpg", "b.jpg", "c.jpg")
    with site.served(*command) as server:
        seen = {server.page(name).split()[0] for name in ("a.jpg", "b.jpg", "c.jpg")}
        until(lambda: seen.add(server.page("a.jpg", "c.jpg").split()[0]) or len(seen) == 2)
        if module != FLASK:
            until(site.building)  # since before the fork, by the parent
            site.let_go()
        site.assert_all_built()
        until(lambda: server.page("a.jpg", "b.jpg").count("/media/img/") == 6)

        site.hold()
        held = [f"held/{n}.jpg" for n in range(3)]
        site.upload(*held)
        server.page(*held)
        until(site.building)
        server.page("a.jpg", *held)
        server.signal()
        until(lambda: not server.answers())
        site.let_go()
    assert not site.building()

    with site.served(*command) as server:
        server.page(*held)
        site.assert_all_built()
    assert {detail(site.app, source).crashes for source in site.sources} == {0}
    site.app.close()


def test_gunicorn_gives_back_what_takes_too_long(tmp_path: Path) -> None:
    site = WebSite(tmp_path, FLASK)
    site.hold()
    site.upload("held/a.jpg", "b.jpg")
    with site.served("-m", "gunicorn", f"--bind=127.0.0.1:{site.port}", "site_web:app") as server:
        server.page("held/a.jpg")
        until(site.building)
        server.page("b.jpg")
        server.signal()
        started = time.monotonic()
        server.await_end()
        assert time.monotonic() - started > 4, "builds under way get a few seconds"
    assert not site.building()
    assert {v.attempts for source in site.sources for v in detail(site.app, source).variants} == {0}
    site.app.close()


ASGI = """\
import os
from jinja2 import Environment
from easyimg import EasyImg
from easyimg.jinja import install
from site_parts import settings

images = EasyImg(**settings)
env = Environment(enable_async=True, autoescape=True)
install(env, images)
template = env.from_string('{% for name in names %} {{ img(name, width=30, alt="") }}{% endfor %}')


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    html = await template.render_async(names=[n for n in scope["path"][1:].split(",") if n])
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
    await send({"type": "http.response.body", "body": html.encode()})


async def lifespan(receive, send):
    while True:
        message = await receive()
        if message["type"] == "lifespan.shutdown" and CLOSES:
            images.close()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return
"""


@pytest.mark.parametrize("closes", [True, False], ids=["closed-in-lifespan", "not-closed"])
def test_uvicorn(tmp_path: Path, closes: bool) -> None:
    """It ends itself by the signal it got, so that nothing runs at exit: only a lifespan can give builds back."""
    site = WebSite(tmp_path, ASGI + f"\n\nCLOSES = {closes}\n")
    command = ("-m", "uvicorn", "--host=127.0.0.1", f"--port={site.port}", "site_web:app")
    with site.served(*command) as server:
        site.upload("a.jpg", "b.jpg")
        server.page("a.jpg", "b.jpg")
        site.assert_all_built()
        site.hold()
        site.upload("held/a.jpg")
        server.page("held/a.jpg")
        until(site.building)
        server.page("a.jpg", "held/a.jpg")
    assert site.building() is not closes
    site.let_go()
    with site.served(*command) as server:
        server.page("a.jpg", "held/a.jpg")
        site.assert_all_built()
    assert detail(site.app, site.sources[-1]).crashes == 0, "built in the end"
    site.app.close()
