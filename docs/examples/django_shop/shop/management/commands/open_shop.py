from io import BytesIO
from typing import Any

from django.core.files.base import ContentFile
from django.core.management import BaseCommand, call_command
from PIL import Image

from shop.models import Picture, Product

COLOURS = {"Red lamp": "#c0392b", "Green chair": "#27ae60", "Blue table": "#2980b9", "Yellow rug": "#f1c40f"}


class Command(BaseCommand):
    help = "Make the tables, put some products in, and serve the shop."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("address", nargs="?", default="127.0.0.1:8000")

    def handle(self, *args: Any, address: str, **options: Any) -> None:
        call_command("migrate", verbosity=0)
        if not Product.objects.exists():
            for name, colour in COLOURS.items():
                product = Product.objects.create(name=name, photo=painted(colour, 1600, 1200))
                Picture.objects.create(product=product, image=painted(colour, 900, 1200))
            self.stdout.write(f"{len(COLOURS)} products are in the shop; change them with: manage.py createsuperuser")
        call_command("runserver", address, use_reloader=False)


def painted(colour: str, width: int, height: int) -> ContentFile:
    """Return a picture: the colour, fading to the right."""
    light = Image.linear_gradient("L").rotate(90).resize((width, height))
    image = Image.composite(Image.new("RGB", light.size, "white"), Image.new("RGB", light.size, colour), light)
    out = BytesIO()
    image.save(out, "jpeg", quality=90)
    return ContentFile(out.getvalue(), "photo.jpg")
