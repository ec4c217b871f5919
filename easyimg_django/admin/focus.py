"""The focus point: two numbers, and a picture to click on."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from easyimg_django.models import Source
from easyimg_django.pictures import Shown


class FocusInput(forms.MultiWidget):
    """Two number inputs; with scripts, a point on the picture that the mouse and the arrow keys move."""

    template_name = "easyimg_django/focus.html"
    picture: Shown | None = None
    """What the point is chosen on; without one there are the numbers alone."""

    class Media:
        """The script, and the style of the picture and its point."""

        css = {"all": ("easyimg_django/focus.css",)}  # noqa: RUF012 - Django's own form
        js = ("easyimg_django/focus.js",)

    def __init__(self, attrs: Any = None) -> None:
        number = {"min": "0", "max": "1", "step": "any", "autocomplete": "off"}
        across = forms.NumberInput({**number, "aria-label": _("Focus, from the left: 0 to 1")})
        down = forms.NumberInput({**number, "aria-label": _("Focus, from the top: 0 to 1")})
        super().__init__({"x": across, "y": down}, attrs)

    def decompress(self, value: Any) -> list[Any]:
        """Return the two numbers of a point."""
        return list(value) if value else [None, None]

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        """Return what the template needs; numbers as text, whatever the language writes between their digits."""
        context: dict[str, Any] = super().get_context(name, value, attrs)
        across, down = (w["value"] for w in context["widget"]["subwidgets"])
        picture = self.picture
        if picture is not None:
            size = (str(picture.width or ""), str(picture.height or ""))
            context["picture"] = {"url": picture.url, "width": size[0], "height": size[1]}
        context["mark"] = (_percent(across), _percent(down))
        context["text"] = {
            "label": _("Focus point"),
            "role": _("point on a picture"),
            "value": _("{x} % from the left, {y} % from the top"),
            "none": _("none: the centre"),
            "across": _("From the left"),
            "down": _("From the top"),
            "clear": _("No focus point"),
            "how": _("Click on what crops are to keep in view, or move the point with the arrow keys."),
        }
        return context


def _percent(value: Any) -> str:
    """Return a fraction as the percentage that SVG takes; the centre where there is none."""
    try:
        return f"{min(max(float(value), 0), 1) * 100:.2f}%"
    except (TypeError, ValueError):
        return "50%"


class FocusField(forms.MultiValueField):
    """A point as fractions of the picture, (0, 0) is the top left; None = none."""

    widget = FocusInput

    def __init__(self, **options: Any) -> None:
        part = {"min_value": 0, "max_value": 1, "required": False}
        fields = (forms.FloatField(**part), forms.FloatField(**part))
        super().__init__(fields, require_all_fields=False, **options)

    def compress(self, data_list: Any) -> tuple[float, float] | None:
        """Return the point.

        Raises:
            ValidationError: there is only one number.
        """
        given = [number for number in data_list or () if number is not None]
        if len(given) == 1:
            raise forms.ValidationError(_("Give both numbers, or none."), code="incomplete")
        return (given[0], given[1]) if given else None


class SourceForm(forms.ModelForm):
    """What can be changed of a source: its focus point."""

    focus = FocusField(label=_("Focus point"), required=False)

    class Meta:
        """No column is written by the form itself."""

        model = Source
        fields = ()

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.instance.focus_x is not None:
            self.initial["focus"] = (self.instance.focus_x, self.instance.focus_y)
