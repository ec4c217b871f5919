"""``manage.py build_img_queue``, for cron."""

from easyimg_django.commands import EasyImgCommand


class Command(EasyImgCommand):
    """Build every variant that is due."""

    help = "Build every image variant that is due: for cron; says nothing when there was nothing to do."
    first = ("build_img_queue",)
