"""A site whose code is that of the documentation page this project started from: word for word, import names aside."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

MANUAL = """
from easyimg import Img
from my_app.models import Product

thumbnail = Img(width=300)
thumbnail.queue(Product, fields=['main_image'])
"""
"""Manual queueing."""

AUTOMATIC = """
from django.apps import AppConfig
from my_app.images import thumbnail

class MyAppConfig(AppConfig):
    def ready(self):
        from my_app.models import Profile
        thumbnail.queue(Profile, build="src")
"""
"""Automatic queueing, and ``file_post_save``, which shows the same."""

LIST_VIEW = """
from easyimg import ImageBatch, Img

def product_list_view(request):
    products = Product.objects.all()

    # Create a batch for efficient processing
    batch = ImageBatch()
    thumbnail = Img(batch=batch, width=300, format="webp")

    # Process all images
    product_images = []
    for product in products:
        bound_img = thumbnail(product.image, alt=product.name)
        product_images.append({
            'product': product,
            'image': bound_img
        })

    # First access triggers batch loading of all images
    # Subsequent accesses use cached data
    return render(request, 'products.html', {
        'product_images': product_images
    })
"""
"""Batch processing."""

STRATEGIES = """
# Option 1: Automatic building on property access (default)
batch = ImageBatch()
img = Img(batch=batch, width=300)
bound = img(file, build="src")
url = bound.base_url()  # Triggers auto-build

# Option 2: Explicit batch building
batch = ImageBatch()
img = Img(batch=batch, width=300)
bound1 = img(file1, build="src")
bound2 = img(file2, build="srcset")
batch.build()  # Build all at once

# Option 3: Immediate building (for signals/queue)
img = Img(width=300)
bound = img(file, build="src", immediate=True)
"""
"""The three building strategies."""

CELERY = """
from easyimg_django.management.process_queue import process_queue
from easyimg_django.signals import queued_img

@app.task
def build_img_queue():
    process_queue()

# In apps.py:
queued_img.connect(lambda **kwargs: build_img_queue.delay(), weak=False)
"""
"""``queued_img`` with Celery."""

EXAMPLES = (MANUAL, AUTOMATIC, LIST_VIEW, STRATEGIES, AUTOMATIC, CELERY)
"""Those of the page, in its order."""

FILES = {
    "settings.py": """
import os

SECRET_KEY = "of no site"
INSTALLED_APPS = ["easyimg_django", "my_app"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "site.db", "OPTIONS": {"timeout": 30}}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
MEDIA_ROOT = "media"
MEDIA_URL = "/media/"
USE_TZ = True
ROOT_URLCONF = "urls"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "DIRS": ["templates"]}]
EASYIMG = {"QUEUE": "none", "CACHE_SECONDS": 0}
""",
    "urls.py": """
from django.urls import path

from my_app.views import product_list_view

urlpatterns = [path("", product_list_view)]
""",
    "templates/products.html": """
{% for item in product_images %}<li>{{ item.product.name }} {{ item.image }}</li>{% endfor %}
""",
    "my_app/__init__.py": "",
    "my_app/models.py": """
from django.db import models


class Product(models.Model):
    name = models.CharField(max_length=100)
    main_image = models.ImageField(upload_to="products/", blank=True)
    image = models.ImageField(upload_to="products/", blank=True)


class Profile(models.Model):
    photo = models.ImageField(upload_to="profiles/")
""",
    "my_app/images.py": """
from easyimg import Img

thumbnail = Img(width=300)
""",
    "my_app/manual.py": MANUAL,
    "my_app/apps.py": AUTOMATIC.replace(
        "(AppConfig):\n", "(AppConfig):\n    name = 'my_app'  # which Django wants\n\n"
    ),
    "my_app/views.py": "from django.shortcuts import render\nfrom my_app.models import Product\n" + LIST_VIEW,
}

START = """
import os

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
import django

django.setup()

from django.core.files.base import ContentFile
from django.core.management import call_command
from django.db import connection

call_command("migrate", verbosity=0)
call_command("migrate", "my_app", run_syncdb=True, verbosity=0)

from easyimg.testing import images
import my_app.manual
from my_app.models import Product, Profile


def upload(name, **options):
    return ContentFile(images.photo(900, 600, **options), name)
"""


def write(folder: Path, **files: str) -> None:
    """Write the site into a folder, with further files."""
    for name, text in (FILES | files).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip(), "utf-8")


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of the site's processes; another Django that ours imports is theirs as well."""
    path = [*filter(None, [os.environ.get("PYTHONPATH")]), str(folder), str(ROOT)]  # another Django is in the first
    return os.environ | {"DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": os.pathsep.join(path)}


def run(folder: Path, script: str, start: str = START) -> Any:
    """Run a script of the site in a process of its own; return what it printed."""
    (folder / "script.py").write_text(start + script, "utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", "script.py"],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
