"""A form field that takes pictures and nothing else, and a widget that shows them.

In a ModelForm::

    class ProductForm(ModelForm):
        class Meta:
            model = Product
            fields = ["name", "photo"]
            field_classes = {"photo": ImageField}

In a ModelAdmin::

    formfield_overrides = {models.ImageField: {"form_class": ImageField, "widget": ImageInput}}
"""

from __future__ import annotations

import logging
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from easyimg.current import current_app
from easyimg.errors import BuildError, EasyImgError, SourceError, shown
from easyimg.existing import claimed_format
from easyimg.formats import FORMATS
from easyimg.source import as_source
from easyimg.upload import check_picture, read_upload
from easyimg_django.pictures import Shown, picture_of

logger = logging.getLogger("easyimg")


class ImageInput(forms.ClearableFileInput):
    """A file input with the picture that is stored; a chosen one is shown before it is sent, where there are scripts.

    The file dialogue offers the formats of the settings. Each input asks the rows once for its picture.
    """

    template_name = "easyimg_django/image_input.html"

    class Media:
        """The script that shows the chosen picture. Neither it nor the style needs anything inline."""

        css = {"all": ("easyimg_django/image_input.css",)}  # noqa: RUF012 - Django's own form
        js = ("easyimg_django/image_input.js",)

    def is_initial(self, value: Any) -> bool:
        """Return whether it is a stored file, also of a storage without URLs, where Django's own input fails."""
        return bool(value) and hasattr(type(value), "url")

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        """Return what the template needs."""
        context: dict[str, Any] = super().get_context(name, value, attrs)
        widget = context["widget"]
        widget["attrs"].setdefault("accept", _accepted())
        widget["attrs"]["data-easyimg-preview"] = True
        widget["chosen_text"] = _("Chosen: {name}, {size}")
        if widget["is_initial"]:
            picture = _picture(value)
            widget["picture"] = picture.html() if picture is not None else ""
            widget["url"] = _url(value)
        return context


class ImageField(forms.FileField):
    """Takes an upload that is an allowed picture, by its content and within the limits of the settings.

    Nothing is stored before that. No pixels are decoded: what is damaged further inside shows when it is built.
    """

    widget = ImageInput
    default_error_messages = {  # noqa: RUF012 - Django's own form
        "invalid_image": _("This picture cannot be used: %(reason)s."),
        "invalid_name": _("This picture cannot be used: the name %(name)s does not end like that of %(allowed)s."),
    }

    def to_python(self, data: Any) -> Any:
        """Return the upload, at its beginning; None where none was sent.

        Raises:
            ValidationError: it is no picture, none that is allowed, or too large; the message says which.
        """
        upload = super().to_python(data)
        if upload is None:
            return None
        app = current_app()
        limits = app.settings.limits
        if claimed_format(upload.name) not in limits.formats:  # a picture that is called .html is served as a page
            names = {"name": shown(upload.name), "allowed": ", ".join(limits.formats)}
            raise ValidationError(self.error_messages["invalid_name"], code="invalid_name", params=names)
        try:
            check_picture(app, read_upload(upload, limits))
        except (SourceError, BuildError) as exc:
            reason = {"reason": str(exc).rstrip(".")}
            raise ValidationError(self.error_messages["invalid_image"], code="invalid_image", params=reason) from exc
        upload.seek(0)
        return upload


def _accepted() -> str:
    """Return what the file dialogue offers: the media types of the allowed formats."""
    return ",".join(FORMATS[name].mime for name in current_app().settings.formats)


def _picture(value: Any) -> Shown | None:
    try:
        source = as_source(value)
        return None if source is None else picture_of(current_app(), source)
    except EasyImgError:  # a file that easyimg knows nothing of
        logger.exception("no thumbnail of %r", value)
        return None


def _url(value: Any) -> str:
    try:
        return str(value.url)
    except (ValueError, NotImplementedError):  # Django's ways to say that a storage has no URLs
        return ""
