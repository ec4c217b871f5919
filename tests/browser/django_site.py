"""A Django site with an admin, for the browser tests: makes its database, then serves until it is ended.

    python -m tests.browser.django_site FOLDER

Prints its port. Everybody's password is ``secret``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import django
from django.conf import settings

from tests.adapters.django_site import WITH_ADMIN

POLICY = "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; form-action 'self'"


def configure(root: Path) -> None:
    """Set Django up for a site in a folder."""
    apps = [*WITH_ADMIN["INSTALLED_APPS"], "django.contrib.staticfiles"]
    settings.configure(
        DEBUG=True,  # static files are served
        SECRET_KEY="of no site",
        ALLOWED_HOSTS=["127.0.0.1"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": root / "site.db"}},
        MIDDLEWARE=[
            "tests.browser.django_site.with_policy",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.locale.LocaleMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        ROOT_URLCONF="tests.browser.django_site",
        MEDIA_ROOT=root / "media",
        EASYIMG={"ISOLATION": "never", "SWEEP_SECONDS": 2.0, "CACHE_SECONDS": 0},
        **{**WITH_ADMIN, "INSTALLED_APPS": apps},
    )
    django.setup()


def with_policy(get_response: Any) -> Any:
    """Middleware: a strict Content-Security-Policy on every page."""

    def answer(request: Any) -> Any:
        response = get_response(request)
        response["Content-Security-Policy"] = POLICY
        return response

    return answer


def fill() -> None:
    """Make the tables, the people, and three pictures, one of them broken."""
    from django.contrib.auth.models import Permission, User
    from django.core.files.base import ContentFile
    from django.core.management import call_command

    from easyimg import Img, process_queue
    from easyimg.testing import images
    from tests.adapters.shop.models import Product

    call_command("migrate", run_syncdb=True, verbosity=0)
    User.objects.create_superuser("chief", password="secret")
    viewer = User.objects.create_user("viewer", password="secret", is_staff=True)
    viewer.user_permissions.set(Permission.objects.filter(codename__in=["view_source", "view_variant"]))
    pictures = {"shoe": images.photo(1500, 1000), "hat": images.photo(600, 900, seed=4), "torn": b"\xff\xd8\xff torn"}
    for name, data in pictures.items():
        product = Product(name=name)
        product.photo.save(f"{name}.jpg", ContentFile(data))
        Img(width=300, ratio="square").order(product.photo)
    process_queue()


def serve() -> None:
    """Answer requests, each in a thread, as the development server does."""
    from django.contrib.staticfiles.handlers import StaticFilesHandler
    from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
    from django.core.wsgi import get_wsgi_application

    class Quiet(WSGIRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadedWSGIServer(("127.0.0.1", 0), Quiet)
    server.set_app(StaticFilesHandler(get_wsgi_application()))
    print(server.server_port, flush=True)
    server.serve_forever()


def _urls() -> list[Any]:
    from django.conf.urls.static import static
    from django.contrib import admin
    from django.urls import path

    from tests.adapters.shop.admin import ProductAdmin
    from tests.adapters.shop.models import Product

    if not admin.site.is_registered(Product):
        admin.site.register(Product, ProductAdmin)
    return [path("admin/", admin.site.urls), *static(settings.MEDIA_URL, document_root=settings.MEDIA_ROOT)]


if settings.configured:
    urlpatterns = _urls()

if __name__ == "__main__":
    configure(Path(sys.argv[1]))
    fill()
    serve()
