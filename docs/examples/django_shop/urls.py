from django.conf import settings
from django.conf.urls.static import static
from django.contrib import admin
from django.urls import path
from shop import views

urlpatterns = [
    path("", views.ProductList.as_view(), name="products"),
    path("new/", views.ProductCreate.as_view(), name="new"),
    path("<int:pk>/", views.ProductDetail.as_view(), name="product"),
    path("<int:pk>/edit/", views.ProductUpdate.as_view(), name="edit"),
    path("<int:pk>/delete/", views.ProductDelete.as_view(), name="delete"),
    path("admin/", admin.site.urls),
    # For trying it out; a web server does this better.
    *static(settings.MEDIA_URL, document_root=settings.MEDIA_ROOT),
]
