from typing import Any

from django import forms
from django.db import transaction

from easyimg_django.forms import ImageField
from shop.models import Picture, Product


class ManyFilesInput(forms.ClearableFileInput):
    allow_multiple_selected = True


class ManyImagesField(ImageField):
    """Several pictures, each of them checked by its content."""

    widget = ManyFilesInput

    def clean(self, data: Any, initial: Any = None) -> list[Any]:
        files = data if isinstance(data, list | tuple) else [data] if data else []
        return [super(ManyImagesField, self).clean(file, initial) for file in files]


class ProductForm(forms.ModelForm):
    photo = ImageField()
    more = ManyImagesField(required=False, label="More pictures")

    class Meta:
        model = Product
        fields = ("name", "photo")

    def save_all(self) -> Product:
        """Save the product with all its pictures, or nothing.

        Raises:
            ValidationError: there are too many; what was saved until then is undone.
        """
        with transaction.atomic():
            product = self.save()
            for file in self.cleaned_data["more"]:
                picture = Picture(product=product, image=file)
                picture.full_clean()
                picture.save()
        return product
