from django.core.exceptions import ValidationError
from django.db import models

MOST_PICTURES = 4


class Product(models.Model):
    name = models.CharField(max_length=100)
    photo = models.ImageField(upload_to="products/")

    class Meta:
        ordering = ("-pk",)

    def __str__(self) -> str:
        return self.name


class Picture(models.Model):
    """One more picture of a product."""

    product = models.ForeignKey(Product, on_delete=models.CASCADE, related_name="pictures")
    image = models.ImageField(upload_to="pictures/")

    class Meta:
        ordering = ("pk",)

    def __str__(self) -> str:
        return f"picture {self.pk} of {self.product}"

    def clean(self) -> None:
        if not self.pk and self.product.pictures.count() >= MOST_PICTURES:
            raise ValidationError(f"A product has {MOST_PICTURES} more pictures at most.")
