"""``manage.py easyimg status``, ``build``, ``worker`` and the others."""

from easyimg_django.commands import EasyImgCommand


class Command(EasyImgCommand):
    """Look after the variants of the site's pictures."""

    help = "Look after the variants of the site's pictures."
