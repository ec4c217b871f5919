from django.contrib import admin
from django.utils.html import format_html

from easyimg import Img
from shop.models import Picture, Product

SMALL = Img(width=60, ratio="square")


class PictureInline(admin.TabularInline):
    model = Picture
    extra = 1


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    list_display = ("small", "name")
    list_display_links = ("small", "name")
    inlines = (PictureInline,)

    @admin.display(description="photo")
    def small(self, product: Product) -> str:
        return format_html("{}", SMALL(product.photo, alt=product.name))
