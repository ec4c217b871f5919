"""A small shop. SQLite and builder threads by default; the environment names a database and a broker."""

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

import django

DATA = Path(os.environ.get("SHOP_DATA", Path(__file__).parent / "data"))
DATA.mkdir(parents=True, exist_ok=True)

DEBUG = os.environ.get("SHOP_DEBUG", "1") == "1"
SECRET_KEY = os.environ.get("SHOP_SECRET", "only-for-trying-the-shop-on-this-machine-0123456789-abcdefghij")
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
ROOT_URLCONF = "urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "easyimg_django",
    "shop",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]


def database(url: str | None) -> dict[str, object]:
    """Return an entry of DATABASES; without a URL, a file beside the pictures."""
    if url is None:
        wal = {"init_command": "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL"}
        options = {"timeout": 20, **(wal if django.VERSION >= (5, 1) else {})}
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": DATA / "shop.db", "OPTIONS": options}
    parts = urlsplit(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.lstrip("/"),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": parts.port or "",
    }


DATABASES = {"default": database(os.environ.get("DATABASE_URL"))}

MEDIA_ROOT = DATA / "media"
MEDIA_URL = "/media/"
STATIC_URL = "/static/"

EASYIMG = {
    # Threads of the web server build; with a broker, or "none", `manage.py easyimg worker` does.
    "QUEUE": os.environ.get("SHOP_QUEUE", "thread"),
    "PRESETS": {
        "card": {"width": 240, "ratio": "4/3"},
        "thumb": {"width": 120, "ratio": "square"},
        "hero": {
            "width": 800,
            "ratio": "16/9",
            "priority": True,
            "art": {600: {"width": 400, "ratio": "square"}},  # on phones
        },
    },
}
