from django.apps import AppConfig


class ShopConfig(AppConfig):
    name = "shop"

    def ready(self) -> None:
        from easyimg.img import preset
        from easyimg_django.hooks import delete_originals

        # The card's src is there when the upload's request ends; the rest is queued.
        preset("card").queue("shop.Product", fields=["photo"], build="src")
        preset("hero").queue("shop.Product", fields=["photo"])
        preset("thumb").queue("shop.Picture", fields=["image"])
        delete_originals("shop.Product", fields=["photo"])
        delete_originals("shop.Picture", fields=["image"])
