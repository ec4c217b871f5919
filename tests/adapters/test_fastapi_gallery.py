"""The example ``docs/examples/fastapi_gallery``: what its visitors get, on its databases."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from easyimg.testing import images
from tests.adapters.asgi_site import build
from tests.adapters.gallery_site import load
from tests.counting import Statements


@pytest.fixture
def visit(tmp_path, monkeypatch):
    """Return a function that opens the example's site, and hands its application and a client to a coroutine."""

    def run(visitor, **variables):
        monkeypatch.setenv("GALLERY_DATA", str(tmp_path))
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        module = load("fastapi")

        async def main():
            app = module.create_app(queue="none", isolation="never", cache_seconds=0)
            transport = httpx.ASGITransport(app)
            async with (
                app.router.lifespan_context(app),
                httpx.AsyncClient(transport=transport, base_url="http://gallery") as client,
            ):
                await visitor(app, client)

        try:
            asyncio.run(main())
        finally:
            module.Base.registry.dispose()

    return run


async def upload(client, data=None, *, title="A shoe", name="IMG_0001.JPG"):
    data = images.photo(450, 600, orientation=6, gps=True) if data is None else data
    return await client.post("/photos", data={"title": title}, files={"picture": (name, data, "image/jpeg")})


@pytest.mark.parametrize("database", ["sqlite", "postgres_url"])
def test_a_visitor_uploads_lists_and_looks_closely(visit, database, request):
    variables = {} if database == "sqlite" else {"DATABASE_URL": request.getfixturevalue(database)}

    async def visitor(app, client):
        made = app.state.images
        assert "No picture yet" in (await client.get("/")).text
        for number in range(3):
            answer = await upload(client, title=f"Shoe <{number}>")
            assert (answer.status_code, answer.headers["Location"]) == (303, "/")

        page = await client.get("/")
        assert page.text.count('src="data:image/svg+xml,') == 3
        assert page.text.count('width="300" height="225"') == 3
        assert page.headers["Cache-Control"] == "public, max-age=0, s-maxage=10"
        assert page.headers["Refresh"] == "2"
        assert await asyncio.to_thread(build, made) == 9
        with Statements(made) as sent:
            page = await client.get("/")
        assert len(sent) == 1
        assert page.text.count("/media/img/") == 9
        assert 'alt="Shoe &lt;2&gt;"' in page.text
        assert page.headers["Cache-Control"] == "public, max-age=0, s-maxage=60"
        assert "Refresh" not in page.headers

        assert 'fetchpriority="high"' in (await client.get("/photos/2")).text
        assert await asyncio.to_thread(build, made) > 2
        assert "450w" in (await client.get("/photos/2")).text
        for wrong in ("9", "0", "-1", "2147483648", "99999999999999999999", "-99999999999999999999"):
            assert (await client.get(f"/photos/{wrong}")).status_code == 404, wrong

    visit(visitor, **variables)


@pytest.mark.parametrize("data", [b"<html>", images.photo(60, 40)[:20]])
def test_what_is_no_picture_is_refused_with_a_reason(visit, data, tmp_path):
    async def visitor(app, client):
        answer = await upload(client, data)
        assert answer.status_code == 422
        assert 'role="alert"' in answer.text
        assert "No picture yet" in answer.text

    visit(visitor)
    assert not [path for path in (tmp_path / "media").rglob("*") if path.is_file()]


def test_one_too_large_is_refused_and_so_is_a_form_without_a_file(visit):
    async def visitor(app, client):
        answer = await upload(client, b"\xff\xd8\xff" + bytes(20_000_000))
        assert answer.status_code == 422
        assert "20,000,000 bytes" in answer.text
        assert (await client.post("/photos", data={"title": "x"})).status_code == 422

    visit(visitor)


def test_originals_are_never_sent(visit, tmp_path):
    async def visitor(app, client):
        await upload(client)
        (original,) = (tmp_path / "media" / "photos").iterdir()
        assert (await client.get(f"/media/photos/{original.name}")).status_code == 404

    visit(visitor)


def test_an_upload_whose_row_is_not_kept_leaves_no_file(visit, tmp_path, monkeypatch):
    from sqlalchemy.ext.asyncio import AsyncSession

    async def visitor(app, client):
        async def fails(self):
            await self.flush()
            raise ZeroDivisionError

        monkeypatch.setattr(AsyncSession, "commit", fails)
        with pytest.raises(ZeroDivisionError):
            await upload(client)

    visit(visitor)
    assert not [path for path in (tmp_path / "media").rglob("*") if path.is_file()]
